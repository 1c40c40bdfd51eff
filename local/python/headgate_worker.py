"""What headgate-python calls: a worker's life after its confinement."""

from __future__ import annotations

import json
import os
from typing import Any

import headgate_local as h
from headgate_local import running


def warm() -> None:
    """Called once before the first fork: all that is loaded now is shared by the workers."""
    h.freeze()


def _load(order: dict[str, Any]) -> Any:
    return h.load(order["workspace"], h.Options.from_environ(order.get("options", {})))


def describe(text: str, fd: int, statm: int, level: str) -> None:
    """Loads the workspace and tells what came of it, as one line."""
    report: dict[str, Any] = {"sandbox": level}
    try:
        report["report"] = h.describe(_load(json.loads(text)))
    except (h.LoadError, h.OptionError) as e:
        report["refused"] = str(e)
    with os.fdopen(fd, "wb") as out:
        out.write(json.dumps(report).encode() + b"\n")


def serve(text: str, fd: int, statm: int, level: str) -> None:
    """An MCP server on fd until its end."""
    running.keep_statm(statm)
    h.serve(_load(json.loads(text)), fd, fd, h.Limits())
