"""Clients of the older HTTP+SSE transport: a stream, and POSTs to the place that it names."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from mocks import LegacyServer, ModernServer
from wire import Conn, Response, Stream, address_of, dump, http, poll, request_bytes

Start = Callable[..., Any]
Mocks = Callable[..., Any]
JSONRPC = {"jsonrpc": "2.0"}


class SseClient:
    def __init__(self, base: str, path: str = "/sse", **headers: str) -> None:
        self.base, self.headers = base, headers
        self.conn = Conn(address_of(base))
        accept = {"Accept": "text/event-stream"} | headers
        host = base.removeprefix("http://")
        self.conn.send(request_bytes("GET", path, host, accept))
        self.response = self.conn.head()
        self.ids, self.kept = itertools.count(1), list[Any]()
        if self.response.status != 200:
            return
        self.stream = Stream(self.conn, self.response)
        event = self.stream.next()
        assert event and event.name == "endpoint", event
        self.reference = event.data.decode()
        self.endpoint = urljoin(base + path, self.reference)

    def post(self, message: Any, **headers: str) -> Response:
        body = message if isinstance(message, bytes) else dump(message)
        given = {"Content-Type": "application/json"} | self.headers | headers
        return http(self.endpoint, "POST", given, body)

    def send(self, message: Any) -> None:
        got = self.post(message)
        assert (got.status, got.body) == (202, b"Accepted"), got

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        while event := self.stream.next():
            assert event.name == "message" and event.id is None, event
            if wanted(event.json()):
                return event.json()
            self.kept.append(event.json())
        raise AssertionError("the stream ended")

    def answer(self, id_: Any) -> Any:
        return self.until(lambda m: m.get("id") == id_ and "method" not in m)

    def told(self, method: str) -> Any:
        return self.until(lambda m: m.get("method") == method)

    def start(self, method: str, params: Any = None) -> int:
        id_ = next(self.ids)
        self.send(JSONRPC | {"id": id_, "method": method, "params": params or {}})
        return id_

    def ask(self, method: str, params: Any = None) -> Any:
        return self.answer(self.start(method, params))

    def call(self, tool: str, arguments: Any = None, **meta: Any) -> Any:
        params = {"name": tool, "arguments": arguments or {}}
        return self.ask("tools/call", params | ({"_meta": meta} if meta else {}))

    def initialize(self, version: str = "2024-11-05", caps: Any = None) -> Any:
        info = {"name": "sse-test", "version": "1"}
        params = {"protocolVersion": version, "capabilities": caps or {}, "clientInfo": info}
        result = self.ask("initialize", params)["result"]
        self.send(JSONRPC | {"method": "notifications/initialized"})
        return result

    def close(self) -> None:
        self.conn.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., SseClient]]:
    made: list[SseClient] = []

    def start(gateway: Any, *args: Any, **headers: str) -> SseClient:
        made.append(SseClient(gateway.base, *args, **headers))
        return made[-1]

    yield start
    for client in made:
        client.close()


@pytest.fixture(params=[LegacyServer, ModernServer])
def server(request: pytest.FixtureRequest, mocks: Mocks) -> Any:
    return mocks(request.param())


def mount(server: Any, **more: Any) -> dict[str, Any]:
    return {"upstreams": {"up": {"url": server.url}}} | more


def text(answer: Any) -> str:
    assert "result" in answer, answer
    return answer["result"]["content"][0]["text"]


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_everything_in_every_legacy_revision(
    start_gateway: Start, connect: Callable[..., SseClient], server: Any, version: str
) -> None:
    client = connect(start_gateway(mount(server)))
    assert client.reference.startswith("/messages?sessionId=")
    assert client.initialize(version)["protocolVersion"] == version
    assert "up_echo" in [t["name"] for t in client.ask("tools/list")["result"]["tools"]]
    assert text(client.call("up_echo", {"a": "é\n"})) == json.dumps({"a": "é\n"})
    assert text(client.call("up_progress", progressToken="t")) == "done"
    told = [m["params"] for m in client.kept if m.get("method") == "notifications/progress"]
    assert [(p["progressToken"], p["progress"]) for p in told] == [("t", n) for n in (1, 2, 3)]
    assert client.ask("ping")["result"] == {}
    assert client.ask("no/such")["error"]["code"] == -32601


@pytest.mark.parametrize("threads", [1, 4])
def test_posts_reach_their_stream_from_every_connection(
    start_gateway: Start, connect: Callable[..., SseClient], server: Any, threads: int
) -> None:
    gateway = start_gateway(mount(server, threads=threads))
    clients = [connect(gateway) for _ in range(6)]
    for client in clients:
        client.initialize()
    for round_ in range(5):
        ids = [
            c.start("tools/call", {"name": "up_echo", "arguments": {"n": n}})
            for n, c in enumerate(clients)
        ]
        for n, client in enumerate(clients):
            assert text(client.answer(ids[n])) == json.dumps({"n": n}), round_


def test_a_client_that_tries_a_post_first_falls_back(start_gateway: Start, server: Any) -> None:
    gateway = start_gateway(mount(server))
    body = dump(JSONRPC | {"id": 1, "method": "initialize", "params": {}})
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    assert http(gateway.base + "/sse", "POST", headers, body).status == 405


@pytest.mark.parametrize(
    "query", ["", "?sessionId=", "?sessionId=forged", "?session_id=x", "?x&sessionId=AAAA&"]
)
def test_posts_without_a_stream_find_nobody(start_gateway: Start, server: Any, query: str) -> None:
    gateway = start_gateway(mount(server))
    body = dump(JSONRPC | {"id": 1, "method": "ping"})
    headers = {"Content-Type": "application/json"}
    assert http(gateway.base + "/messages" + query, "POST", headers, body).status == 404


def test_posts_that_are_no_message(
    start_gateway: Start, connect: Callable[..., SseClient], server: Any
) -> None:
    client = connect(start_gateway(mount(server)))
    assert client.post(b"nonsense").status == 400
    assert client.post(b"{}", **{"Content-Type": "text/plain"}).status == 415
    assert http(client.endpoint).status == 405
    client.send({})
    assert client.answer(None)["error"]["code"] == -32600
    assert client.ask("tools/list")["error"]["code"] == -32600
    client.initialize()
    assert text(client.call("up_echo")) == "{}"


def test_the_end_of_the_stream_is_the_end_of_the_session(
    start_gateway: Start, connect: Callable[..., SseClient], server: Any
) -> None:
    gateway = start_gateway(mount(server))
    entered, cancelled = threading.Event(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        entered.set()
        await ctx.cancelled.wait()
        cancelled.set()
        return {"content": []}

    server.service.tool("held", held)
    client = connect(gateway)
    client.initialize()
    sessions = gateway.metric("mcp_sessions_active")
    client.start("tools/call", {"name": "up_held", "arguments": {}})
    assert entered.wait(20)
    client.close()
    assert cancelled.wait(20), "what runs is cancelled"
    poll(lambda: gateway.metric("mcp_sessions_active") == sessions - 1)
    assert client.post(JSONRPC | {"id": 9, "method": "ping"}).status == 404


def test_cancelling(start_gateway: Start, connect: Callable[..., SseClient], server: Any) -> None:
    entered, cancelled = threading.Event(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        entered.set()
        await ctx.cancelled.wait()
        cancelled.set()
        return {"content": []}

    server.service.tool("held", held)
    client = connect(start_gateway(mount(server)))
    client.initialize()
    id_ = client.start("tools/call", {"name": "up_held", "arguments": {}})
    assert entered.wait(20)
    client.send(JSONRPC | {"method": "notifications/cancelled", "params": {"requestId": id_}})
    assert cancelled.wait(20)
    assert text(client.call("up_echo")) == "{}"
    assert not [m for m in client.kept if m.get("id") == id_]


def test_questions_and_changes(
    start_gateway: Start, connect: Callable[..., SseClient], mocks: Mocks
) -> None:
    server = mocks(LegacyServer())
    client = connect(start_gateway(mount(server)))
    client.initialize(caps={"elicitation": {}})
    id_ = client.start("tools/call", {"name": "up_ask", "arguments": {"kinds": ["elicitation"]}})
    asked = client.told("elicitation/create")
    result = {"action": "accept", "content": {"which": "x"}}
    client.send(JSONRPC | {"id": asked["id"], "result": result})
    assert json.loads(text(client.answer(id_))) == [result]
    assert client.ask("resources/subscribe", {"uri": "demo://one/a"})["result"] == {}
    server.notify("notifications/resources/updated", uri="demo://one/a")
    assert client.told("notifications/resources/updated")["params"]["uri"] == "demo://one/a"
    server.service.tool("fresh")
    server.notify("notifications/tools/list_changed")
    client.told("notifications/tools/list_changed")


def test_a_drain_answers_what_runs_and_ends_the_streams(
    start_gateway: Start, connect: Callable[..., SseClient], server: Any
) -> None:
    gateway = start_gateway(mount(server))
    entered, go_on = threading.Event(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        entered.set()
        while not go_on.is_set():
            await asyncio.sleep(0.005)
        return {"content": [{"type": "text", "text": "late"}]}

    server.service.tool("held", held)
    idle, busy = connect(gateway), connect(gateway)
    for client in (idle, busy):
        client.initialize()
    id_ = busy.start("tools/call", {"name": "up_held", "arguments": {}})
    assert entered.wait(20)
    gateway.signal(signal.SIGTERM)
    assert idle.stream.next() is None
    go_on.set()
    assert text(busy.answer(id_)) == "late"
    assert busy.stream.next() is None
    assert gateway.wait() == 0


def test_hosts_and_origins_are_checked_as_everywhere(start_gateway: Start, server: Any) -> None:
    gateway = start_gateway(mount(server))
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        for method, path in (("GET", "/sse"), ("POST", "/messages?sessionId=x")):
            accept = {"Accept": "text/event-stream", "Content-Type": "application/json"}
            conn = Conn(address_of(gateway.base))
            host = headers.get("Host", gateway.address)
            fields = accept | {n: v for n, v in headers.items() if n != "Host"}
            conn.send(request_bytes(method, path, host, fields))
            assert conn.head().status == 403
            conn.close()


def test_its_paths_can_be_chosen(
    start_gateway: Start, connect: Callable[..., SseClient], server: Any
) -> None:
    gateway = start_gateway(mount(server, ssePath="/old/events", messagesPath="/old/in"))
    client = connect(gateway, "/old/events")
    assert client.reference.startswith("/old/in?sessionId=")
    client.initialize()
    assert text(client.call("up_echo")) == "{}"
    assert gateway.get("/sse", Accept="text/event-stream").status == 404


def test_they_lie_beside_the_endpoint(
    start_gateway: Start, connect: Callable[..., SseClient], server: Any
) -> None:
    client = connect(start_gateway(mount(server, path="/acme/mcp")), "/acme/sse")
    assert client.reference.startswith("/acme/messages?sessionId=")
    client.initialize()


def test_it_can_be_switched_off(start_gateway: Start, server: Any) -> None:
    gateway = start_gateway(mount(server, sse=False))
    assert gateway.get("/sse", Accept="text/event-stream").status == 404
    assert http(gateway.base + "/messages?sessionId=x", "POST").status == 404


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_get_must_take_events(start_gateway: Start, server: Any, accept: str) -> None:
    assert start_gateway(mount(server)).get("/sse", Accept=accept).status == 406
