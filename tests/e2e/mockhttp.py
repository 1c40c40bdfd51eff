"""A scriptable HTTP/1.1 server on asyncio, in a thread beside the test; records what came."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from wire import dump


class LoopThread:
    """One event loop for all mock servers of a test process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, work: Coroutine[Any, Any, Any], timeout: float = 20) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def soon(self, work: Callable[..., Any], *args: Any) -> None:
        self.loop.call_soon_threadsafe(work, *args)


_loops: list[LoopThread] = []


def mock_loop() -> LoopThread:
    if not _loops:
        _loops.append(LoopThread())
    return _loops[0]


class Gate:
    """Holds a handler until the test opens it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.left = threading.Event()
        self._open = threading.Event()

    async def wait(self) -> None:
        self.entered.set()
        try:
            while not self._open.is_set():
                await asyncio.sleep(0.005)
        finally:
            self.left.set()

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def open(self) -> None:
        self._open.set()


@dataclass
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    head: bytes
    body: bytes
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # the client closed

    def header(self, name: str) -> str | None:
        return next((v for n, v in self.headers if n == name.lower()), None)

    def json(self) -> Any:
        return json.loads(self.body)


class Gone(Exception):
    """The client closed the connection."""


class Connection:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self.buf = reader, writer, b""
        self.streaming = self.closing = False

    async def fill(self) -> None:
        try:
            got = await self.reader.read(65536)
        except OSError as e:
            raise Gone from e
        if not got:
            raise Gone
        self.buf += got

    async def until(self, mark: bytes) -> bytes:
        while mark not in self.buf:
            await self.fill()
        out, self.buf = self.buf.split(mark, 1)
        return out

    async def exactly(self, n: int) -> bytes:
        while len(self.buf) < n:
            await self.fill()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    async def read(self) -> Request:
        head = await self.until(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        fields = [line.partition(":") for line in lines[1:]]
        headers = [(name.lower(), value.strip()) for name, _, value in fields]
        request = Request(method, target, headers, head, b"")
        if request.header("transfer-encoding") == "chunked":
            while size := int(await self.until(b"\r\n"), 16):
                request.body += await self.exactly(size)
                await self.exactly(2)
            await self.exactly(2)
        elif length := int(request.header("content-length") or 0):
            request.body = await self.exactly(length)
        return request

    async def watch(self, request: Request) -> None:
        """Tells the request when the client goes away while it is served."""
        with contextlib.suppress(asyncio.CancelledError):
            try:
                while True:
                    await self.fill()
            except Gone:
                request.gone.set()

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        try:
            await self.writer.drain()
        except OSError as e:
            raise Gone from e

    async def reply(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        lines = [f"HTTP/1.1 {status} Mock", f"Content-Length: {len(body)}"]
        lines += [f"{n}: {v}" for n, v in (headers or {}).items()]
        await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def json(
        self, value: Any, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        given = {"Content-Type": "application/json"} | (headers or {})
        await self.reply(status, dump(value), given)

    async def stream(self, headers: dict[str, str] | None = None) -> None:
        """Begins an event stream."""
        self.streaming = True
        lines = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"]
        lines += [f"{n}: {v}" for n, v in (headers or {}).items()]
        await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.raw(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def event(self, message: Any, fields: bytes = b"") -> None:
        await self.chunk(fields + b"event: message\ndata: " + dump(message) + b"\n\n")

    async def end(self) -> None:
        self.streaming = False
        await self.raw(b"0\r\n\r\n")

    def abort(self) -> None:
        """RST."""
        sock = self.writer.get_extra_info("socket")
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.closing = True
        self.writer.transport.abort()

    def close(self) -> None:
        self.closing = True
        self.writer.close()


Script = Callable[[Request, Connection], Coroutine[Any, Any, bool | None]]


class HttpMock:
    """The server; subclasses say what it answers. script(request, connection) may answer instead:
    it returns True when it did."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.lenient = False  # breaches do not fail the test
        self.script: Script | None = None
        self.connections: set[Connection] = set()
        self.accepted = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def start(self) -> HttpMock:
        mock_loop().run(self._start())
        return self

    def stop(self) -> None:
        mock_loop().run(self._stop())

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server:
            self._server.close()
        for conn in list(self.connections):
            conn.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=5)

    def broken(self, rule: str, request: Request) -> None:
        """Notes that the gateway broke a rule of the protocol: the test will fail for it."""
        self.violations.append(f"{rule}: {request.head.decode('latin-1')}\n{request.body[:500]!r}")

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        conn = Connection(reader, writer)
        self.connections.add(conn)
        self.accepted += 1
        try:
            while not conn.closing:
                await self._serve(await conn.read(), conn)
        except (Gone, asyncio.CancelledError):
            pass
        except Exception as e:
            self.violations.append(f"the mock itself failed: {e!r}")
        finally:
            self.connections.discard(conn)
            self._tasks.discard(task)
            conn.close()

    async def _serve(self, request: Request, conn: Connection) -> None:
        self.requests.append(request)
        watch = asyncio.ensure_future(conn.watch(request))
        try:
            if self.script and await self.script(request, conn):
                return
            await self.respond(request, conn)
        finally:
            watch.cancel()
            await asyncio.wait([watch])

    async def respond(self, request: Request, conn: Connection) -> None:
        await conn.reply(404)

    def bodies(self, method: str) -> list[Any]:
        """The JSON-RPC messages of that method that came in."""
        parsed = [json.loads(r.body) for r in self.requests if r.body.startswith(b"{")]
        return [m for m in parsed if m.get("method") == method]

    def posts(self, method: str) -> list[Request]:
        """The requests that carried a JSON-RPC message of that method."""
        quoted = [r for r in self.requests if r.body.startswith(b"{")]
        return [r for r in quoted if json.loads(r.body).get("method") == method]
