"""What a tenant may hold at a time, over all threads."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mcpclient import Legacy, Modern
from mockcore import ASKS, text
from mockhttp import Gate
from mocks import LegacyServer, ModernServer, Service
from wire import poll


def config(url: str, **quotas: int) -> dict[str, Any]:
    return {
        "threads": 2,
        "admin": {"token": "root"},
        "upstreams": {"up": {"url": url}},
        "auth": {
            "tokens": [
                {"token": "a", "clientId": "a", "tenant": "acme"},
                {"token": "a2", "clientId": "a2", "tenant": "acme"},
                {"token": "b", "clientId": "b", "tenant": "bolt"},
            ]
        },
        "tenants": {"acme": {"quotas": quotas}, "bolt": {}},
    }


def metric(gateway: Any, series: str) -> float:
    text = gateway.get("/metrics", Authorization="Bearer root").body.decode()
    return sum(float(n) for n in re.findall(rf"^{re.escape(series)} (\S+)$", text, re.M))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


ERAS = {"modern": Modern, "legacy": Legacy}


@pytest.mark.parametrize("era", ERAS)
def test_calls_under_way_are_limited_and_their_end_makes_room(
    start_gateway: Any, mocks: Any, clients: Any, era: str
) -> None:
    made, gate = Service(), Gate()

    async def slow(_ctx: Any, _arguments: Any) -> Any:
        await gate.wait()
        return text("done")

    async def fast(_ctx: Any, _arguments: Any) -> Any:
        return text("fast")

    made.tool("slow", slow)
    made.tool("fast", fast)
    gateway = start_gateway(config(mocks(ModernServer(made)).url, concurrent=2))
    own = [clients(ERAS[era](gateway.url, headers=bearer(t))) for t in ("a", "a2", "a")]
    held = [c.open("tools/call", {"name": "up_slow", "arguments": {}}) for c in own[:2]]
    poll(lambda: metric(gateway, "mcp_inflight_requests") == 2, why="both are under way")
    said = own[2].call("up_fast").raw.decode()
    assert "tenant acme has 2 calls under way already (quotas.concurrent)" in said
    assert metric(gateway, 'mcp_quota_refused_total{quota="concurrent"}') == 1
    other = clients(ERAS[era](gateway.url, headers=bearer("b")))
    assert other.call("up_fast").text == "fast"
    gate.open()
    assert [h.finish().text for h in held] == ["done", "done"]
    for _ in range(5):
        assert own[2].call("up_fast").text == "fast"


def test_sessions_are_limited_and_their_end_makes_room(
    start_gateway: Any, mocks: Any, clients: Any
) -> None:
    gateway = start_gateway(config(mocks(ModernServer(Service())).url, sessions=3))
    own = [clients(Legacy(gateway.url, headers=bearer(t))) for t in ("a", "a2", "a")]
    with pytest.raises(AssertionError, match=r"tenant acme has 3 sessions already"):
        clients(Legacy(gateway.url, headers=bearer("a")))
    assert metric(gateway, 'mcp_quota_refused_total{quota="sessions"}') == 1
    clients(Legacy(gateway.url, headers=bearer("b")))
    own[0].delete()
    clients(Legacy(gateway.url, headers=bearer("a2")))
    assert metric(gateway, "mcp_sessions_active") == 4


def test_parked_calls_are_limited(start_gateway: Any, mocks: Any, clients: Any) -> None:
    made = Service()

    async def asks(ctx: Any, _arguments: Any) -> Any:
        await ctx.ask(*ASKS["elicitation"])
        return text("asked")

    made.tool("asks", asks)
    gateway = start_gateway(config(mocks(LegacyServer(made)).url, parked=1))
    caps = {"elicitation": {"form": {}}}
    first, second = (
        clients(Modern(gateway.url, headers=bearer(t), caps=caps)) for t in ("a", "a2")
    )
    waits = first.call("up_asks", {})
    assert waits.result["resultType"] == "input_required"
    assert "(quotas.parked)" in second.call("up_asks", {}).raw.decode()
    other = clients(Modern(gateway.url, headers=bearer("b"), caps=caps))
    assert other.call("up_asks", {}).result["resultType"] == "input_required"
    answer = {key: {"action": "accept", "content": {"which": "this"}} for key in waits.asked}
    assert first.retry("up_asks", {}, waits, answer).text == "asked"
    assert second.call("up_asks", {}).result["resultType"] == "input_required"
