"""What operators see: health, the API, the metrics."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from mcpclient import Client, Legacy, Modern
from mockhttp import Gate, HttpMock
from mocks import LegacyServer, ModernServer
from wire import http, poll

Start = Callable[..., Any]
Clients = Callable[[Client], Any]
Mocks = Callable[[HttpMock], Any]


def test_health(start_gateway: Start) -> None:
    gateway = start_gateway({})
    for path in ("/healthz", "/readyz", "/startupz"):
        assert poll(lambda path=path: gateway.get(path).status == 200)
        head = http(gateway.base + path, "HEAD")
        assert head.status == 200 and head.body == b""
    assert gateway.get("/healthz").json()["status"] == "ok"
    assert gateway.get("/readyz").json()["status"] == "ready"
    assert gateway.get("/startupz").json()["status"] == "started"


def test_a_dead_upstream_does_not_make_us_unready(start_gateway: Start) -> None:
    gateway = start_gateway({"upstreams": {"dead": {"url": "http://127.0.0.1:1/mcp"}}})
    assert poll(lambda: gateway.get("/readyz").status == 200)


def test_info(start_gateway: Start, mocks: Mocks) -> None:
    gateway = start_gateway({"upstreams": {"up": {"url": mocks(ModernServer()).url}}})
    poll(lambda: gateway.api("info")["counts"]["tools"] == 8)
    info = gateway.api("info")
    assert info["server"] == "headgate" and info["version"]
    assert info["uptime_seconds"] >= 0
    assert info["counts"]["resources"] >= 2 and info["counts"]["prompts"] == 1


def test_tools(start_gateway: Start, mocks: Mocks) -> None:
    gateway = start_gateway({"upstreams": {"up": {"url": mocks(ModernServer()).url}}})

    def listed() -> list[dict[str, Any]]:
        got = gateway.api("tools")
        return got["tools"] if isinstance(got, dict) else got

    poll(lambda: len(listed()) == 8)
    echo = next(t for t in listed() if t["name"] == "up_echo")
    assert echo["description"] == "echo of mock"


def test_upstreams(start_gateway: Start, mocks: Mocks) -> None:
    mounts = {
        "new": {"url": mocks(ModernServer()).url},
        "old": {"url": mocks(LegacyServer()).url},
        "dead": {"url": "http://127.0.0.1:1/mcp"},
    }
    gateway = start_gateway({"upstreams": mounts})
    poll(lambda: "modern" in json.dumps(gateway.upstream("new")))
    poll(lambda: "legacy" in json.dumps(gateway.upstream("old")))
    assert gateway.metric("mcp_upstream_up", upstream="new") == 1
    assert gateway.metric("mcp_upstream_up", upstream="dead") == 0


def test_metrics_are_prometheus_text(start_gateway: Start) -> None:
    gateway = start_gateway({})
    response = gateway.get("/metrics")
    assert response.status == 200
    assert (response.header("content-type") or "").startswith("text/plain")
    for line in response.body.decode().splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or len(line.rsplit(" ", 1)) == 2, line


def conserved(gateway: Any) -> bool:
    """Every call that was admitted is accounted for."""
    ended = sum(
        gateway.metric(f"mcp_calls_{how}_total") for how in ("answered", "failed", "cancelled")
    )
    inflight = gateway.metric("mcp_inflight_requests")
    return gateway.metric("mcp_calls_admitted_total") == ended + inflight


def test_call_conservation(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    up, gate = mocks(ModernServer()), Gate()

    async def held(ctx: Any, arguments: Any) -> Any:
        await gate.wait()
        return {"content": []}

    up.service.tool("held", held)
    gateway = start_gateway(
        {"upstreams": {"up": {"url": up.url}, "dead": {"url": "http://127.0.0.1:1/mcp"}}}
    )
    client = clients(Modern(gateway.url))
    for _ in range(5):
        client.call("up_echo")
        client.call("up_rpc_error")
        client.call("dead_x")
        client.call("no_such")
    abandoned = client.open("tools/call", {"name": "up_held"})
    assert gate.entered.wait(20)
    poll(lambda: gateway.metric("mcp_inflight_requests") == 1)
    assert conserved(gateway)
    abandoned.close()
    poll(lambda: gateway.metric("mcp_calls_cancelled_total") == 1)
    poll(lambda: gateway.metric("mcp_inflight_requests") == 0)
    assert conserved(gateway)
    gate.open()


def test_no_upstream_session_without_an_owner(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    up = mocks(LegacyServer())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url, "session": "perClient"}}})
    made = [clients(Legacy(gateway.url)) for _ in range(5)]
    for client in made:
        client.call("up_echo")
    assert gateway.metric("mcp_sessions_active") == 5
    for client in made:
        client.delete()
    poll(lambda: gateway.metric("mcp_sessions_active") == 0)
    poll(lambda: gateway.metric("mcp_gateway_upstream_sessions") == len(up.sessions))
    poll(lambda: len(up.sessions) <= 1, why="only the gateway's own listing session stays")


def test_loop_lag_and_memory_under_load(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    """The numbers exist and are sane; their bounds are asserted by the load tests."""
    up = mocks(ModernServer())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})

    def load() -> None:
        client = clients(Modern(gateway.url, keep=True))
        for n in range(100):
            assert client.call("up_echo", {"n": n}).text == json.dumps({"n": n})

    workers = [threading.Thread(target=load) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    poll(lambda: gateway.metric("mcp_inflight_requests") == 0)
    assert gateway.metric("mcp_calls_answered_total") >= 400 and conserved(gateway)
    assert gateway.metric("mcp_gateway_loop_lag_p999_microseconds") >= 0
    rss, charged = (gateway.metric(f"mcp_gateway_{what}_bytes") for what in ("rss", "charged"))
    assert rss > 0 and 0 <= charged <= rss
    assert gateway.metric("mcp_requests_total", code="200") >= 400


def test_labels_never_come_from_clients(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    up = mocks(ModernServer())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    client = clients(Modern(gateway.url))
    for n in range(20):
        client.call(f"up_nonsense{n}")
        gateway.get(f"/nonsense{n}")
    assert b"nonsense" not in gateway.get("/metrics").body


def test_api_paths_are_read_only(start_gateway: Start) -> None:
    gateway = start_gateway({})
    for path in ("/api/info", "/api/tools", "/metrics"):
        response = http(gateway.base + path, "DELETE")
        assert response.status in (404, 405)
    assert gateway.get("/api/nothing").status == 404
