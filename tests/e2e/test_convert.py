"""What changes its form between eras and revisions, and what sloppy servers say."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import Legacy, Modern
from mockcore import InputRequired, RpcError, Service, demo, text
from mockhttp import Connection, Request, mock_loop
from mocks import JSONRPC, LegacyServer, ModernServer
from wire import dump, poll

MakePair = Callable[..., Any]
AUDIO = base64.b64encode(b"12345").decode()
RICH = [
    {"type": "audio", "data": AUDIO, "mimeType": "audio/wav"},
    {"type": "resource_link", "uri": "demo://one/a", "name": "a"},
    {"type": "image", "data": AUDIO, "mimeType": "image/png"},
]
ALL = {"sampling": {}, "elicitation": {"form": {}, "url": {}}, "roots": {}}
ACCEPT = {"action": "accept", "content": {}}


def rich() -> Service:
    service = demo()

    async def blocks(ctx: Any, arguments: Any) -> Any:
        return {"content": RICH, "structuredContent": {"n": 1}}

    async def bare(ctx: Any, arguments: Any) -> Any:
        return {"content": [], "structuredContent": arguments["value"]}

    async def prompt(ctx: Any, params: Any) -> Any:
        return {"messages": [{"role": "user", "content": block} for block in RICH]}

    service.tool("blocks", blocks)
    service.tool("bare", bare)
    service.override["prompts/get"] = prompt
    return service


def blocks_for(version: str) -> list[Any]:
    link = {"type": "text", "text": "a: demo://one/a"}
    sound = {"type": "text", "text": "[audio audio/wav, 5 bytes]"}
    new_link = version >= "2025-06-18"
    return [
        RICH[0] if version >= "2025-03-26" else sound,
        RICH[1] if new_link else link,
        RICH[2],
    ]


@pytest.mark.parametrize("server", ["modern", "legacy"])
@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_blocks_that_a_revision_does_not_know(pair: MakePair, version: str, server: str) -> None:
    p = pair("legacy", server, service=rich())
    client = p.make(version=version)
    result = client.call("up_blocks").result
    wanted = blocks_for(version)
    if version < "2025-06-18" and not any(b["type"] == "text" for b in RICH):
        assert "structuredContent" not in result
        assert result["content"] == [{"type": "text", "text": '{"n":1}'}, *wanted]
    else:
        assert result["content"] == wanted and result["structuredContent"] == {"n": 1}
    got = client.request("prompts/get", {"name": "up_greet"}).result["messages"]
    assert [m["content"] for m in got] == wanted


def test_structured_content_becomes_text_where_it_cannot_stay(pair: MakePair) -> None:
    p = pair("legacy", "modern", service=rich())
    result = p.client.call("up_bare", {"value": [1, "x"]}).result
    assert result["content"] == [{"type": "text", "text": '[1,"x"]'}]
    assert "structuredContent" not in result
    result = p.client.call("up_bare", {"value": {"a": 1}}).result
    assert result["structuredContent"] == {"a": 1}


TITLED = {"type": "string", "oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]}
MULTI = {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_choices_as_the_revision_has_them(pair: MakePair, version: str) -> None:
    service = demo()

    async def choose(ctx: Any, arguments: Any) -> Any:
        if ctx.responses is not None:
            return text(json.dumps(ctx.responses["q"]))
        schema = {"type": "object", "properties": {"one": arguments["property"]}}
        params = {"message": "m", "requestedSchema": schema}
        return InputRequired({"q": {"method": "elicitation/create", "params": params}})

    service.tool("choose", choose)
    p = pair("legacy", "modern", service=service)
    client = p.make(version=version, caps={"elicitation": {}}, answer=lambda m, a: ACCEPT)
    reply = client.call("up_choose", {"property": TITLED})
    [question] = reply.requests
    got = question["params"]["requestedSchema"]["properties"]["one"]
    old = {"type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"]}
    assert got == (TITLED if version == "2025-11-25" else old)
    reply = client.call("up_choose", {"property": MULTI})
    if version == "2025-11-25":
        assert reply.requests and json.loads(reply.text) == ACCEPT
    else:
        assert not reply.requests and json.loads(reply.text) == {"action": "cancel"}


# URL elicitation by error

URLS = {"elicitations": [{"mode": "url", "url": "https://x.test/1", "elicitationId": "e1"}]}
URLS["elicitations"][0]["message"] = "Sign in"


def sign_in() -> Service:
    service = demo()
    tried: list[int] = []

    async def signed(ctx: Any, arguments: Any) -> Any:
        tried.append(1)
        if len(tried) < 2:
            raise RpcError(-32042, "Sign in first", URLS)
        return text("welcome")

    service.tool("signed", signed)
    return service


def test_a_url_error_becomes_a_round_without_a_parked_call(pair: MakePair) -> None:
    p = pair("modern", "legacy", service=sign_in())
    client = p.make(caps=ALL)
    reply = client.call("up_signed", {"x": 1})
    [(key, question)] = reply.asked.items()
    assert question["method"] == "elicitation/create"
    assert question["params"] == {"mode": "url", "url": "https://x.test/1", "message": "Sign in"}
    assert p.gateway.metric("mcp_parked_calls") == 0
    declined = client.retry("up_signed", {"x": 1}, reply, {key: {"action": "decline"}})
    assert declined.result["isError"] is True
    assert client.retry("up_signed", {"x": 1}, reply, {key: ACCEPT}).text == "welcome"
    assert client.retry("up_signed", {"x": 2}, reply, {key: ACCEPT}).code == -32602


def test_a_url_error_for_a_client_that_opens_none(pair: MakePair) -> None:
    p = pair("modern", "legacy", service=sign_in())
    reply = p.make(caps={"elicitation": {}}).call("up_signed")
    assert reply.status == 400 and reply.code == -32021
    assert reply.error["data"] == {"requiredCapabilities": {"elicitation": {"url": {}}}}


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_a_url_error_for_legacy_clients(pair: MakePair, version: str) -> None:
    p = pair("legacy", "legacy", service=sign_in())
    reply = p.make(version=version).call("up_signed")
    if version == "2025-11-25":
        assert reply.code == -32042 and reply.error["data"] == URLS
    else:
        assert reply.result["isError"] and "https://x.test/1" in reply.text


# Errors of the hop between gateway and server


@pytest.mark.parametrize("client", ["modern", "legacy"])
@pytest.mark.parametrize("code", [-32020, -32022])
def test_errors_about_our_own_request_stay_ours(pair: MakePair, client: str, code: int) -> None:
    service = demo()

    async def odd(ctx: Any, arguments: Any) -> Any:
        raise RpcError(code, "your header", {"supported": ["x"]})

    service.tool("odd", odd)
    reply = pair(client, "modern", service=service).client.call("up_odd")
    assert reply.code == -32603 and reply.error["data"] == {"reason": "bad_upstream"}


def test_a_missing_capability_that_is_there_is_not_the_clients(pair: MakePair) -> None:
    service = demo()

    async def odd(ctx: Any, arguments: Any) -> Any:
        raise RpcError(-32021, "no", {"requiredCapabilities": {"sampling": {}}})

    service.tool("odd", odd)
    p = pair("modern", "modern", service=service)
    lacking = p.client.call("up_odd")
    assert lacking.status == 400 and lacking.code == -32021
    having = p.make(caps=ALL).call("up_odd")
    assert having.status == 200 and having.code == -32603


# Logging and progress


def test_levels_are_lowered_for_who_asks_and_never_raised(pair: MakePair) -> None:
    p = pair("modern", "legacy")
    assert [m["level"] for m in p.client.call("up_logs", log="debug").sent(LOG)] == list(LEVELS)
    assert [m["level"] for m in p.client.call("up_logs", log="error").sent(LOG)] == ["error"]
    assert not p.client.call("up_logs").sent(LOG)
    assert p.upstream.service.calls("logging/setLevel") == [{"level": "debug"}]


LOG = "notifications/message"
LEVELS = ("debug", "info", "error")


@pytest.mark.parametrize("client", ["modern", "legacy"])
def test_several_servers_sign_their_messages(
    start_gateway: Any, mocks: Any, clients: Any, client: str
) -> None:
    service = demo()

    async def odd(ctx: Any, arguments: Any) -> Any:
        await ctx.notify(LOG, {"level": "error", "logger": "db", "data": 1})
        await ctx.notify(LOG, {"level": "error"})
        return text("logged")

    service.tool("odd", odd)
    one, two = mocks(ModernServer(service)), mocks(LegacyServer(service))
    config = {"upstreams": {"one": {"url": one.url}, "two": {"url": two.url}}}
    url = start_gateway(config).url
    caller = clients(Modern(url) if client == "modern" else Legacy(url))
    more = {"log": "debug"} if client == "modern" else {}
    for name in ("one", "two"):
        told = caller.call(f"{name}_odd", **more).sent(LOG)
        assert [m["logger"] for m in told] == [f"{name}/db", name]
        assert [m["data"] for m in told] == [1, ""], "data is not optional"


@pytest.mark.parametrize("server", ["modern", "legacy"])
@pytest.mark.parametrize("client", ["modern", "legacy"])
def test_progress_only_rises(pair: MakePair, client: str, server: str) -> None:
    service = demo()

    async def up_and_down(ctx: Any, arguments: Any) -> Any:
        for value in (1, 1, 3, 2, 2.5, 4):
            await ctx.progress(value)
        return text("done")

    service.tool("up_and_down", up_and_down)
    told = pair(client, server, service=service).client.call("up_up_and_down", token="t")
    assert [p["progress"] for p in told.sent("notifications/progress")] == [1, 3, 4]


# Sloppy servers


class Sloppy(ModernServer):
    """Leaves out what it must say, and says it in other words."""

    def shape(self, method: str, result: Any) -> Any:
        out = super().shape(method, result)
        if isinstance(out, dict) and out.get("resultType") == "complete":
            del out["resultType"]
        return out

    async def _listen(self, id_: Any, params: Any, request: Request, conn: Connection) -> None:
        """JSON lines instead of an event stream, and ids as strings."""
        await conn.raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        self.lines.append((conn, id_))
        await self._line(conn, "notifications/subscriptions/acknowledged", id_, params)
        await request.gone.wait()

    async def _line(self, conn: Connection, method: str, id_: Any, params: Any) -> None:
        meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": str(id_)}}
        line = dump(JSONRPC | {"method": method, "params": params | meta}) + b"\n"
        await conn.raw(b"%x\r\n%s\r\n" % (len(line), line))

    def __init__(self, service: Service | None = None) -> None:
        super().__init__(service)
        self.lines: list[tuple[Connection, Any]] = []


@pytest.mark.parametrize("client", ["modern", "legacy"])
def test_results_without_a_type_are_complete(
    start_gateway: Any, mocks: Any, clients: Any, client: str
) -> None:
    up = mocks(Sloppy())
    up.sse = True
    url = start_gateway({"upstreams": {"up": {"url": up.url}}}).url
    caller = clients(Modern(url) if client == "modern" else Legacy(url))
    result = caller.call("up_echo").result
    assert result.get("resultType") == ("complete" if client == "modern" else None)


def test_changes_told_as_lines_are_heard(start_gateway: Any, mocks: Any, clients: Any) -> None:
    up = mocks(Sloppy())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    client = clients(Modern(gateway.url))
    stream = client.listen({"toolsListChanged": True})
    stream.until("notifications/subscriptions/acknowledged")
    poll(lambda: up.lines)
    up.service.tool("fresh")
    conn, id_ = up.lines[-1]
    mock_loop().run(up._line(conn, "notifications/tools/list_changed", id_, {}))
    stream.until("notifications/tools/list_changed")
    assert "up_fresh" in [t["name"] for t in client.all("tools")]


def test_ids_that_come_back_as_strings(start_gateway: Any, mocks: Any, clients: Any) -> None:
    class Stringly(ModernServer):
        async def run(self, ctx: Any, id_: Any, request: Request, conn: Connection) -> None:
            await super().run(ctx, str(id_), request, conn)

    up = mocks(Stringly())
    client = clients(Modern(start_gateway({"upstreams": {"up": {"url": up.url}}}).url))
    reply = client.call("up_echo", {"a": 1}, id_=7)
    assert reply.message["id"] == 7 and reply.text == '{"a": 1}'


def test_progress_in_other_words(pair: MakePair) -> None:
    service = demo()

    async def odd(ctx: Any, arguments: Any) -> Any:
        for value in (10, 20):
            params = {"progressToken": "foreign", "value": value, "total": 20}
            await ctx.notify("notifications/progress", params)
        return text("done")

    service.tool("odd", odd)
    told = pair("modern", "modern", service=service).client.call("up_odd", token="mine")
    assert told.sent("notifications/progress") == [
        {"progressToken": "mine", "progress": n, "total": 20} for n in (10, 20)
    ]
