"""MCP clients of both eras that show the tests every message as it came."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from wire import TIMEOUT, Conn, Raw, Response, Stream, address_of, dump, request_bytes, span

LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSION = "2026-07-28"
ACCEPT = "application/json, text/event-stream"
META = "io.modelcontextprotocol/"
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
Answer = Callable[[str, dict[str, Any]], Any]  # what a client says to a server's request


class Refused(Exception):
    """What an Answer raises to reply with a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Reply:
    """All that came back for one request."""

    response: Response
    raw: bytes = b""
    notifications: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def message(self) -> dict[str, Any]:
        assert self.raw, f"no answer: HTTP {self.status}, {self.response.body[:300]!r}"
        return json.loads(self.raw)

    @property
    def result(self) -> dict[str, Any]:
        assert "result" in self.message, self.message
        return self.message["result"]

    @property
    def error(self) -> dict[str, Any]:
        assert "error" in self.message, self.message
        return self.message["error"]

    @property
    def code(self) -> int:
        return self.error["code"]

    @property
    def text(self) -> str:
        """The first text block of a tool's result."""
        return next(c["text"] for c in self.result["content"] if c["type"] == "text")

    @property
    def asked(self) -> dict[str, Any]:
        """The questions of an answer that asks for input."""
        assert self.result["resultType"] == "input_required", self.result
        return self.result.get("inputRequests", {})

    def sent(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the notifications of that method."""
        return [n.get("params", {}) for n in self.notifications if n["method"] == method]

    def span(self, *path: str | int) -> bytes | None:
        return span(self.raw, *path)


class Pending:
    """A request that was written; its answer is read when the test wants it."""

    def __init__(self, client: Client, conn: Conn, id_: Any) -> None:
        self.client, self.conn, self.id = client, conn, id_
        self._stream: Stream | None = None

    def stream(self) -> Stream:
        """The answer's head is read; it must be an event stream."""
        if self._stream is None:
            response = self.conn.head()
            self._stream = Stream(self.conn, response)
        assert self._stream.response.is_sse, self._stream.response
        return self._stream

    def finish(self, answer: Answer | None = None) -> Reply:
        """Reads on until the answer is whole, replying to what the server asks meanwhile."""
        if self._stream is None:
            response = self.conn.head()
            if not response.is_sse:
                response.body = b"".join(self.conn.chunks(response))
                self.client.done(self.conn, response)
                return Reply(response, response.body)
            self._stream = Stream(self.conn, response)
        reply = Reply(self._stream.response)
        while event := self._stream.next():
            if event.data:
                self._take(reply, event.data, answer or self.client.answer)
        self.client.done(self.conn, reply.response)
        return reply

    def _take(self, reply: Reply, data: bytes, answer: Answer | None) -> None:
        message = json.loads(data)
        method = message.get("method")
        reply.order.append(method or "answer")
        if method is None:
            assert not reply.raw, f"a second answer: {data!r}"
            reply.raw = data
        elif "id" in message:
            reply.requests.append(message)
            self.client.reply_to(message, answer)
        else:
            assert not reply.raw, f"{method} after the answer"
            reply.notifications.append(message)

    def close(self) -> None:
        self.conn.close()


class Client:
    """What both eras share: requests over HTTP, each on a connection of its own unless keep."""

    def __init__(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        answer: Answer | None = None,
        *,
        keep: bool = False,
    ) -> None:
        self.url, self.headers, self.answer, self.keep = url, dict(headers or {}), answer, keep
        self._ids = itertools.count(1)
        self._idle: Conn | None = None
        self.opened: list[Conn] = []

    def new_id(self) -> int:
        return next(self._ids)

    def send(self, method: str, headers: dict[str, str], body: bytes, id_: Any = None) -> Pending:
        conn, self._idle = self._idle or Conn(address_of(self.url)), None
        self.opened.append(conn)
        parts = urlsplit(self.url)
        conn.send(request_bytes(method, parts.path, parts.netloc, self.headers | headers, body))
        return Pending(self, conn, id_)

    def done(self, conn: Conn, response: Response) -> None:
        if self.keep and response.header("connection") != "close":
            self._idle = conn
        else:
            conn.close()

    def reply_to(self, request: dict[str, Any], answer: Answer | None) -> None:
        raise AssertionError(f"the server asks: {request}")

    def close(self) -> None:
        for conn in self.opened:
            conn.close()


class Legacy(Client):
    """A client of the handshake era."""

    def __init__(
        self,
        url: str,
        version: str = "2025-11-25",
        caps: dict[str, Any] | None = None,
        answer: Answer | None = None,
        headers: dict[str, str] | None = None,
        *,
        keep: bool = False,
        connect: bool = True,
    ) -> None:
        super().__init__(url, headers, answer, keep=keep)
        self.version, self.caps = version, caps or {}
        self.session: str | None = None
        self.hello: dict[str, Any] = {}
        if connect:
            self.initialize()

    def initialize(self) -> Reply:
        params = {
            "protocolVersion": self.version,
            "capabilities": self.caps,
            "clientInfo": {"name": "e2e-legacy", "version": "1"},
        }
        reply = self.request("initialize", params)
        self.session = reply.response.header("mcp-session-id")
        self.hello = reply.result
        self.version = self.hello["protocolVersion"]
        assert self.notify("notifications/initialized").status == 202
        return reply

    def fields(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        out = {"Content-Type": "application/json", "Accept": ACCEPT}
        if self.session:
            out["Mcp-Session-Id"] = self.session
            if self.version not in LEGACY_VERSIONS[:2]:
                out["MCP-Protocol-Version"] = self.version
        return out | (extra or {})

    def post(self, message: Any, headers: dict[str, str] | None = None) -> Pending:
        body = message if isinstance(message, bytes) else dump(message)
        id_ = None if isinstance(message, bytes | list) else message.get("id")
        return self.send("POST", self.fields(headers), body, id_)

    def open(
        self,
        method: str,
        params: Any = None,
        *,
        token: Any = None,
        id_: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Pending:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": self.new_id() if id_ is None else id_}
        message["method"] = method
        if token is not None:
            params = dict(params or {}) | {"_meta": {"progressToken": token}}
        if params is not None:
            message["params"] = params
        return self.post(message, headers)

    def request(self, method: str, params: Any = None, **more: Any) -> Reply:
        answer = more.pop("answer", None)
        return self.open(method, params, **more).finish(answer)

    def call(self, tool: str, arguments: Any = None, **more: Any) -> Reply:
        return self.request("tools/call", {"name": tool, "arguments": arguments or {}}, **more)

    def notify(self, method: str, params: Any = None) -> Reply:
        message = {"jsonrpc": "2.0", "method": method}
        return self.post(message | ({"params": params} if params is not None else {})).finish()

    def reply_to(self, request: dict[str, Any], answer: Answer | None) -> None:
        assert answer, f"the server asks: {request}"
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            message["result"] = answer(request["method"], request.get("params", {}))
        except Refused as e:
            message["error"] = {"code": e.code, "message": str(e)}
        assert self.post(message).finish().status == 202

    def listen(self, headers: dict[str, str] | None = None) -> Stream:
        """The GET stream."""
        pending = self.send(
            "GET", self.fields({"Accept": "text/event-stream"} | (headers or {})), b""
        )
        return pending.stream()

    def delete(self) -> Response:
        return self.send("DELETE", self.fields(), b"").finish().response

    def all(self, what: str) -> list[dict[str, Any]]:
        """Every entry of a list, over all pages ("tools", "prompts", "resources", …)."""
        return _pages(self.request, what)


class Modern(Client):
    """A client of the per-request era."""

    def __init__(
        self,
        url: str,
        caps: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        *,
        keep: bool = False,
    ) -> None:
        super().__init__(url, headers, keep=keep)
        self.caps = caps or {}

    def meta(self, **more: Any) -> dict[str, Any]:
        return {
            f"{META}protocolVersion": MODERN_VERSION,
            f"{META}clientCapabilities": self.caps,
            f"{META}clientInfo": {"name": "e2e-modern", "version": "1"},
        } | more

    def fields(self, method: str, params: dict[str, Any]) -> dict[str, str]:
        out = {"Content-Type": "application/json", "Accept": ACCEPT}
        out |= {"MCP-Protocol-Version": MODERN_VERSION, "Mcp-Method": method}
        if method in NAMED and isinstance(params.get(NAMED[method]), str):
            out["Mcp-Name"] = header_value(params[NAMED[method]])
        return out

    def open(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        token: Any = None,
        log: str | None = None,
        id_: Any = None,
        headers: dict[str, str | None] | None = None,
    ) -> Pending:
        """headers: added, or left out when None."""
        params = dict(params or {})
        meta = self.meta()
        if token is not None:
            meta["progressToken"] = token
        if log:
            meta[f"{META}logLevel"] = log
        params.setdefault("_meta", meta)
        message = {"jsonrpc": "2.0", "id": self.new_id() if id_ is None else id_}
        message |= {"method": method, "params": params}
        given = self.fields(method, params) | (headers or {})
        kept = {n: v for n, v in given.items() if v is not None}
        return self.send("POST", kept, dump(message), message["id"])

    def request(self, method: str, params: dict[str, Any] | None = None, **more: Any) -> Reply:
        return self.open(method, params, **more).finish()

    def call(self, tool: str, arguments: Any = None, **more: Any) -> Reply:
        params = {"name": tool, "arguments": {} if arguments is None else arguments}
        return self.request("tools/call", params | more.pop("params", {}), **more)

    def retry(self, tool: str, arguments: Any, reply: Reply, answers: Any, **more: Any) -> Reply:
        """The retry of a call whose reply asked for input."""
        return self.open_retry(tool, arguments, reply, answers, **more).finish()

    def open_retry(
        self, tool: str, arguments: Any, reply: Reply, answers: Any, **more: Any
    ) -> Pending:
        params = {"name": tool, "arguments": {} if arguments is None else arguments}
        params |= {"inputResponses": answers}
        if "requestState" in reply.result:
            params["requestState"] = reply.result["requestState"]
        return self.open("tools/call", params, **more)

    def listen(self, wanted: dict[str, Any], id_: Any = None) -> Stream:
        pending = self.open("subscriptions/listen", {"notifications": wanted}, id_=id_)
        return pending.stream()

    def all(self, what: str) -> list[dict[str, Any]]:
        return _pages(self.request, what)


def header_value(value: str) -> str:
    """A value as Mcp-Name and Mcp-Param-* carry it."""
    plain = all(" " <= c <= "~" or c == "\t" for c in value) and value == value.strip()
    if plain and not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _pages(request: Callable[..., Reply], what: str) -> list[dict[str, Any]]:
    method = {"resourceTemplates": "resources/templates/list"}.get(what, f"{what}/list")
    out: list[dict[str, Any]] = []
    params: dict[str, Any] = {}
    for _ in range(1000):
        result = request(method, params).result
        out += result[what]
        if "nextCursor" not in result:
            return out
        params = {"cursor": result["nextCursor"]}
    raise AssertionError(f"{method} has no last page")


__all__ = [
    "ACCEPT",
    "LEGACY_VERSIONS",
    "META",
    "MODERN_VERSION",
    "TIMEOUT",
    "Legacy",
    "Modern",
    "Raw",
]
