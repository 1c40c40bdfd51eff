"""Limits and cache of several replicas on one Redis: together they admit what one would, and know
what one of them has learned; and what they do while it is away."""

from __future__ import annotations

import glob
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mcpclient import Client, Modern
from mockcore import Context, Service, demo, text
from mockhttp import Gate, HttpMock
from mocks import ModernServer
from redisproc import RedisServer
from wire import poll

Start = Callable[..., Any]
Clients = Callable[[Client], Any]
Mocks = Callable[[HttpMock], Any]
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8="
REPLICAS = 3


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
def fleet(start_gateway: Start, mocks: Mocks, redis: RedisServer) -> Callable[..., Any]:
    """fleet(config, service=…, clocks=…) → replicas before one upstream called "up", and that."""

    def make(
        config: dict[str, Any], service: Service | None = None, clocks: tuple[int, ...] = (0, 0, 0)
    ) -> tuple[list[Any], ModernServer]:
        server = mocks(ModernServer(service))
        mount = {"url": server.url} | config.pop("mount", {})
        # A busy machine is no reason to take Redis for away.
        patient = {"timeouts": {"store": "2s"}, "threads": 1}
        shared = {"store": redis.url, "sealKeys": [KEY], "upstreams": {"up": mount}} | patient
        replicas = [start_gateway(shared | config, env=clock(seconds)) for seconds in clocks]
        for replica in replicas:
            poll(lambda replica=replica: replica.metric("mcp_store_up") == 1)
        return replicas, server

    return make


def clock(seconds: int) -> dict[str, str]:
    """The environment of a process whose clock is off by so much."""
    if not seconds:
        return {}
    library = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")))
    return {
        "LD_PRELOAD": library,
        "FAKETIME": f"{seconds:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "ASAN_OPTIONS": "verify_asan_link_order=0",
    }


def is_refused(reply: Any) -> bool:
    return "dev.headgate/rateLimit" in reply.result.get("_meta", {})


@pytest.mark.parametrize("clocks", [(0, 0, 0), (0, 5, -5)], ids=["one-clock", "clocks-apart"])
def test_replicas_admit_exactly_what_one_would(
    fleet: Any, clients: Clients, clocks: tuple[int, ...]
) -> None:
    replicas, server = fleet({"limits": {"default": "40/h"}}, clocks=clocks)

    def calls(at: int) -> int:
        client = clients(Modern(replicas[at % REPLICAS].url, keep=True))
        return sum(not is_refused(client.call("up_echo")) for _ in range(6))

    with ThreadPoolExecutor(30) as pool:
        assert sum(pool.map(calls, range(30))) == 40
    assert len(server.service.calls()) == 40
    assert sum(r.metric("mcp_rate_limited_total", limit="default") for r in replicas) == 140


@pytest.mark.parametrize("clocks", [(0, 0, 0), (0, 5, -5)], ids=["one-clock", "clocks-apart"])
def test_no_window_holds_more_than_its_limit(
    fleet: Any, clients: Clients, clocks: tuple[int, ...]
) -> None:
    """Each admission happened between sending and answer: more than the limit of such spans within
    one window would prove one too many."""
    limit, window = 20, 1.0
    replicas, _ = fleet({"limits": {"default": f"{limit}/s"}}, clocks=clocks)
    spans: list[tuple[float, float]] = []
    windows = threading.Event()

    def run(at: int) -> None:
        client = clients(Modern(replicas[at % REPLICAS].url, keep=True))
        while not windows.is_set():
            sent = time.monotonic()
            reply = client.call("up_echo")
            if not is_refused(reply):
                spans.append((sent, time.monotonic()))
            if len(spans) >= 3 * limit:
                windows.set()

    with ThreadPoolExecutor(12) as pool:
        for run_ in [pool.submit(run, at) for at in range(12)]:
            run_.result()
    for start, _ in spans:
        within = sum(sent >= start and answered < start + window for sent, answered in spans)
        assert within <= limit


def counting(gate: Gate | None = None) -> Service:
    service = demo()
    calls: list[Any] = []

    async def count(ctx: Context, arguments: Any) -> Any:
        calls.append(arguments)
        number = len(calls)
        if gate:
            await gate.wait()
        return text(f"call {number}")

    service.tool("count", count)
    service.called = calls  # type: ignore[attr-defined]
    return service


CACHE = {"cache": {"tools": {"*": {"ttl": "10m"}}}}


def test_what_one_replica_has_learned_all_know(fleet: Any, clients: Clients) -> None:
    replicas, server = fleet(dict(CACHE), counting())
    for _ in range(2):
        for replica in replicas:
            time.sleep(0.2)  # what is learned goes to the store beside the answer
            assert clients(Modern(replica.url)).call("up_count", {"a": 1}).text == "call 1"
    assert len(server.service.called) == 1
    assert [r.metric("mcp_cache_hits_total", source="store") for r in replicas] == [0, 1, 1]
    assert [r.metric("mcp_cache_hits_total", source="local") for r in replicas] == [1, 1, 1]


