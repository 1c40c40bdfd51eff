"""Batches, which only revision 2025-03-26 has."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import LEGACY_VERSIONS, META, MODERN_VERSION, Client, Legacy, Modern
from mockcore import text
from mocks import LegacyServer, ModernServer
from test_stdio_client import StdioGateway, start_stdio  # noqa: F401
from wire import EventParser

Start = Callable[..., Any]
Mocks = Callable[..., Any]
Clients = Callable[[Client], Any]
VERSION = "2025-03-26"
JSONRPC = {"jsonrpc": "2.0"}


@pytest.fixture(params=[LegacyServer, ModernServer])
def server(request: pytest.FixtureRequest, mocks: Mocks) -> Any:
    return mocks(request.param())


@pytest.fixture
def client(start_gateway: Start, clients: Clients, server: Any) -> Legacy:
    gateway = start_gateway({"upstreams": {"up": {"url": server.url}}})
    return clients(Legacy(gateway.url, version=VERSION))


def call(id_: Any, tool: str = "up_echo", arguments: Any = None, **meta: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments or {}} | ({"_meta": meta} if meta else {})
    return JSONRPC | {"id": id_, "method": "tools/call", "params": params}


def post(client: Legacy, batch: Any, accept: str = "application/json") -> Any:
    """The response, with all messages that came in .body as a list."""
    pending = client.post(batch, {"Accept": accept})
    response = pending.conn.response()
    if response.is_sse:
        response.messages = [e.json() for e in EventParser().feed(response.body)]  # type: ignore[attr-defined]
    return response


def test_answers_come_as_one_array(client: Legacy) -> None:
    batch = [
        call(1, arguments={"n": 1}),
        JSONRPC | {"method": "notifications/initialized"},
        JSONRPC | {"id": "two", "method": "ping"},
        JSONRPC | {"id": 3, "method": "no/such"},
        17,
    ]
    response = post(client, batch)
    assert response.status == 200 and response.header("content-type") == "application/json"
    answers = {json.dumps(a["id"]): a for a in response.json()}
    assert len(response.json()) == 4
    assert answers["1"]["result"]["content"][0]["text"] == '{"n": 1}'
    assert answers['"two"']["result"] == {}
    assert answers["3"]["error"]["code"] == -32601
    assert answers["null"]["error"]["code"] == -32600


def test_answers_come_as_events_where_events_are_taken(client: Legacy) -> None:
    batch = [call(n, "up_progress", progressToken=f"t{n}") for n in (1, 2)]
    response = post(client, batch, "application/json, text/event-stream")
    messages = response.messages
    for n in (1, 2):
        told = [m["params"] for m in messages if m.get("method") == "notifications/progress"]
        mine = [p["progress"] for p in told if p["progressToken"] == f"t{n}"]
        assert mine == [1, 2, 3]
        assert sum(m.get("id") == n for m in messages) == 1


def test_parts_run_at_the_same_time(client: Legacy, server: Any) -> None:
    both = threading.Barrier(2)

    async def meet(ctx: Any, arguments: Any) -> Any:
        await asyncio.get_running_loop().run_in_executor(None, both.wait, 20)
        return text("met")

    server.service.tool("meet", meet)
    answers = post(client, [call(1, "up_meet"), call(2, "up_meet")]).json()
    assert [a["result"]["content"][0]["text"] for a in answers] == ["met", "met"]


def test_nothing_to_answer_is_202(client: Legacy) -> None:
    batch = [JSONRPC | {"method": "notifications/initialized"}] * 2
    batch += [JSONRPC | {"id": 99, "result": {}}]
    assert post(client, batch).status == 202


def test_a_cancel_in_the_batch_ends_a_part_of_it(client: Legacy, server: Any) -> None:
    async def held(ctx: Any, arguments: Any) -> Any:
        await ctx.cancelled.wait()
        return text("never")

    server.service.tool("held", held)
    cancel = {"method": "notifications/cancelled", "params": {"requestId": 1}}
    response = post(client, [call(1, "up_held"), call(2), JSONRPC | cancel])
    assert [a["id"] for a in response.json()] == [2]


@pytest.mark.parametrize(
    "batch",
    [
        [],
        [{"jsonrpc": "2.0", "id": n, "method": "ping"} for n in range(101)],
        [{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}],
        [
            {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "tools/list",
                "params": {"_meta": {f"{META}protocolVersion": MODERN_VERSION}},
            }
        ],
    ],
    ids=["empty", "long", "initialize", "modern"],
)
def test_batches_that_are_refused(client: Legacy, batch: Any) -> None:
    response = post(client, batch)
    assert response.status == 400 and response.json()["error"]["code"] == -32600


def test_a_batch_within_a_batch_is_no_message(client: Legacy) -> None:
    (answer,) = post(client, [[call(1)]]).json()
    assert answer["error"]["code"] == -32600


@pytest.mark.parametrize("version", [v for v in LEGACY_VERSIONS if v != VERSION])
def test_other_revisions_have_none(
    start_gateway: Start, clients: Clients, server: Any, version: str
) -> None:
    gateway = start_gateway({"upstreams": {"up": {"url": server.url}}})
    response = post(clients(Legacy(gateway.url, version=version)), [call(1)])
    assert response.status == 400 and response.json()["error"]["code"] == -32600


def test_without_a_session_there_is_none(start_gateway: Start, clients: Clients) -> None:
    client = clients(Legacy(start_gateway({}).url, connect=False))
    response = post(client, [call(1)])
    assert response.status == 400 and response.json()["error"]["code"] == -32600


def test_a_client_that_leaves_does_not_stop_its_parts(client: Legacy, server: Any) -> None:
    entered, go_on, done = threading.Event(), threading.Event(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        entered.set()
        while not go_on.is_set():
            await asyncio.sleep(0.005)
        done.set()
        return text("done")

    server.service.tool("held", held)
    pending = client.post([call(1, "up_held")], {"Accept": "application/json"})
    assert entered.wait(20)
    pending.close()
    assert post(client, [call(2)]).json()[0]["id"] == 2
    go_on.set()
    assert done.wait(20)


def test_on_a_pipe_the_answer_is_one_line(
    start_stdio: Callable[..., StdioGateway],  # noqa: F811
    server: Any,
) -> None:
    io = start_stdio({"upstreams": {"up": {"url": server.url}}})
    io.initialize(VERSION)
    io.send([call("a", arguments={"n": 1}), JSONRPC | {"id": "b", "method": "ping"}])
    answers = io.until(lambda m: isinstance(m, list))
    assert {a["id"] for a in answers} == {"a", "b"}
    io.send([])
    assert io.answer(None)["error"]["code"] == -32600


@pytest.mark.parametrize("sse", [False, True])
def test_servers_may_answer_with_arrays(
    start_gateway: Start, clients: Clients, mocks: Mocks, sse: bool
) -> None:
    server = mocks(LegacyServer())
    server.versions = (VERSION,)

    async def in_an_array(request: Any, conn: Any) -> bool:
        if request.method != "POST" or b'"tools/call"' not in request.body:
            return False
        asked = request.json()
        token = asked["params"].get("_meta", {}).get("progressToken")
        note = {
            "method": "notifications/progress",
            "params": {"progressToken": token, "progress": 1},
        }
        answer = JSONRPC | {"id": asked["id"], "result": text("of an array")}
        if not sse:
            await conn.json([JSONRPC | note, answer])
            return True
        await conn.stream()
        await conn.event([JSONRPC | note, answer])
        await conn.end()
        return True

    server.script = in_an_array
    gateway = start_gateway({"upstreams": {"up": {"url": server.url}}})
    for client in (Legacy(gateway.url, version=VERSION), Modern(gateway.url)):
        reply = clients(client).call("up_echo", token="t")
        assert reply.text == "of an array"
        assert reply.sent("notifications/progress")[0]["progressToken"] == "t"


def test_servers_of_other_revisions_may_not(
    start_gateway: Start, clients: Clients, mocks: Mocks
) -> None:
    server = mocks(LegacyServer())

    async def in_an_array(request: Any, conn: Any) -> bool:
        if request.method != "POST" or b'"tools/call"' not in request.body:
            return False
        await conn.json([JSONRPC | {"id": request.json()["id"], "result": text("x")}])
        return True

    server.script = in_an_array
    client = clients(Legacy(start_gateway({"upstreams": {"up": {"url": server.url}}}).url))
    assert client.call("up_echo").error["data"]["reason"] == "bad_upstream"
