"""The result cache: what is kept, for whom, and that equal calls at one time become one."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mcpclient import Client, Legacy, Modern
from mockcore import Context, InputRequired, Service, demo, text
from mockhttp import Gate, HttpMock
from mocks import LegacyServer, ModernServer
from wire import poll

Start = Callable[..., Any]
Clients = Callable[[Client], Any]
Mocks = Callable[[HttpMock], Any]
MINUTES = {"ttl": "10m"}


@pytest.fixture
def cached(start_gateway: Start, mocks: Mocks) -> Callable[..., tuple[Any, Any]]:
    """cached({pattern: rule}, …) → a gateway before one upstream called "up", and that."""

    def make(tools: dict[str, Any], **more: Any) -> tuple[Any, Any]:
        server = mocks(more.pop("server", None) or ModernServer(more.pop("service", None)))
        mount = {"url": server.url} | more.pop("mount", {})
        cache = {"tools": tools} | more.pop("cache", {})
        # One loop, so that a test knows who waits for whom.
        config = {"threads": 1, "upstreams": {"up": mount}, "cache": cache}
        config |= more.pop("config", {})
        return start_gateway(config, **more), server

    return make


def counting(gate: Gate | None = None, **result: Any) -> Service:
    """A service whose tool "count" tells how often it was called."""
    service = demo()
    calls: list[Any] = []

    async def count(ctx: Context, arguments: Any) -> Any:
        calls.append(arguments)
        number = len(calls)
        if gate:
            await gate.wait()
        return text(f"call {number}") | result

    service.tool("count", count)
    service.called = calls  # type: ignore[attr-defined]
    return service


def test_an_equal_call_is_answered_from_the_cache_in_both_eras(
    cached: Any, clients: Clients
) -> None:
    gateway, server = cached({"up_count": MINUTES}, service=counting())
    modern, legacy = clients(Modern(gateway.url)), clients(Legacy(gateway.url))
    first = modern.call("up_count", {"a": 1, "b": [1.50, "x"]})
    again = modern.call("up_count", {"b": [1.5, "\u0078"], "a": 1.0})
    old = legacy.call("up_count", {"b": [15e-1, "x"], "a": 1}, token="p")
    assert first.text == again.text == old.text == "call 1"
    assert again.result["resultType"] == "complete" and "resultType" not in old.result
    assert modern.call("up_count", {"a": 2, "b": [1.5, "x"]}).text == "call 2"
    assert len(server.service.calls()) == 2
    assert gateway.metric("mcp_cache_hits_total", source="local") == 2
    assert gateway.metric("mcp_cache_misses_total") == 2
    assert gateway.metric("mcp_cache_entries") == 2 and gateway.metric("mcp_cache_bytes") > 0


def test_only_tools_that_ask_for_it_are_cached(cached: Any, clients: Clients) -> None:
    gateway, server = cached({"up_co*": MINUTES}, service=counting())
    client = clients(Modern(gateway.url))
    for _ in range(2):
        client.call("up_echo", {"x": 1})
    assert len(server.service.calls()) == 2


def test_switched_off_nothing_is_cached(cached: Any, clients: Clients) -> None:
    gateway, _ = cached({"*": MINUTES}, service=counting(), env={"MCP_CACHE_ENABLED": "false"})
    client = clients(Modern(gateway.url))
    assert [client.call("up_count").text for _ in range(2)] == ["call 1", "call 2"]


def test_results_end_with_their_time(cached: Any, clients: Clients) -> None:
    gateway, _ = cached({"up_count": "50ms"}, service=counting())
    client = clients(Modern(gateway.url))
    assert client.call("up_count").text == "call 1"
    poll(lambda: client.call("up_count").text == "call 2")


def test_errors_are_not_kept(cached: Any, clients: Clients) -> None:
    gateway, server = cached({"*": MINUTES}, service=counting(isError=True))
    client = clients(Modern(gateway.url))
    assert [client.call("up_count").text for _ in range(2)] == ["call 1", "call 2"]
    for _ in range(2):
        assert client.call("up_rpc_error").code == 1234
    assert len(server.service.calls()) == 4


def test_what_asks_for_input_is_not_kept(cached: Any, clients: Clients) -> None:
    service = demo()
    rounds: list[Any] = []

    async def ask(ctx: Context, arguments: Any) -> Any:
        rounds.append(ctx.responses)
        if ctx.responses is None:
            schema = {"type": "object", "properties": {}}
            form = {"message": "Which?", "requestedSchema": schema}
            return InputRequired({"q": {"method": "elicitation/create", "params": form}}, "state")
        return text(json.dumps(ctx.responses["q"]))

    service.tool("pick", ask)
    gateway, _ = cached({"*": MINUTES}, service=service)
    client = clients(Modern(gateway.url, caps={"elicitation": {"form": {}}}))
    for which in ("a", "b"):
        asked = client.call("up_pick")
        assert asked.result["resultType"] == "input_required"
        answer = {"q": {"action": "accept", "content": {"which": which}}}
        assert f'"{which}"' in client.retry("up_pick", {}, asked, answer).text
    assert len(rounds) == 4


def test_a_call_that_asks_its_client_is_for_that_client_alone(
    cached: Any, clients: Clients
) -> None:
    gateway, server = cached({"*": MINUTES}, server=LegacyServer())
    told = iter(("a", "b"))

    def answer(method: str, params: dict[str, Any]) -> Any:
        return {"action": "accept", "content": {"which": next(told)}}

    client = clients(Legacy(gateway.url, caps={"elicitation": {"form": {}}}, answer=answer))
    assert '"a"' in client.call("up_ask").text
    assert '"b"' in client.call("up_ask").text
    assert len(server.service.calls()) == 2


def test_params_beyond_arguments_belong_to_the_key_or_pass_by(
    cached: Any, clients: Clients
) -> None:
    gateway, _ = cached({"*": MINUTES}, service=counting())
    client = clients(Modern(gateway.url))

    def call(**more: Any) -> str:
        meta = client.meta(**more.pop("meta", {}))
        return client.call("up_count", {}, params={"_meta": meta} | more).text

    assert call() == call(meta={"traceparent": "00-1"}) == call(meta={"progressToken": 7})
    assert call(meta={"com.example/view": "a"}) == "call 2"
    assert call(meta={"com.example/view": "a"}) == "call 2"
    assert call(meta={"com.example/view": "b"}) == "call 3"
    assert call(unheard={"of": 1}) == "call 4"
    assert call(unheard={"of": 1}) == "call 5"


def test_the_least_recently_used_results_go_first(cached: Any, clients: Clients) -> None:
    gateway, _ = cached({"*": MINUTES}, service=counting(), cache={"maxSize": 2})
    client = clients(Modern(gateway.url))

    def call(n: int) -> str:
        return client.call("up_count", {"n": n}).text

    assert [call(n) for n in (1, 2, 1, 3)] == ["call 1", "call 2", "call 1", "call 3"]
    assert [call(n) for n in (1, 3)] == ["call 1", "call 3"]
    assert call(2) == "call 4"
    assert gateway.metric("mcp_cache_entries") == 2
    assert client.call("up_echo", {"n": 1}).result  # another tool has its own room
    assert gateway.metric("mcp_cache_entries") == 3


def test_the_cache_is_bounded_in_bytes(cached: Any, clients: Clients) -> None:
    gateway, _ = cached({"*": MINUTES}, cache={"maxBytes": "8KiB"})
    client = clients(Modern(gateway.url))
    for n in range(20):
        client.call("up_echo", {"n": n, "fill": "x" * 1000})
    assert 0 < gateway.metric("mcp_cache_bytes") <= 8192
    before = gateway.metric("mcp_cache_entries")
    client.call("up_echo", {"fill": "x" * 20000})  # fits nowhere
    assert gateway.metric("mcp_cache_entries") == before > 1


def test_a_changed_definition_voids_results(cached: Any, clients: Clients) -> None:
    service = counting()
    gateway, server = cached({"*": MINUTES}, service=service)
    client = clients(Modern(gateway.url))
    assert client.call("up_count").text == "call 1"
    next(t for t in service.lists["tools"] if t["name"] == "count")["description"] = "other"
    poll(lambda: server.notify("notifications/tools/list_changed"))
    poll(lambda: client.call("up_count").text == "call 2")


def test_equal_calls_at_one_time_become_one(cached: Any, clients: Clients) -> None:
    gate = Gate()
    service = counting(gate)
    gateway, _ = cached({"*": MINUTES}, service=service)
    with ThreadPoolExecutor(100) as pool:
        eras = [Modern(gateway.url), Legacy(gateway.url)]
        kinds = [clients(client) for client in eras]
        runs = [pool.submit(kinds[i % 2].call, "up_count", {"a": 1}) for i in range(100)]
        poll(lambda: gateway.metric("mcp_cache_waits_total") == 99)
        gate.open()
        assert {run.result().text for run in runs} == {"call 1"}
    assert len(service.called) == 1
    assert gateway.metric("mcp_cache_hits_total", source="flight") == 99
    assert gateway.metric("mcp_inflight_requests") == 0


def test_loops_share_results_and_flights(cached: Any, clients: Clients) -> None:
    gate = Gate()
    service = counting(gate)
    gateway, _ = cached({"*": MINUTES}, service=service, config={"threads": 3})
    params = {"name": "up_count", "arguments": {}}
    calls = [clients(Modern(gateway.url)).open("tools/call", params) for _ in range(60)]
    poll(lambda: gateway.metric("mcp_inflight_requests") == 60 and service.called)
    assert gateway.metric("mcp_cache_waits_total") >= 57
    gate.open()
    texts = {call.finish().text for call in calls}
    seen = len(service.called)
    assert seen <= 3 and texts == {f"call {n}" for n in range(1, seen + 1)}
    for _ in range(12):
        assert clients(Modern(gateway.url)).call("up_count").text in texts
    assert len(service.called) == seen
    first = {clients(Modern(gateway.url, keep=True)).call("up_count", {"n": 1}).text}
    others = [clients(Modern(gateway.url, keep=True)) for _ in range(6)]
    assert {c.call("up_count", {"n": 1}).text for c in others} == first


def test_an_update_reaches_all_loops(cached: Any, clients: Clients) -> None:
    service = reading(600_000, "public")
    more = {"mount": {"cache": "public"}, "config": {"threads": 3}}
    gateway, server = cached({}, service=service, **more)
    every = [clients(Modern(gateway.url, keep=True)) for _ in range(6)]

    def texts() -> set[str]:
        results = [c.request("resources/read", {"uri": "demo://one/a"}).result for c in every]
        return {r["contents"][0]["text"] for r in results}

    assert texts() == {"read 1"}
    listener = every[0].listen({"resourceSubscriptions": ["demo://one/a"]})
    listener.next()
    poll(lambda: server.notify("notifications/resources/updated", uri="demo://one/a"))
    assert listener.next()
    poll(lambda: len(seen := texts()) == 1 and seen != {"read 1"})


def test_when_the_leader_is_cancelled_another_goes(cached: Any, clients: Clients) -> None:
    gate = Gate()
    service = counting(gate)
    gateway, _ = cached({"*": MINUTES}, service=service)
    client = clients(Modern(gateway.url))
    params = {"name": "up_count", "arguments": {}}
    leader = client.open("tools/call", params)
    poll(lambda: len(service.called) == 1)
    others = [client.open("tools/call", params) for _ in range(3)]
    poll(lambda: gateway.metric("mcp_cache_waits_total") == 3)
    others.pop(1).close()  # one that waits goes away
    leader.close()
    poll(lambda: len(service.called) == 2)
    gate.open()
    assert [p.finish().text for p in others] == ["call 2", "call 2"]
    assert len(service.called) == 2
    assert gateway.metric("mcp_calls_cancelled_total") == 2


def test_when_the_leader_gets_an_error_each_goes_itself(cached: Any, clients: Clients) -> None:
    gate = Gate()
    service = counting(gate, isError=True)
    gateway, _ = cached({"*": MINUTES}, service=service)
    client = clients(Modern(gateway.url))
    params = {"name": "up_count", "arguments": {}}
    calls = [client.open("tools/call", params) for _ in range(4)]
    poll(lambda: gateway.metric("mcp_cache_waits_total") == 3)
    gate.open()
    assert {p.finish().text for p in calls} == {f"call {n}" for n in (1, 2, 3, 4)}


def test_when_the_upstream_is_away_all_hear_of_it_at_once(cached: Any, clients: Clients) -> None:
    gate = Gate()
    service = counting(gate)
    gateway, server = cached({"*": MINUTES}, service=service)
    server.lenient = True
    client = clients(Modern(gateway.url))
    params = {"name": "up_count", "arguments": {}}
    calls = [client.open("tools/call", params) for _ in range(4)]
    poll(lambda: gateway.metric("mcp_cache_waits_total") == 3 and service.called)
    server.stop()
    assert {p.finish().error["data"]["reason"] for p in calls} == {"upstream_unavailable"}
    assert len(service.called) == 1


def reading(ttl_ms: int, scope: str) -> Service:
    """A service whose resources say how long they hold."""
    service = demo()
    reads: list[str] = []

    async def read(ctx: Context, params: Any) -> Any:
        reads.append(params["uri"])
        block = {"uri": params["uri"], "text": f"read {len(reads)}"}
        return {"contents": [block], "ttlMs": ttl_ms, "cacheScope": scope}

    service.override["resources/read"] = read
    service.reads = reads  # type: ignore[attr-defined]
    return service


@pytest.mark.parametrize("scope", ["private", "public"])
def test_resources_hold_as_long_as_their_server_says(
    cached: Any, clients: Clients, scope: str
) -> None:
    service = reading(600_000, scope)
    gateway, _ = cached({}, service=service, mount={"cache": "public"})
    modern, legacy = clients(Modern(gateway.url)), clients(Legacy(gateway.url))
    first = modern.request("resources/read", {"uri": "demo://one/a"}).result
    assert (first["ttlMs"], first["cacheScope"]) == (600_000, scope)
    again = modern.request("resources/read", {"uri": "demo://one/a"}).result
    assert again["contents"] == first["contents"]
    assert 0 < again["ttlMs"] <= 600_000 and again["cacheScope"] == scope
    old = legacy.request("resources/read", {"uri": "demo://one/a"}).result
    assert old["contents"] == first["contents"] and "ttlMs" not in old
    assert modern.request("resources/read", {"uri": "demo://one/b"}).result["contents"] != first
    assert service.reads == ["demo://one/a", "demo://one/b"]


def test_a_mount_may_keep_public_resources_for_each_caller(cached: Any, clients: Clients) -> None:
    service = reading(600_000, "public")
    gateway, _ = cached({}, service=service, mount={"cache": "private"})
    client = clients(Modern(gateway.url))
    client.request("resources/read", {"uri": "demo://one/a"})
    again = client.request("resources/read", {"uri": "demo://one/a"}).result
    assert again["cacheScope"] == "private" and len(service.reads) == 1


def test_resources_are_not_kept_unless_the_mount_wants_it(cached: Any, clients: Clients) -> None:
    for mount, ttl in (({}, 600_000), ({"cache": "private"}, 0)):
        service = reading(ttl, "private")
        gateway, _ = cached({}, service=service, mount=mount)
        client = clients(Modern(gateway.url))
        for _ in range(2):
            client.request("resources/read", {"uri": "demo://one/a"})
        assert len(service.reads) == 2


def test_an_updated_resource_is_read_anew(cached: Any, clients: Clients) -> None:
    service = reading(600_000, "private")
    gateway, server = cached({}, service=service, mount={"cache": "private"})
    client = clients(Modern(gateway.url))
    listener = client.listen({"resourceSubscriptions": ["demo://one/a"]})
    listener.next()
    for uri in ("demo://one/a", "demo://one/b"):
        client.request("resources/read", {"uri": uri})
    poll(lambda: server.notify("notifications/resources/updated", uri="demo://one/a"))
    assert listener.next()
    for uri in ("demo://one/a", "demo://one/b"):
        client.request("resources/read", {"uri": uri})
    assert service.reads == ["demo://one/a", "demo://one/b", "demo://one/a"]


@pytest.mark.parametrize("count_hits", [False, True])
def test_hits_count_against_limits_only_where_configured(
    cached: Any, clients: Clients, count_hits: bool
) -> None:
    limits = {"default": "2/h", "countHits": count_hits}
    gateway, server = cached({"*": MINUTES}, service=counting(), config={"limits": limits})
    client = clients(Modern(gateway.url))
    refused = ["isError" in client.call("up_count", {}).result for _ in range(5)]
    assert refused == [False, False] + [count_hits] * 3
    assert "isError" in client.call("up_count", {"n": 1}).result or not count_hits
    assert len(server.service.calls()) == (1 if count_hits else 2)


def test_a_refusal_is_not_kept_and_who_waits_is_judged_alone(cached: Any, clients: Clients) -> None:
    gate = Gate()
    gateway, server = cached(
        {"*": MINUTES}, service=counting(gate), config={"limits": {"default": "1/h"}}
    )
    client = clients(Modern(gateway.url))
    params = {"name": "up_count", "arguments": {}}
    calls = [client.open("tools/call", params) for _ in range(3)]
    poll(lambda: gateway.metric("mcp_cache_waits_total") == 2)
    other = client.call("up_count", {"n": 1})
    assert other.result["isError"] and "Rate limit" in other.text
    gate.open()
    assert {p.finish().text for p in calls} == {"call 1"}
    assert client.call("up_count").text == "call 1"
    assert "Rate limit" in client.call("up_count", {"n": 1}).text
    assert len(server.service.calls()) == 1


def test_private_results_never_cross_callers(cached: Any, clients: Clients) -> None:
    tools = {"up_count": MINUTES, "up_echo": MINUTES | {"scope": "public"}}
    names = ("acme-1", "acme-2", "beta")
    auth = {"tokens": [{"token": name, "clientId": name} for name in names]}
    tenants = {"acme": {"match": {"clientId": "acme-*"}}, "beta": {"match": {"clientId": "beta"}}}
    service = counting()
    more = {"auth": auth, "tenants": tenants}
    gateway, _ = cached(tools, service=service, config=more, mount={"cache": "public"})

    def client(name: str, era: Any) -> Any:
        return clients(era(gateway.url, headers={"Authorization": f"Bearer {name}"}))

    for era in (Modern, Legacy):
        texts = [client(name, era).call("up_count").text for name in names]
        assert texts == ["call 1", "call 2", "call 3"]
        for name in names:
            client(name, era).call("up_echo")
    # The public tool went once for each tenant.
    assert [c["name"] for c in service.calls()].count("echo") == 2


def test_a_local_tool_says_itself_how_long_its_results_hold(
    start_gateway: Start, clients: Clients, tmp_path: Path
) -> None:
    lines = "__cache_ttl__ = 600\nimport uuid\n\n"
    lines += "def draw(n: int) -> str:\n    return str(uuid.uuid4())\n"
    (tmp_path / "work" / "tools").mkdir(parents=True)
    (tmp_path / "work" / "tools" / "luck.py").write_text(lines)
    gateway = start_gateway({"local": {"inline": str(tmp_path / "work")}})
    client = clients(Modern(gateway.url))
    name = poll(lambda: next((t["name"] for t in client.all("tools") if "draw" in t["name"]), None))
    assert client.call(name, {"n": 1}).text == client.call(name, {"n": 1}).text
    assert client.call(name, {"n": 2}).text != client.call(name, {"n": 1}).text