def test_many_misses_at_one_time_are_few_calls(fleet: Any, clients: Clients) -> None:
    gate = Gate()
    replicas, server = fleet(dict(CACHE), counting(gate))
    params = {"name": "up_count", "arguments": {"a": 1}}
    calls = [
        clients(Modern(replicas[i % REPLICAS].url)).open("tools/call", params) for i in range(999)
    ]
    poll(lambda: sum(r.metric("mcp_cache_waits_total") for r in replicas) == 999 - REPLICAS)
    gate.open()
    texts = {call.finish().text for call in calls}
    made = len(server.service.called)
    assert made <= REPLICAS and texts == {f"call {n}" for n in range(1, made + 1)}
    assert sum(r.metric("mcp_inflight_requests") for r in replicas) == 0


def test_a_replica_waits_for_the_result_of_another(fleet: Any, clients: Clients) -> None:
    """The first one's call ends while the second looks for its result."""
    gate = Gate()
    replicas, server = fleet(dict(CACHE), counting(gate))
    params = {"name": "up_count", "arguments": {}}
    first = clients(Modern(replicas[0].url)).open("tools/call", params)
    poll(lambda: len(server.service.called) == 1)
    second = clients(Modern(replicas[1].url)).open("tools/call", params)
    gate.open()
    assert first.finish().text == "call 1"
    assert second.finish().text in ("call 1", "call 2")  # the latter when it looked for too long
    assert clients(Modern(replicas[2].url)).call("up_count").text in ("call 1", "call 2")


def test_a_replica_that_dies_holds_nobody_up(fleet: Any, clients: Clients) -> None:
    gate = Gate()
    replicas, server = fleet(dict(CACHE), counting(gate))
    params = {"name": "up_count", "arguments": {}}
    clients(Modern(replicas[0].url)).open("tools/call", params)
    poll(lambda: len(server.service.called) == 1)
    replicas[0].kill()
    gate.open()
    assert clients(Modern(replicas[1].url)).call("up_count").text == "call 2"


def test_an_updated_resource_is_void_at_every_replica(fleet: Any, clients: Clients) -> None:
    service = demo()
    reads: list[str] = []

    async def read(ctx: Context, params: Any) -> Any:
        reads.append(params["uri"])
        block = {"uri": params["uri"], "text": f"read {len(reads)}"}
        return {"contents": [block], "ttlMs": 600_000, "cacheScope": "public"}

    service.override["resources/read"] = read
    replicas, server = fleet({"mount": {"cache": "public"}}, service)
    every = [clients(Modern(replica.url)) for replica in replicas]

    def texts() -> list[str]:
        results = [c.request("resources/read", {"uri": "demo://one/a"}).result for c in every]
        return [r["contents"][0]["text"] for r in results]

    assert texts() == ["read 1"] * REPLICAS
    listener = every[0].listen({"resourceSubscriptions": ["demo://one/a"]})
    listener.next()
    poll(lambda: server.notify("notifications/resources/updated", uri="demo://one/a"))
    assert listener.next()
    # A read that overtakes the news may be one too many, but none is stale in the end.
    poll(lambda: len(seen := set(texts())) == 1 and seen != {"read 1"})
    settled = texts()
    assert texts() == settled


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_no_call_fails_while_redis_is_away(
    fleet: Any, clients: Clients, redis: RedisServer, how: str
) -> None:
    quick = {"timeouts": {"store": "200ms"}}
    replicas, _ = fleet({"limits": {"default": "1000000/h"}} | CACHE | quick)
    done = threading.Event()
    replies: list[Any] = []

    def run(at: int) -> None:
        client = clients(Modern(replicas[at % REPLICAS].url, keep=True))
        for n in itertools.count():
            if done.is_set():
                return
            # Some are in the cache, some have yet to come there.
            replies.append(client.call("up_echo", {"at": at, "n": n if n % 2 else 0}))

    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(run, at) for at in range(6)]
        try:
            poll(lambda: len(replies) > 60)
            getattr(redis, how)()
            for replica in replicas:
                replica.wait_log("limits.store_away")
            seen = len(replies)
            poll(lambda: len(replies) > seen + 60)
            redis.start() if how == "kill" else redis.resume()
            for replica in replicas:
                poll(lambda replica=replica: replica.metric("mcp_rate_limit_degraded") == 0)
        finally:
            done.set()
        for run_ in runs:
            run_.result()
    assert all("isError" not in reply.result for reply in replies)
    assert replicas[0].logs.count("limits.store_away") == 1
    assert replicas[0].logs.count("limits.store_back") == 1


def test_alone_a_replica_admits_its_share(fleet: Any, clients: Clients, redis: RedisServer) -> None:
    rules = [
        {"name": "closed", "match": {"tools": ["up_fail"]}, "rate": "100/h", "failMode": "closed"},
        {"name": "open", "match": {"tools": ["up_links"]}, "rate": "1/h", "failMode": "open"},
    ]
    replicas, _ = fleet({"limits": {"perTool": {"up_echo": "30/h"}, "rules": rules}})
    last = replicas[-1]  # it has heard of all others
    client = clients(Modern(last.url, keep=True))
    assert not is_refused(client.call("up_echo"))
    redis.kill()
    assert sum(not is_refused(client.call("up_echo")) for _ in range(15)) == 10
    assert all(not is_refused(client.call("up_links")) for _ in range(3))
    refused = client.call("up_fail")
    assert is_refused(refused) and "cannot be counted just now" in refused.text
    assert refused.result["_meta"]["dev.headgate/retryAfter"] == 1
    assert last.metric("mcp_rate_limit_degraded") == 1
