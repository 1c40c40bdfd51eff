"""A request that runs a function."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from .composites import Json
from .context import Context

if TYPE_CHECKING:
    from .server import Server

CALLER = "dev.headgate/caller"


class Call:
    """A request that runs a function. Answered once: what comes later is dropped."""

    __slots__ = ("server", "id", "meta", "caller", "done", "context", "deadline", "limit_ms",
                 "task")  # fmt: skip

    def __init__(self, server: Server, id_: Any, params: Json, timeout_ms: int = 0) -> None:
        meta = params.get("_meta")
        self.server, self.id = server, id_
        self.meta: Json = meta if type(meta) is dict else {}
        caller = self.meta.get(CALLER)
        self.caller: Json = caller if type(caller) is dict else {}
        self.done = False
        self.context = Context(server, self)
        self.task: asyncio.Task[None] | None = None
        left = self.caller.get("deadlineMs")
        limits = [timeout_ms, left if isinstance(left, (int, float)) and left > 0 else 0]
        self.limit_ms = min((each for each in limits if each), default=0)
        self.deadline = time.monotonic() + self.limit_ms / 1000 if self.limit_ms else 0.0

    def left(self) -> float | None:
        return self.deadline - time.monotonic() if self.deadline else None

    @property
    def session(self) -> str:
        said = self.caller.get("session")
        return said if isinstance(said, str) and said else self.server.session
