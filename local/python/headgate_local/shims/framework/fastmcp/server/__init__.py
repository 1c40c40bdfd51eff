from typing import Any

from headgate_local.context import Context
from headgate_local.stubs import FastMCP, missing

__all__ = ["Context", "FastMCP"]


def __getattr__(name: str) -> Any:
    return missing("fastmcp.server", name)
