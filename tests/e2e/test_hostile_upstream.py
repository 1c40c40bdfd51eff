"""Upstreams that break the rules: a clean error for the call it happened to, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import Client, Legacy, Modern
from mockhttp import Connection, HttpMock, Request
from mocks import LegacyServer, ModernServer
from wire import dump

Clients = Callable[[Client], Any]
Mocks = Callable[[HttpMock], Any]
Act = Callable[[Request, Connection], Any]
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)

HTML = b"Content-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>"


def body_of(request: Request, **changes: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": request.json()["id"], "result": {"content": []}}
    return dump({k: v for k, v in (message | changes).items() if v is not ...})


def sized(body: bytes) -> bytes:
    return JSON_HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def raw(data: bytes) -> Act:
    async def act(request: Request, conn: Connection) -> None:
        await conn.raw(data)
        conn.close()

    return act


def changed(**changes: Any) -> Act:
    """A well-formed answer with other members."""

    async def act(request: Request, conn: Connection) -> None:
        await conn.raw(sized(body_of(request, **changes)))

    return act


def events(*pieces: bytes, end: bool = True) -> Act:
    """A stream of these bytes."""

    async def act(request: Request, conn: Connection) -> None:
        await conn.raw(SSE_HEAD)
        for piece in pieces:
            await conn.chunk(piece)
        if end:
            await conn.end()
        else:
            conn.close()

    return act


async def reset(request: Request, conn: Connection) -> None:
    conn.abort()


async def reset_in_the_body(request: Request, conn: Connection) -> None:
    await conn.raw(JSON_HEAD + b"Content-Length: 1000\r\n\r\n{")
    conn.abort()


async def close_before_the_answer(request: Request, conn: Connection) -> None:
    conn.close()


async def both_lengths(request: Request, conn: Connection) -> None:
    body = body_of(request)
    head = b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(body)
    await conn.raw(JSON_HEAD + head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")


async def two_lengths(request: Request, conn: Connection) -> None:
    body = body_of(request)
    head = b"Content-Length: %d\r\nContent-Length: 5\r\n\r\n" % len(body)
    await conn.raw(JSON_HEAD + head + body)


async def huge_json(request: Request, conn: Connection) -> None:
    """More than one message may have, said at once by the length."""
    await conn.raw(JSON_HEAD + b"Content-Length: 99999999999\r\n\r\n{")
    await request.gone.wait()


async def endless_body(request: Request, conn: Connection) -> None:
    await conn.raw(JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        await conn.chunk(b" " * 65536)


async def endless_event(request: Request, conn: Connection) -> None:
    await conn.raw(SSE_HEAD)
    await conn.chunk(b"data: ")
    while True:
        await conn.chunk(b"x" * 65536)


async def endless_head(request: Request, conn: Connection) -> None:
    await conn.raw(b"HTTP/1.1 200 OK\r\n")
    while True:
        await conn.raw(b"X-A: " + b"a" * 4000 + b"\r\n")


async def silence(request: Request, conn: Connection) -> None:
    await request.gone.wait()


async def half_a_body_and_silence(request: Request, conn: Connection) -> None:
    await conn.raw(JSON_HEAD + b"Content-Length: 100\r\n\r\n{")
    await request.gone.wait()


async def slow_head(request: Request, conn: Connection) -> None:
    """A byte now and then never makes an answer."""
    for byte in JSON_HEAD * 1000:
        await conn.raw(bytes([byte]))
        await asyncio.sleep(0.2)


async def second_answer(request: Request, conn: Connection) -> None:
    """What follows an answer on its connection is nobody's answer."""
    body = body_of(request, result=...)
    await conn.raw(sized(body) + sized(body_of(request, id=1)))


