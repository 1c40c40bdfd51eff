"""What the Python clients share; see features.mjs."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

PLAN = json.loads(sys.argv[1])
TARGET = PLAN["target"]
FEATURES = PLAN["features"]
CONTENT = FEATURES.get("elicit", {}).get("content", {})


class Peer:
    """A connected client; subclasses say how its SDK does each thing."""

    def __init__(self) -> None:
        self.changes: list[str] = []

    async def tools(self) -> list[str]:
        raise NotImplementedError

    async def call(self, name: str, args: Any, on_progress: Any = None) -> tuple[bool, str]:
        """Whether it is an error, and what was said."""
        raise NotImplementedError

    async def subscribe(self, wanted: dict[str, Any]) -> None:
        raise NotImplementedError


def said(result: Any) -> str:
    blocks = [c.model_dump(mode="json", by_alias=True, exclude_none=True) for c in result.content]
    return json.dumps(blocks, ensure_ascii=False)


async def expect(peer: Peer, f: dict[str, Any], wanted: str) -> None:
    failed, text = await peer.call(f["tool"], f.get("args") or {})
    assert not failed and wanted in text, f"expected {wanted}, got {text[:300]}"


async def do_list(peer: Peer, f: dict[str, Any]) -> None:
    names = await peer.tools()
    assert f["tool"] in names, f"no {f['tool']} in {names}"


async def do_call(peer: Peer, f: dict[str, Any]) -> None:
    await expect(peer, f, f["expect"])


async def do_progress(peer: Peer, f: dict[str, Any]) -> None:
    seen: list[float] = []

    async def told(value: float, total: float | None, message: str | None) -> None:
        seen.append(value)

    await peer.call(f["tool"], f.get("args") or {}, told)
    await anyio.sleep(0)
    assert len(seen) >= f["min"], f"{len(seen)} progress notifications, not {f['min']}"


async def do_cancel(peer: Peer, f: dict[str, Any]) -> None:
    with anyio.move_on_after(f.get("after", 300) / 1000) as scope:
        await peer.call(f["tool"], f.get("args") or {})
    assert scope.cancelled_caught, "the call was answered although it was cancelled"
    await anyio.sleep(0.3)  # what tells the server is on its way
    proof = f.get("proof")
    for _ in range(50):
        if proof is None or proof["expect"] in (await peer.call(proof["tool"], {}))[1]:
            return
        await anyio.sleep(0.05)
    raise AssertionError("the server did not hear of it")


async def do_sample(peer: Peer, f: dict[str, Any]) -> None:
    await expect(peer, f, "sampled by the client")


async def do_subscribe(peer: Peer, f: dict[str, Any]) -> None:
    await peer.subscribe(f)
    n = 0
    while f["method"] not in peer.changes:
        if n % 50 == 0:
            await peer.call(f["trigger"]["tool"], f["trigger"].get("args") or {})
        n += 1
        await anyio.sleep(0.02)


DO: dict[str, Callable[[Peer, dict[str, Any]], Awaitable[None]]] = {
    "list": do_list,
    "call": do_call,
    "progress": do_progress,
    "cancel": do_cancel,
    "elicit": do_call,
    "sample": do_sample,
    "subscribe": do_subscribe,
}
OUTCOME: dict[str, Any] = {}


def told(e: BaseException) -> dict[str, str]:
    while isinstance(e, BaseExceptionGroup):
        e = e.exceptions[0]
    return {"error": f"{type(e).__name__}: {e}"[:400]}


async def attempt(connect: Callable[[], AbstractAsyncContextManager[Peer]]) -> None:
    try:
        async with connect() as peer:
            for name, f in FEATURES.items():
                try:
                    with anyio.fail_after(f.get("ms", 15000) / 1000):
                        await DO[name](peer, f)
                    OUTCOME[name] = {"ok": True}
                except Exception as e:
                    OUTCOME[name] = told(e)
            finish()
    except BaseException as e:
        OUTCOME.setdefault("connect", told(e))
    finish()


def finish() -> None:
    """Ends the process at once: how a client closes is not what is asked here."""
    import os

    print(json.dumps(OUTCOME), flush=True)
    os._exit(0)


def run(connect: Callable[[], AbstractAsyncContextManager[Peer]]) -> None:
    anyio.run(attempt, connect)


Connected = AsyncIterator[Peer]
