"""`fastmcp.dependencies`: what a tool can have filled in, or ask for while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .context import Context
from .dependencies import FromFunction, Given, current
from .stubs import FastMCP


def get_context() -> Context:
    """The context of the running call. Raises RuntimeError outside of one."""
    return current()


def get_http_headers(include_all: bool = False, **unused: Any) -> dict[str, str]:
    """Empty: the gateway speaks to clients, and hands on who calls, not how."""
    return {}


def get_http_request() -> Any:
    raise RuntimeError("No active HTTP request found.")


@dataclass
class AccessToken:
    """Who the gateway says is calling. The token itself stays there."""

    client_id: str
    token: str = ""
    scopes: list[str] = field(default_factory=list)
    expires_at: int | None = None
    claims: dict[str, Any] = field(default_factory=dict)


def get_access_token() -> AccessToken | None:
    """The caller, when the gateway has authenticated one."""
    principal = current().principal
    if principal is None:
        return None
    return AccessToken(principal, claims={"sub": principal})


class ProgressReporter:
    """Counts steps of the call and reports them."""

    def __init__(self) -> None:
        self.context = current()
        self.current: float = 0
        self.total: float | None = 1
        self.message: str | None = None

    async def set_total(self, total: float) -> None:
        self.total = total

    async def increment(self, amount: float = 1) -> None:
        self.current += amount
        await self.context.report_progress(self.current, self.total, self.message)

    async def set_message(self, message: str | None) -> None:
        self.message = message
        await self.context.report_progress(self.current, self.total, message)


def Depends(function: Callable[..., Any], **unused: Any) -> Any:
    return FromFunction(function)


def CurrentContext() -> Any:
    return Given(current)


def CurrentFastMCP() -> Any:
    return Given(lambda: FastMCP())


def CurrentHeaders() -> Any:
    return Given(get_http_headers)


def CurrentAccessToken() -> Any:
    return Given(get_access_token)


def Progress() -> Any:
    return Given(ProgressReporter)


def TokenClaim(name: str) -> Any:
    def claim() -> Any:
        token = get_access_token()
        if token is None or name not in token.claims:
            raise RuntimeError(f"the caller has no claim {name!r}")
        return token.claims[name]

    return Given(claim)
