from headgate_local.errors import (
    AuthorizationError,
    DisabledError,
    FastMCPError,
    InvalidSignature,
    NotFoundError,
    PromptError,
    ResourceError,
    ToolError,
    ValidationError,
)

__all__ = [
    "AuthorizationError",
    "DisabledError",
    "FastMCPError",
    "InvalidSignature",
    "NotFoundError",
    "PromptError",
    "ResourceError",
    "ToolError",
    "ValidationError",
]
