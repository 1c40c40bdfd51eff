"""Upstreams over HTTP+SSE, configured or found out."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import Client, Legacy, Modern
from mockcore import text
from mockhttp import Gate
from mocks import LegacyServer, ModernServer
from mocksse import SseServer
from wire import poll

Start = Callable[..., Any]
Mocks = Callable[..., Any]
Clients = Callable[[Client], Any]


@pytest.fixture
def server(mocks: Mocks) -> SseServer:
    return mocks(SseServer())


@pytest.fixture(params=[Legacy, Modern])
def era(request: pytest.FixtureRequest) -> Any:
    return request.param


def mount(server: SseServer, **more: Any) -> dict[str, Any]:
    return {"upstreams": {"up": {"url": server.url, "transport": "sse"} | more}}


def check(client: Any) -> None:
    assert "up_echo" in [t["name"] for t in client.all("tools")]
    assert client.call("up_echo", {"a": "é\n"}).text == json.dumps({"a": "é\n"})
    assert client.call("up_rpc_error").code == 1234
    told = client.call("up_progress", token="t").sent("notifications/progress")
    assert [(p["progressToken"], p["progress"]) for p in told] == [("t", n) for n in (1, 2, 3)]
    read = client.request("resources/read", {"uri": "demo://one/a"}).result["contents"]
    assert read[0]["text"] == "demo://one/a of mock"
    got = client.request("prompts/get", {"name": "up_greet"}).result
    assert got["messages"][0]["content"]["text"].startswith("greet of mock")


@pytest.mark.parametrize("threads", [1, 4])
def test_everything_over_a_stream(
    start_gateway: Start, server: SseServer, clients: Clients, era: Any, threads: int
) -> None:
    gateway = start_gateway(mount(server) | {"threads": threads})
    for _ in range(threads):
        check(clients(era(gateway.url)))
    assert gateway.upstream("up")["transport"] == "sse"


@pytest.mark.parametrize("pin", ["auto", "legacy"])
@pytest.mark.parametrize("threads", [1, 4])
def test_found_out_when_a_post_is_refused(
    start_gateway: Start, server: SseServer, clients: Clients, era: Any, pin: str, threads: int
) -> None:
    config = {"upstreams": {"up": {"url": server.url, "era": pin}}, "threads": threads}
    gateway = start_gateway(config)
    for _ in range(threads):
        check(clients(era(gateway.url)))
    assert gateway.upstream("up")["transport"] == "sse"


def test_a_server_that_learns_streamable_http(
    start_gateway: Start, server: SseServer, clients: Clients, mocks: Mocks
) -> None:
    gateway = start_gateway({"upstreams": {"up": {"url": server.url}}})
    poll(lambda: gateway.upstream("up")["transport"] == "sse")
    server.stop()
    modern = ModernServer()
    modern.port = server.port

    async def at_its_path(request: Any, conn: Any) -> bool:
        request.target = request.target.replace("/sse", "/mcp")
        return False

    modern.script = at_its_path
    mocks(modern)
    poll(lambda: gateway.upstream("up")["era"] == "modern")
    client = clients(Modern(gateway.url))
    poll(lambda: "result" in client.call("up_echo").message)


def test_a_legacy_server_that_learns_the_modern_era(
    start_gateway: Start, clients: Clients, mocks: Mocks
) -> None:
    """It would still shake hands for those who do not ask."""
    server, learnt = mocks(LegacyServer()), ModernServer()
    taught = threading.Event()

    async def modern_too(request: Any, conn: Any) -> bool:
        if not taught.is_set() or request.header("mcp-method") is None:
            return False
        request.target = "/mcp"
        await learnt.respond(request, conn)
        return True

    server.script = modern_too
    mount = {"url": server.url, "eraRecheck": "1s"}
    gateway = start_gateway({"upstreams": {"up": mount}})
    poll(lambda: gateway.upstream("up")["era"] == "legacy")
    taught.set()
    poll(lambda: gateway.upstream("up")["era"] == "modern")
    client = clients(Modern(gateway.url))
    poll(lambda: learnt.service.calls() or client.call("up_echo").message and None)
    assert not learnt.violations


@pytest.mark.parametrize(
    "endpoint", ["messages?sessionId={id}", "http://127.0.0.1:{port}/messages?sessionId={id}"]
)
def test_endpoints_are_resolved(
    start_gateway: Start, server: SseServer, clients: Clients, endpoint: str
) -> None:
    server.endpoint = endpoint
    client = clients(Modern(start_gateway(mount(server)).url))
    assert client.call("up_echo").text == "{}"


@pytest.mark.parametrize(
    "endpoint",
    ["http://localhost:{port}/messages?sessionId={id}", "//127.0.0.1:1/m", "https://127.0.0.1/m"],
)
def test_endpoints_of_other_origins_are_refused(
    start_gateway: Start, server: SseServer, endpoint: str
) -> None:
    server.endpoint = endpoint
    gateway = start_gateway(mount(server))
    gateway.wait_log("not of its own origin")
    assert gateway.upstream("up")["state"] == "down"
    assert not [r for r in server.requests if r.method == "POST"]


def test_a_stream_that_breaks_fails_its_calls_and_is_opened_again(
    start_gateway: Start, server: SseServer, clients: Clients, era: Any
) -> None:
    gate = Gate()

    async def held(ctx: Any, arguments: Any) -> Any:
        await gate.wait()
        return text("never")

    server.service.tool("held", held)
    client = clients(era(start_gateway(mount(server)).url))
    pending = client.open("tools/call", {"name": "up_held", "arguments": {}})
    assert gate.entered.wait(20)
    server.cut()
    reply = pending.finish()
    assert reply.code == -32603
    assert reply.error["data"]["reason"] == "upstream_unavailable"
    gate.open()
    poll(lambda: "result" in client.call("up_echo").message)


def test_every_legacy_client_has_its_own_stream(
    start_gateway: Start, server: SseServer, clients: Clients
) -> None:
    gateway = start_gateway(mount(server))
    one, two = clients(Legacy(gateway.url)), clients(Legacy(gateway.url))
    for client in (one, two):
        assert client.call("up_echo").text == "{}"
    poll(lambda: len(server.streams) == 3, why="two clients and the watch")
    assert one.delete().status == 200
    poll(lambda: len(server.streams) == 2)
    assert two.call("up_echo").text == "{}"


def test_one_stream_for_all_when_shared(
    start_gateway: Start, server: SseServer, clients: Clients
) -> None:
    gateway = start_gateway(mount(server, session="shared") | {"threads": 4})
    for client in (Legacy(gateway.url), Modern(gateway.url), Legacy(gateway.url)):
        assert clients(client).call("up_echo").text == "{}"
    assert len(server.streams) == 1


def test_questions_and_changes_come_on_the_stream(
    start_gateway: Start, server: SseServer, clients: Clients
) -> None:
    gateway = start_gateway(mount(server))
    asked: list[str] = []

    def answer(method: str, params: dict[str, Any]) -> Any:
        asked.append(method)
        return {"action": "accept", "content": {"which": "x"}}

    client = clients(Legacy(gateway.url, caps={"elicitation": {}}, answer=answer))
    told = json.loads(client.call("up_ask", {"kinds": ["elicitation"]}).text)
    assert told == [{"action": "accept", "content": {"which": "x"}}] and asked
    stream = client.listen()
    assert client.request("resources/subscribe", {"uri": "demo://one/a"}).result == {}
    server.notify("notifications/resources/updated", uri="demo://one/a")
    assert stream.until("notifications/resources/updated")["params"]["uri"] == "demo://one/a"
    server.service.tool("fresh")
    server.notify("notifications/tools/list_changed")
    stream.until("notifications/tools/list_changed")
    assert "up_fresh" in [t["name"] for t in client.all("tools")]


def test_cancelling_reaches_the_server(
    start_gateway: Start, server: SseServer, clients: Clients
) -> None:
    entered, cancelled = threading.Event(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        entered.set()
        await ctx.cancelled.wait()
        cancelled.set()
        await asyncio.sleep(3600)

    server.service.tool("held", held)
    client = clients(Modern(start_gateway(mount(server)).url))
    pending = client.open("tools/call", {"name": "up_held", "arguments": {}})
    assert entered.wait(20)
    pending.close()
    assert cancelled.wait(20)
    assert client.call("up_echo").text == "{}"


def test_a_refused_post_is_the_error_of_its_call_alone(
    start_gateway: Start, server: SseServer, clients: Clients
) -> None:
    client = clients(Modern(start_gateway(mount(server)).url))
    server.refuse["tools/call"] = 400
    assert client.call("up_echo").code == -32603
    server.refuse.clear()
    opened = len([r for r in server.requests if r.target == "/sse"])
    assert client.call("up_echo").text == "{}"
    assert len([r for r in server.requests if r.target == "/sse"]) == opened


def test_a_stream_that_the_server_forgot_is_opened_again(
    start_gateway: Start, server: SseServer, clients: Clients
) -> None:
    client = clients(Modern(start_gateway(mount(server)).url))
    assert client.call("up_echo").text == "{}"
    server.refuse["tools/call"] = 404
    assert client.call("up_echo").code == -32603
    server.refuse.clear()
    poll(lambda: "result" in client.call("up_echo").message)


def test_credentials_go_with_every_request(
    start_gateway: Start, server: SseServer, clients: Clients
) -> None:
    server.token = "s3cret"
    config = mount(server, auth={"type": "bearer", "tokenEnv": "UP_TOKEN"})
    gateway = start_gateway(config, env={"UP_TOKEN": "s3cret"})
    assert clients(Modern(gateway.url)).call("up_echo").text == "{}"


def test_without_credentials_it_needs_them(start_gateway: Start, server: SseServer) -> None:
    server.token = "s3cret"
    gateway = start_gateway({"upstreams": {"up": {"url": server.url, "transport": "sse"}}})
    poll(lambda: gateway.upstream("up")["state"] == "needs_auth")
