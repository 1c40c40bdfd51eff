"""The `fastmcp` that tools of a workspace import: what a tool needs, not what builds servers."""

from __future__ import annotations

from typing import Any

from headgate_local.context import Context
from headgate_local.stubs import Client, FastMCP, missing

__version__ = "3.2.0+headgate"
__all__ = ["Client", "Context", "FastMCP"]


def __getattr__(name: str) -> Any:
    return missing("fastmcp", name)
