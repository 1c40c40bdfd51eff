"""Mock MCP servers over HTTP, modern and legacy. They check the gateway's side of the protocol
while they serve: every breach is noted in .violations, and fails the test."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from mcpclient import LEGACY_VERSIONS, META, MODERN_VERSION, NAMED
from mockcore import Context, InputRequired, RpcError, Service, demo
from mockhttp import Connection, Gate, Gone, HttpMock, Request, mock_loop

JSONRPC = {"jsonrpc": "2.0"}
MODERN_METHODS = {
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
    "subscriptions/listen",
}
CACHED = MODERN_METHODS - {
    "tools/call",
    "prompts/get",
    "completion/complete",
    "subscriptions/listen",
}


def failure(id_: Any, error: RpcError) -> dict[str, Any]:
    return JSONRPC | {"id": id_, "error": error.body()}


def unwrap(value: str) -> str:
    """Mcp-Name as it was before it became a header."""
    if value.startswith("=?base64?") and value.endswith("?="):
        return base64.b64decode(value[9:-2]).decode()
    return value


class McpMock(HttpMock):
    """Common to both eras: a service, optional authorization, JSON or event-stream answers."""

    era = ""

    def __init__(self, service: Service | None = None) -> None:
        super().__init__()
        self.service = service or demo()
        self.sse = False  # answer with a stream although nothing has to be told meanwhile
        self.token: str | None = None  # demanded as a bearer token
        self.sessions: dict[str, Session] = {}

    async def respond(self, request: Request, conn: Connection) -> None:
        if request.target.split("?")[0] != "/mcp":
            await conn.reply(404)
        elif self.token and request.header("authorization") != f"Bearer {self.token}":
            await conn.reply(401, b"", {"WWW-Authenticate": 'Bearer realm="mock"'})
        elif request.method != "POST":
            await self.other(request, conn)
        else:
            await self._post(request, conn)

    async def other(self, request: Request, conn: Connection) -> None:
        await conn.reply(405, b"", {"Allow": "POST"})

    async def _post(self, request: Request, conn: Connection) -> None:
        accept = request.header("accept") or ""
        if "application/json" not in accept or "text/event-stream" not in accept:
            self.broken("a POST accepts JSON and event streams", request)
        if (request.header("content-type") or "").split(";")[0] != "application/json":
            self.broken("a POST carries application/json", request)
        message = request.json()
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            self.broken("a POST carries one JSON-RPC message", request)
            await conn.json(failure(None, RpcError(-32600, "Invalid request")), 400)
            return
        await self.post(message, request, conn)

    async def post(self, message: dict[str, Any], request: Request, conn: Connection) -> None:
        raise NotImplementedError

    async def run(self, ctx: Context, id_: Any, request: Request, conn: Connection) -> None:
        """Serves one request: plain JSON, or a stream when something is said before the answer."""
        if self.sse:
            await conn.stream()
        watch = asyncio.ensure_future(self._cancel(ctx, request))
        try:
            result = await self.service.serve(ctx)
            answer = JSONRPC | {"id": id_, "result": self.shape(ctx.method, result)}
        except RpcError as e:
            answer = failure(id_, e)
        finally:
            watch.cancel()
        if conn.streaming:
            await conn.event(answer)
            await conn.end()
        else:
            await conn.json(answer)

    async def _cancel(self, ctx: Context, request: Request) -> None:
        await request.gone.wait()
        ctx.cancelled.set()

    def shape(self, method: str, result: Any) -> Any:
        return result


class ModernServer(McpMock):
    """Revision 2026-07-28."""

    era = "modern"

    def __init__(self, service: Service | None = None) -> None:
        super().__init__(service)
        self.listeners: list[Listener] = []

    def shape(self, method: str, result: Any) -> Any:
        info = {f"{META}serverInfo": {"name": self.service.name, "version": "1"}}
        if isinstance(result, InputRequired):
            out: dict[str, Any] = {"resultType": "input_required", "inputRequests": result.requests}
            return out | ({"requestState": result.state} if result.state is not None else {})
        if not isinstance(result, dict):
            return result
        cache = {"ttlMs": 0, "cacheScope": "private"} if method in CACHED else {}
        return (
            {"resultType": "complete"} | cache | result | {"_meta": info | result.get("_meta", {})}
        )

    def _mismatch(self, message: dict[str, Any], request: Request) -> str | None:
        method, params = message["method"], message.get("params") or {}
        meta = params.get("_meta") or {}
        if meta.get(f"{META}protocolVersion") != MODERN_VERSION:
            return "_meta has the protocol version"
        if not isinstance(meta.get(f"{META}clientCapabilities"), dict):
            return "_meta has the client's capabilities"
        if request.header("mcp-protocol-version") != MODERN_VERSION:
            return "MCP-Protocol-Version equals _meta"
        if request.header("mcp-method") != method:
            return "Mcp-Method equals the method"
        name = params.get(NAMED[method]) if method in NAMED else None
        if name is not None and unwrap(request.header("mcp-name") or "") != name:
            return "Mcp-Name equals the name"
        return None

    async def post(self, message: dict[str, Any], request: Request, conn: Connection) -> None:
        method, id_ = message.get("method"), message.get("id")
        if request.header("mcp-session-id"):
            self.broken("no session ids to a modern server", request)
        if method is None or "id" not in message:
            self.broken("only requests are posted to a modern server", request)
            await conn.reply(202)
        elif method not in MODERN_METHODS:
            self.broken(f"{method} is no modern method", request)
            await conn.json(failure(id_, RpcError(-32601, "Method not found")), 404)
        elif rule := self._mismatch(message, request):
            self.broken(rule, request)
            await conn.json(failure(id_, RpcError(-32020, rule)), 400)
        else:
            await self._request(message, request, conn)

    async def _request(self, message: dict[str, Any], request: Request, conn: Connection) -> None:
        params = message.get("params") or {}
        if (
            message["method"] == "server/discover"
            and message["method"] not in self.service.override
        ):
            await conn.json(JSONRPC | {"id": message["id"], "result": self.discover()})
            return
        if message["method"] == "subscriptions/listen":
            await self._listen(message["id"], params, request, conn)
            return

        async def emit(note: dict[str, Any]) -> None:
            if not conn.streaming:
                await conn.stream()
            await conn.event(note)

        ctx = Context("modern", message["method"], params, emit, raw=request.body)
        await self.run(ctx, message["id"], request, conn)

    def discover(self) -> dict[str, Any]:
        result = {"supportedVersions": [MODERN_VERSION], "capabilities": self.service.capabilities}
        more = {"instructions": self.service.instructions} if self.service.instructions else {}
        return self.shape("server/discover", result | more)

    async def _listen(self, id_: Any, params: Any, request: Request, conn: Connection) -> None:
        wanted = params.get("notifications") or {}
        listener = Listener(conn, id_, wanted)
        await conn.stream()
        await listener.send("notifications/subscriptions/acknowledged", {"notifications": wanted})
        self.listeners.append(listener)
        try:
            await request.gone.wait()
        finally:
            self.listeners.remove(listener)
            conn.close()

    def notify(self, method: str, **params: Any) -> int:
        """Tells all who asked for it; returns how many."""
        return mock_loop().run(self._notify(method, params))

    async def _notify(self, method: str, params: dict[str, Any]) -> int:
        chosen = [one for one in self.listeners if one.wants(method, params)]
        for listener in chosen:
            await listener.send(method, params)
        return len(chosen)


@dataclass
class Listener:
    conn: Connection
    id: Any
    wanted: dict[str, Any]

    def wants(self, method: str, params: dict[str, Any]) -> bool:
        if method == "notifications/resources/updated":
            return params["uri"] in self.wanted.get("resourceSubscriptions", [])
        kind = method.split("/")[1]
        return bool(self.wanted.get(f"{kind}ListChanged"))

    async def send(self, method: str, params: dict[str, Any]) -> None:
        tagged = params | {"_meta": {f"{META}subscriptionId": self.id}}
        await self.conn.event(JSONRPC | {"method": method, "params": tagged})


@dataclass
class Session:
    id: str
    version: str
    caps: dict[str, Any]
    ready: bool = False
    level: str | None = None
    subscribed: set[str] = field(default_factory=set)
    ids: set[str] = field(default_factory=set)
    get: Connection | None = None
    asked: dict[Any, asyncio.Future[Any]] = field(default_factory=dict)
    running: dict[str, Context] = field(default_factory=dict)
    counter: Any = field(default_factory=itertools.count)


class LegacyServer(McpMock):
    """Handshake revisions over streamable HTTP."""

    era = "legacy"

    def __init__(self, service: Service | None = None, *, sessions: bool = True) -> None:
        super().__init__(service)
        self.with_sessions = sessions
        self.get_stream = True
        self.versions: tuple[str, ...] = LEGACY_VERSIONS
        self.sessions: dict[str, Session] = {}
        self.ended: list[str] = []
        self.answers: list[dict[str, Any]] = []  # what the gateway posted as responses

    def forget(self) -> None:
        """As after a restart: no session is known any more."""
        self.sessions.clear()

    async def _session(self, request: Request, conn: Connection) -> Session | None:
        id_ = request.header("mcp-session-id")
        if not self.with_sessions:
            return next(iter(self.sessions.values()), None) or Session("", "2025-11-25", {}, True)
        if id_ is None:
            self.broken("a session id after initialize", request)
            await conn.json(failure(None, RpcError(-32000, "Server not initialized")), 400)
            return None
        if id_ not in self.sessions:
            await conn.json(failure(None, RpcError(-32001, "Session not found")), 404)
            return None
        session = self.sessions[id_]
        given = request.header("mcp-protocol-version")
        if session.version >= "2025-06-18" and given != session.version:
            self.broken("MCP-Protocol-Version is the negotiated one", request)
        return session

    async def other(self, request: Request, conn: Connection) -> None:
        if not self.with_sessions or (request.method == "GET" and not self.get_stream):
            await conn.reply(405, b"", {"Allow": "POST"})
            return
        session = await self._session(request, conn)
        if session is None:
            return
        if request.method == "DELETE":
            self.ended.append(session.id)
            del self.sessions[session.id]
            await conn.reply(200)
        elif request.method == "GET":
            await self._get(session, request, conn)
        else:
            await conn.reply(405)

    async def _get(self, session: Session, request: Request, conn: Connection) -> None:
        if session.get is not None:
            self.broken("one GET stream a session", request)
            await conn.reply(409)
            return
        await conn.stream()
        session.get = conn
        try:
            await request.gone.wait()
        finally:
            session.get = None
            conn.close()

    async def post(self, message: dict[str, Any], request: Request, conn: Connection) -> None:
        method = message.get("method")
        if method == "initialize":
            await self._initialize(message, conn)
            return
        if method == "server/discover":  # a probe for the era: nothing this server knows
            await conn.json(failure(message.get("id"), RpcError(-32000, "Not initialized")), 400)
            return
        session = await self._session(request, conn)
        if session is None:
            return
        if method is None:
            self._answered(session, message, request)
            await conn.reply(202)
        elif "id" not in message:
            self._told(session, message)
            await conn.reply(202)
        else:
            await self._request(session, message, request, conn)

    async def _initialize(self, message: dict[str, Any], conn: Connection) -> None:
        params = message["params"]
        asked = params["protocolVersion"]
        version = asked if asked in self.versions else self.versions[-1]
        session = Session(secrets.token_hex(8), version, params["capabilities"])
        self.sessions[session.id] = session
        result = {
            "protocolVersion": version,
            "capabilities": self.service.capabilities,
            "serverInfo": {"name": self.service.name, "version": "1"},
        }
        if self.service.instructions:
            result["instructions"] = self.service.instructions
        headers = {"Mcp-Session-Id": session.id} if self.with_sessions else {}
        await conn.json(JSONRPC | {"id": message["id"], "result": result}, headers=headers)

    def _answered(self, session: Session, message: dict[str, Any], request: Request) -> None:
        self.answers.append(message)
        future = session.asked.pop(message.get("id"), None)
        if future is None:
            self.broken("an answer to a question that was asked", request)
        elif not future.done():
            if "error" in message:
                future.set_exception(
                    RpcError(message["error"]["code"], message["error"]["message"])
                )
            else:
                future.set_result(message["result"])

    def _told(self, session: Session, message: dict[str, Any]) -> None:
        if message["method"] == "notifications/initialized":
            session.ready = True
        elif message["method"] == "notifications/cancelled":
            ctx = session.running.get(json.dumps(message["params"].get("requestId")))
            if ctx:
                ctx.cancelled.set()

    async def _request(
        self, session: Session, message: dict[str, Any], request: Request, conn: Connection
    ) -> None:
        key, params = json.dumps(message["id"]), message.get("params") or {}
        if not session.ready:
            self.broken("notifications/initialized before requests", request)
        if key in session.ids:
            self.broken("ids are not used twice in a session", request)
        session.ids.add(key)
        if f"{META}protocolVersion" in (params.get("_meta") or {}):
            self.broken("no modern _meta to a legacy server", request)

        async def emit(note: dict[str, Any]) -> None:
            if not conn.streaming:
                await conn.stream()
            await conn.event(note)

        async def ask(method: str, asked: Any = None, *, on: str = "post") -> Any:
            return await self._ask(session, emit if on == "post" else None, method, asked)

        ctx = Context("legacy", message["method"], params, emit, ask, session, request.body)
        session.running[key] = ctx
        try:
            if not await self._own(ctx, message["id"], conn):
                await self.run(ctx, message["id"], request, conn)
        finally:
            session.running.pop(key, None)

    async def _own(self, ctx: Context, id_: Any, conn: Connection) -> bool:
        """What the session itself deals with."""
        session: Session = ctx.session
        if ctx.method in self.service.override:
            return False
        if ctx.method == "logging/setLevel":
            session.level = ctx.params["level"]
        elif ctx.method == "resources/subscribe":
            session.subscribed.add(ctx.params["uri"])
        elif ctx.method == "resources/unsubscribe":
            session.subscribed.discard(ctx.params["uri"])
        elif ctx.method != "ping":
            return False
        self.service.seen.append((ctx.method, ctx.params))
        await conn.json(JSONRPC | {"id": id_, "result": {}})
        return True

    async def _ask(self, session: Session, emit: Any, method: str, params: Any) -> Any:
        id_ = next(session.counter)  # from 0, as some SDKs count
        session.asked[id_] = asyncio.get_running_loop().create_future()
        message = JSONRPC | {"id": id_, "method": method, "params": params or {}}
        if emit:
            await emit(message)
        else:
            assert session.get, "no GET stream to ask on"
            await session.get.event(message)
        return await session.asked[id_]

    async def _cancel(self, ctx: Context, request: Request) -> None:
        """Nothing: a legacy client that disconnects does not cancel."""

    def tell(self, session: Session, method: str, **params: Any) -> None:
        """Tells it that session alone."""
        assert session.get
        mock_loop().run(session.get.event(JSONRPC | {"method": method, "params": params}))

    def notify(self, method: str, **params: Any) -> int:
        """Tells it on the GET streams; returns on how many."""
        return mock_loop().run(self._notify(method, params))

    async def _notify(self, method: str, params: dict[str, Any]) -> int:
        told = 0
        for session in self.sessions.values():
            if (
                method == "notifications/resources/updated"
                and params["uri"] not in session.subscribed
            ):
                continue
            if session.get is not None:
                with contextlib.suppress(Gone):
                    await session.get.event(JSONRPC | {"method": method, "params": params})
                    told += 1
        return told


class HangingServer(HttpMock):
    """Accepts and reads, and never answers."""

    async def respond(self, request: Request, conn: Connection) -> None:
        await request.gone.wait()


__all__ = ["Gate", "HangingServer", "LegacyServer", "ModernServer", "RpcError", "Service", "demo"]
