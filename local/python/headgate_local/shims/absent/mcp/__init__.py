"""Stands for the SDK's package where it is not installed: its types only."""

from typing import Any

from headgate_local.stubs import McpError, missing

from . import types

__headgate__ = True
__all__ = ["McpError", "types"]


def __getattr__(name: str) -> Any:
    return missing("mcp", name)
