"""Many parked calls at once, answered in any order, twice, late, or never: each ends once and
leaves nothing behind. HEADGATE_PARKED says how many (200)."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable
from typing import Any

from mcpclient import Modern, Reply
from mockcore import ASKS, demo, text
from mocks import LegacyServer
from wire import poll

COUNT = int(os.environ.get("HEADGATE_PARKED", "200"))
BATCH = 50
SLACK = 192 * 1024 + 192 * COUNT  # tables that grew with the crowd stay as they are
ALL = {"sampling": {}, "elicitation": {"form": {}}, "roots": {}}
ACCEPT = {"action": "accept", "content": {"which": "this"}}


def batches(items: list[Any], work: Callable[[Any], Any]) -> list[Reply]:
    """Runs requests side by side, a batch at a time."""
    out: list[Reply] = []
    for at in range(0, len(items), BATCH):
        pending = [work(item) for item in items[at : at + BATCH]]
        out += [p.finish() for p in pending]
    return out


def test_each_of_many_parked_calls_ends_once(
    start_gateway: Callable[..., Any], mocks: Callable[..., Any], clients: Callable[..., Any]
) -> None:
    order = random.Random(7)
    service, doomed = demo(), demo()
    ended: list[int] = []

    async def ask(ctx: Any, arguments: Any) -> Any:
        asked = asyncio.ensure_future(ctx.ask(*ASKS["elicitation"]))
        cancelled = asyncio.ensure_future(ctx.cancelled.wait())
        await asyncio.wait({asked, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        ended.append(arguments["n"])
        told = [arguments["n"], asked.done()]
        asked.cancel()
        cancelled.cancel()
        return text(json.dumps(told))

    service.tool("many", ask)
    doomed.tool("many", ask)
    up, dying = mocks(LegacyServer(service)), mocks(LegacyServer(doomed))
    up.lenient = dying.lenient = True
    upstreams = {"up": {"url": up.url}, "dying": {"url": dying.url}}
    # Long enough that the slowest build answers all it wants to, short enough to wait for the rest.
    wait = 10 if COUNT <= 200 else 60
    config = {"upstreams": upstreams, "timeouts": {"parked": f"{wait}s"}, "threads": 2}
    gateway = start_gateway(config)
    client = clients(Modern(gateway.url, caps=ALL))
    metric = gateway.metric
    echo = {"name": "up_echo", "arguments": {}}
    batches(list(range(BATCH)), lambda _: client.open("tools/call", echo))
    before = metric("mcp_gateway_charged_bytes")

    def call(job: tuple[str, int]) -> Any:
        return client.open("tools/call", {"name": f"{job[0]}_many", "arguments": {"n": job[1]}})

    jobs = [("dying" if n % 10 == 9 else "up", n) for n in range(COUNT)]
    replies = dict(zip(jobs, batches(jobs, call)))
    assert all(reply.asked for reply in replies.values())
    assert metric("mcp_parked_calls") == COUNT

    def answer(job: tuple[str, int]) -> Any:
        reply = replies[job]
        answers = {key: ACCEPT for key in reply.asked}
        return client.open_retry(f"{job[0]}_many", {"n": job[1]}, reply, answers)

    order.shuffle(jobs)
    dead = [job for job in jobs if job[0] == "dying"]
    never = [job for job in jobs if job[0] == "up"][: COUNT // 10]
    live = [job for job in jobs if job[0] == "up" and job not in never]
    for job, reply in zip(live, batches(live, answer)):
        assert json.loads(reply.text) == [job[1], True]
    twice = live[: COUNT // 5]
    for job, reply in zip(twice, batches(twice, answer)):
        assert json.loads(reply.text) == [job[1], True], "the same answer again"
    assert len(ended) == len(set(ended)) == len(live), "each was fed once"
    dying.stop()
    poll(lambda: metric("mcp_parked_calls") == len(never), why="the dead upstream's calls end")
    for reply in batches(dead, answer):
        assert reply.code == -32603 and reply.error["data"]["reason"] == "upstream_unavailable"
    poll(lambda: metric("mcp_parked_calls") == 0, timeout=wait + 20, why="the others expire")
    for reply in batches(never, answer):
        assert reply.code == -32602
    assert metric("mcp_calls_admitted_total") == COUNT + BATCH
    assert metric("mcp_calls_answered_total") == len(live) + BATCH
    assert metric("mcp_calls_failed_total") == len(dead)
    assert metric("mcp_calls_cancelled_total") == len(never)
    assert metric("mcp_inflight_requests") == 0
    # The heap in use; sanitizers have one of their own.
    poll(
        lambda: metric("mcp_gateway_charged_bytes") < before + SLACK,
        timeout=wait + 20,
        why="the heap is as it was",
    )
