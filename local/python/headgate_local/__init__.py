"""Loads a workspace of tools, resources, prompts and knowledge, and serves it as an MCP server.
README.md in the folder above says how to use it."""

from __future__ import annotations

import gc

from .loader import load
from .options import Limits, OptionError, Options
from .server import serve
from .workspace import LoadError, Workspace, describe

__all__ = [
    "Limits",
    "LoadError",
    "OptionError",
    "Options",
    "Workspace",
    "describe",
    "freeze",
    "load",
    "serve",
]


def freeze() -> None:
    """Call once after `load`, before the first fork: children then share what was loaded."""
    gc.collect()
    gc.freeze()
