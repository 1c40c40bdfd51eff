from headgate_local.stubs import Client

__all__ = ["Client"]
