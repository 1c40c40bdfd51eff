"""A mock MCP server over HTTP+SSE (2024-11-05): a GET stream, and POSTs to the place it names."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from mockcore import Service
from mockhttp import Connection, Gone, Request
from mocks import LegacyServer, Session, mock_loop


class SseStream:
    """One client: what it is told goes on its stream, in the place of a connection's answer."""

    def __init__(self, conn: Connection, request: Request) -> None:
        self.conn, self.request = conn, request
        self.session: Session | None = None
        self.streaming = True

    async def event(self, message: Any) -> None:
        await self.conn.event(message)

    async def json(self, value: Any, status: int = 200, headers: Any = None) -> None:
        await self.event(value)

    async def end(self) -> None:
        """The stream goes on after an answer."""


class SseServer(LegacyServer):
    def __init__(self, service: Service | None = None) -> None:
        super().__init__(service)
        self.streams: dict[str, SseStream] = {}
        self.endpoint = "/messages?sessionId={id}"  # as it is named
        self.refuse: dict[str, int] = {}  # method: the status that its POST gets
        self._work: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/sse"

    async def respond(self, request: Request, conn: Connection) -> None:
        path, _, query = request.target.partition("?")
        if self.token and request.header("authorization") != f"Bearer {self.token}":
            await conn.reply(401)
        elif path == "/sse" and request.method == "GET":
            await self._open(request, conn)
        elif path == "/messages" and request.method == "POST":
            await self._take(request, conn, query.removeprefix("sessionId="))
        else:
            await conn.reply(405 if path == "/sse" else 404, b"no such thing")

    async def _open(self, request: Request, conn: Connection) -> None:
        if "text/event-stream" not in (request.header("accept") or ""):
            self.broken("a GET accepts event streams", request)
        id_ = secrets.token_hex(8)
        await conn.stream()
        named = self.endpoint.format(id=id_, port=self.port)
        await conn.chunk(b"event: endpoint\ndata: " + named.encode() + b"\n\n")
        self.streams[id_] = stream = SseStream(conn, request)
        try:
            await request.gone.wait()
        finally:
            del self.streams[id_]
            if stream.session:
                self.ended.append(stream.session.id)
                self.sessions.pop(stream.session.id, None)
            conn.close()

    async def _take(self, request: Request, conn: Connection, id_: str) -> None:
        message, stream = request.json(), self.streams.get(id_)
        if request.header("mcp-session-id"):
            self.broken("no session header on this transport", request)
        if stream is None:
            await conn.reply(404, b"no such session")
        elif message.get("method") in self.refuse:
            await conn.reply(self.refuse[message["method"]], b"refused")
        else:
            await self._handle_now(message, request, stream)
            await conn.reply(202, b"Accepted")
            if "id" in message and "method" in message:
                work = asyncio.ensure_future(self._handle(message, request, stream))
                self._work.add(work)
                work.add_done_callback(self._work.discard)

    async def _handle_now(self, message: Any, request: Request, stream: SseStream) -> None:
        if message.get("method") is None:
            assert stream.session
            self._answered(stream.session, message, request)
        elif "id" not in message:
            if stream.session is None:
                self.broken("initialize before notifications", request)
                return
            self._told(stream.session, message)

    async def _handle(self, message: Any, request: Request, stream: SseStream) -> None:
        try:
            if message["method"] == "initialize":
                known = set(self.sessions)
                await self._initialize(message, stream)  # type: ignore[arg-type]
                (new,) = set(self.sessions) - known
                stream.session = self.sessions[new]
                stream.session.get = stream.conn
            elif stream.session is None:
                self.broken("initialize before requests", request)
            else:
                await self._request(stream.session, message, request, stream)  # type: ignore[arg-type]
        except Gone:
            pass

    def cut(self) -> None:
        """Every stream breaks."""
        for stream in list(self.streams.values()):
            mock_loop().soon(stream.conn.abort)


__all__ = ["SseServer"]
