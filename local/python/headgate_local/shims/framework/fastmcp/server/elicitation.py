from headgate_local.asking import AcceptedElicitation, CancelledElicitation, DeclinedElicitation

__all__ = ["AcceptedElicitation", "CancelledElicitation", "DeclinedElicitation"]
