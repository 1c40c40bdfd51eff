from typing import Any

from headgate_local.injected import (
    CurrentAccessToken,
    CurrentContext,
    CurrentFastMCP,
    CurrentHeaders,
    Depends,
    Progress,
    TokenClaim,
    get_access_token,
    get_context,
    get_http_headers,
    get_http_request,
)
from headgate_local.stubs import missing

__all__ = [
    "CurrentAccessToken",
    "CurrentContext",
    "CurrentFastMCP",
    "CurrentHeaders",
    "Depends",
    "Progress",
    "TokenClaim",
    "get_access_token",
    "get_context",
    "get_http_headers",
    "get_http_request",
]


def __getattr__(name: str) -> Any:
    return missing("fastmcp.dependencies", name)
