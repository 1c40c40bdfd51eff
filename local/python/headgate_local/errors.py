"""The errors that a tool may raise, and those of the protocol."""

from __future__ import annotations

from typing import Any


class FastMCPError(Exception):
    """The base of the errors whose text always reaches the client."""


class ToolError(FastMCPError):
    """Its text is the tool's answer, marked as an error, whatever is masked."""


class ResourceError(FastMCPError):
    pass


class PromptError(FastMCPError):
    pass


class ValidationError(FastMCPError):
    pass


class NotFoundError(FastMCPError):
    pass


class AuthorizationError(FastMCPError):
    pass


class DisabledError(FastMCPError):
    pass


class InvalidSignature(FastMCPError):
    pass


class RpcError(Exception):
    """A JSON-RPC error: what this side answers, or what the peer answered."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    def body(self) -> dict[str, Any]:
        out = {"code": self.code, "message": self.message}
        return out if self.data is None else out | {"data": self.data}


class CallTimedOut(BaseException):
    """Ends a synchronous call at its deadline. No Exception: tools catch those."""


PARSE, REQUEST, METHOD, PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
NO_RESOURCE = -32002


def from_framework(error: BaseException) -> bool:
    """Whether the error is one of those above, or of an installed fastmcp or mcp."""
    return isinstance(error, FastMCPError) or any(
        kind.__name__ in ("FastMCPError", "ToolError")
        and kind.__module__.startswith(("fastmcp.", "mcp."))
        for kind in type(error).__mro__
    )


def told(error: BaseException, what: str, masked: bool, doing: str = "calling") -> str:
    """What the client is told of an error of `what` (`tool 'x'`). Two of httpx have a fixed
    text."""
    if from_framework(error):
        return str(error) or type(error).__name__
    if type(error).__module__.partition(".")[0] == "httpx":
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 429:
            return "The service behind the tool asks to slow down; try again later."
        if any(kind.__name__ == "TimeoutException" for kind in type(error).__mro__):
            return "The service behind the tool did not answer in time; try again."
    if masked:
        return f"Error {doing} {what}"
    return f"Error {doing} {what}: {error or type(error).__name__}"
