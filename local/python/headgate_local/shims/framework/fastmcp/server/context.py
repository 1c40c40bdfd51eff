from headgate_local.context import Context

__all__ = ["Context"]