DEEP = b"[" * 100_000 + b"]" * 100_000
MISBEHAVIOURS: dict[str, Act] = {
    "not HTTP": raw(b"nonsense\r\n\r\n"),
    "nothing, then closed": close_before_the_answer,
    "reset": reset,
    "reset in the body": reset_in_the_body,
    "half a head": raw(b"HTTP/1.1 200 OK\r\nContent-Ty"),
    "half a body": raw(JSON_HEAD + b'Content-Length: 1000\r\n\r\n{"jsonrpc"'),
    "half a chunk": raw(JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\n10\r\n{"),
    "bad chunk size": raw(JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{"),
    "length and chunked": both_lengths,
    "two lengths": two_lengths,
    "HTML": raw(b"HTTP/1.1 200 OK\r\n" + HTML),
    "not JSON": raw(sized(b"not JSON")),
    "no body": raw(sized(b"")),
    "an array": raw(sized(b"[]")),
    "deep JSON": raw(sized(DEEP)),
    "bad UTF-8": raw(sized(b'{"jsonrpc":"2.0","id":1,"result":"\xff"}')),
    "another id": changed(id="not-asked"),
    "no id": changed(id=...),
    "null id": changed(id=None),
    "neither result nor error": changed(result=...),
    "result and error": changed(error={"code": 1, "message": "x"}),
    "error is a string": changed(result=..., error="x"),
    "error without a code": changed(result=..., error={"message": "x"}),
    "result is a number": changed(result=7),
    "no jsonrpc": changed(jsonrpc=...),
    "500": raw(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
    "502 with HTML": raw(
        b"HTTP/1.1 502 Bad\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx"
    ),
    "302": raw(b"HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    "202 to a request": raw(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"),
    "204 to a request": raw(b"HTTP/1.1 204 No\r\n\r\n"),
    "401": raw(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n"),
    "many 1xx": raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000),
    "101": raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "stream without an answer": events(b": nothing\n\n"),
    "stream cut short": events(b"data: {", end=False),
    "stream with garbage": events(b"data: not JSON\n\n"),
    "stream with another id": events(b'data: {"jsonrpc":"2.0","id":"other","result":{}}\n\n'),
    "said to be huge": huge_json,
    "endless body": endless_body,
    "endless event": endless_event,
    "endless head": endless_head,
    "answer and one more": second_answer,
    "silence": silence,
    "half a body and silence": half_a_body_and_silence,
    "slow head": slow_head,
}
SLOW = {"silence", "half a body and silence", "slow head"}
CONFIG = {"timeouts": {"firstByte": "1s", "idle": "1s", "max": "3s"}}


@pytest.fixture(params=[ModernServer, LegacyServer], ids=["modern", "legacy"])
def hostile(request: pytest.FixtureRequest, start_gateway: Any, mocks: Mocks) -> Any:
    """Two upstreams; "bad" misbehaves on tools/call of "echo" only, as told by .act."""
    bad, good = mocks(request.param()), mocks(ModernServer())
    bad.lenient, bad.act = True, None

    async def script(asked: Request, conn: Connection) -> bool:
        if not (bad.act and b'"tools/call"' in asked.body and b'"echo"' in asked.body):
            return False
        await bad.act(asked, conn)
        return True

    bad.script = script
    mounts = {"bad": {"url": bad.url} | CONFIG, "good": {"url": good.url}}
    bad.gateway = start_gateway({"upstreams": mounts, "maxMessageBytes": 1024 * 1024})
    return bad


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_misbehaviour_is_an_error_of_that_call_only(
    hostile: Any, clients: Clients, name: str
) -> None:
    client = clients(Modern(hostile.gateway.url))
    assert "bad_echo" in [t["name"] for t in client.all("tools")]
    hostile.act = MISBEHAVIOURS[name]
    asked = client.open("tools/call", {"name": "bad_echo", "arguments": {}}, id_="mine")
    assert client.call("good_echo").text == "{}", "another upstream is not concerned"
    reply = asked.finish()
    assert reply.status == 200 and reply.message["id"] == "mine"
    assert reply.code == -32603 and reply.error["message"]
    if name in SLOW:
        assert reply.error["data"]["reason"] == "timeout"
    assert len(hostile.posts("tools/call")) == 1, "tools/call is not sent twice"
    hostile.act = None
    assert client.call("bad_structured", {"after": name}).result, "the next call works"
    assert client.call("bad_echo", {"a": 1}).text == '{"a": 1}'


def test_a_legacy_client_gets_the_same_error(hostile: Any, clients: Clients) -> None:
    client = clients(Legacy(hostile.gateway.url))
    client.call("bad_echo")
    for name in ("reset", "not JSON", "another id", "silence"):
        hostile.act = MISBEHAVIOURS[name]
        reply = client.call("bad_echo")
        assert reply.status == 200 and reply.code == -32603, name
    hostile.act = None
    assert client.call("bad_echo").text == "{}"


def test_reads_are_tried_again_once(hostile: Any, clients: Clients) -> None:
    """A read is safe to repeat; the connection was lost before any answer."""
    failed: list[Request] = []

    async def script(asked: Request, conn: Connection) -> bool:
        if b'"resources/read"' not in asked.body or failed:
            return False
        failed.append(asked)
        conn.abort()
        return True

    hostile.script = script
    client = clients(Modern(hostile.gateway.url))
    read = client.request("resources/read", {"uri": "demo://one/a"})
    assert read.result["contents"] and failed


@pytest.mark.parametrize("listing", ["garbage", "not an array", "entries of all kinds", "huge"])
def test_bad_lists_spoil_only_their_own_mount(
    start_gateway: Any, mocks: Mocks, clients: Clients, listing: str
) -> None:
    bad, good = mocks(ModernServer()), mocks(ModernServer())
    bad.lenient = True
    answers: dict[str, Any] = {
        "garbage": b"garbage",
        "not an array": {"tools": {"name": "x"}},
        "entries of all kinds": {"tools": [1, None, "x", {}, {"name": 7}, {"name": "ok"}]},
        "huge": {"tools": [{"name": "x", "description": "x" * 3_000_000}]},
    }

    async def script(asked: Request, conn: Connection) -> bool:
        if b'"tools/list"' not in asked.body:
            return False
        answer = answers[listing]
        whole = answer if isinstance(answer, bytes) else body_of(asked, result=answer)
        await conn.raw(sized(whole))
        return True

    bad.script = script
    mounts = {"bad": {"url": bad.url}, "good": {"url": good.url}}
    gateway = start_gateway({"upstreams": mounts, "maxMessageBytes": 1024 * 1024})
    client = clients(Modern(gateway.url))
    listed = [t["name"] for t in client.all("tools")]
    assert [n for n in listed if n.startswith("good_")][0] == "good_echo"
    assert [n for n in listed if n.startswith("bad_")] in ([], ["bad_ok"])
    assert client.call("good_echo").text == "{}"


def test_requests_that_nobody_may_make(start_gateway: Any, mocks: Mocks, clients: Clients) -> None:
    """A modern server sends a request: it is no answer, and reaches nobody."""
    up = mocks(ModernServer())

    async def script(asked: Request, conn: Connection) -> bool:
        if b'"tools/call"' not in asked.body:
            return False
        await conn.stream()
        await conn.event({"jsonrpc": "2.0", "id": 0, "method": "roots/list"})
        await conn.event({"jsonrpc": "2.0", "id": asked.json()["id"], "result": {"content": []}})
        await conn.end()
        return True

    up.script = script
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    for client in (clients(Modern(gateway.url)), clients(Legacy(gateway.url, caps={"roots": {}}))):
        reply = client.call("up_echo")
        assert not reply.requests and "result" in reply.message


def test_progress_of_others_is_dropped(start_gateway: Any, mocks: Mocks, clients: Clients) -> None:
    up = mocks(ModernServer())

    async def forge(ctx: Any, arguments: Any) -> Any:
        for token in ("mine", "other", 0, None, [1]):
            params = {"progressToken": token, "progress": 1}
            await ctx.notify("notifications/progress", params)
        await ctx.progress(5)
        return {"content": [{"type": "text", "text": json.dumps("ok")}]}

    up.service.tool("forge", forge)
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    reply = clients(Modern(gateway.url)).call("up_forge", token="mine")
    told = reply.sent("notifications/progress")
    assert [(p["progressToken"], p["progress"]) for p in told] == [("mine", 5)]
