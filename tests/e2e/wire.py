"""Bytes for the tests: JSON that keeps its bytes, a raw HTTP/1.1 client, server-sent events."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 20.0  # of one read: a bound for a hang, far above what anything takes


class Raw(bytes):
    """JSON text that dump() writes as it is."""


def dump(value: Any) -> bytes:
    """Compact JSON; Raw parts at any depth keep their bytes."""
    raws: list[bytes] = []

    def hold(part: Any) -> str:
        if not isinstance(part, bytes):
            raise TypeError(f"not JSON: {part!r}")
        raws.append(bytes(part))
        return f"\x01raw{len(raws) - 1}\x01"

    text = json.dumps(value, separators=(",", ":"), default=hold).encode()
    for i, raw in enumerate(raws):
        text = text.replace(f'"\\u0001raw{i}\\u0001"'.encode(), raw)
    return text


_decoder = json.JSONDecoder()


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _members(text: str, at: int) -> Iterator[tuple[str, int, int]]:
    """The members of the object at that place: name, start and end of the value."""
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, at = _decoder.raw_decode(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = _decoder.raw_decode(text, start)
        yield name, start, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _elements(text: str, at: int) -> Iterator[tuple[int, int, int]]:
    at, index = _skip(text, at + 1), 0
    while text[at] != "]":
        _, end = _decoder.raw_decode(text, at)
        yield index, at, end
        at, index = _skip(text, end), index + 1
        if text[at] == ",":
            at = _skip(text, at + 1)


def span(raw: bytes, *path: str | int) -> bytes | None:
    """The bytes of the value at the path, exactly as they came; None when there is none."""
    text = raw.decode()
    start, end = _skip(text, 0), len(text)
    for step in path:
        if text[start] not in "{[":
            return None
        walk = _members(text, start) if text[start] == "{" else _elements(text, start)
        for name, first, last in walk:
            if name == step:
                start, end = first, last
                break
        else:
            return None
    return text[start:end].strip().encode()


@dataclass
class Event:
    """One server-sent event."""

    data: bytes
    name: str = "message"
    id: str | None = None
    retry: str | None = None

    def json(self) -> Any:
        return json.loads(self.data)


class EventParser:
    """Server-sent events out of a stream of bytes."""

    def __init__(self) -> None:
        self._buf = b""
        self._lines: list[bytes] = []
        self.comments = 0

    def feed(self, data: bytes) -> list[Event]:
        self._buf += data
        out = []
        while b"\n" in self._buf:
            line, self._buf = self._buf.split(b"\n", 1)
            line = line.removesuffix(b"\r")
            if line:
                self._lines.append(line)
                continue
            if event := self._event():
                out.append(event)
            self._lines = []
        return out

    def _event(self) -> Event | None:
        data, event = [], Event(b"")
        for line in self._lines:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if not name:
                self.comments += 1
            elif name == b"data":
                data.append(value)
            elif name == b"event":
                event.name = value.decode()
            elif name == b"id":
                event.id = value.decode()
            elif name == b"retry":
                event.retry = value.decode()
        event.data = b"\n".join(data)
        return event if data or event.id is not None else None


@dataclass
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    head: bytes = b""
    closed: bool = False  # the server closed the connection after it

    def header(self, name: str, default: str | None = None) -> str | None:
        return next((v for n, v in self.headers if n == name.lower()), default)

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Event]:
        return EventParser().feed(self.body)

    @property
    def is_sse(self) -> bool:
        return (self.header("content-type") or "").startswith("text/event-stream")


class Closed(Exception):
    """The peer closed the connection before the message was whole."""


class Conn:
    """A connection to the gateway on which tests write whatever bytes they like."""

    def __init__(self, address: tuple[str, int], timeout: float = TIMEOUT) -> None:
        self.sock = socket.create_connection(address, timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _fill(self) -> None:
        try:
            got = self.sock.recv(65536)
        except ConnectionResetError as e:
            raise Closed("reset") from e
        if not got:
            raise Closed("end of stream")
        self.buf += got

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buf:
            self._fill()
        head, self.buf = self.buf.split(mark, 1)
        return head

    def exactly(self, n: int) -> bytes:
        while len(self.buf) < n:
            self._fill()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def head(self) -> Response:
        raw = self.until(b"\r\n\r\n")
        lines = raw.decode("latin-1").split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0"), lines[0]
        fields = [line.split(":", 1) for line in lines[1:]]
        return Response(int(status), [(n.lower(), v.strip()) for n, v in fields], head=raw)

    def chunks(self, response: Response) -> Iterator[bytes]:
        """The body, piece by piece as it comes."""
        if response.status in (204, 304) or 100 <= response.status < 200:
            return
        if response.header("transfer-encoding") == "chunked":
            while size := int(self.until(b"\r\n"), 16):
                yield self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            assert self.exactly(2) == b"\r\n"
        elif (length := response.header("content-length")) is not None:
            if int(length):
                yield self.exactly(int(length))
        else:
            try:
                while True:
                    if not self.buf:
                        self._fill()
                    out, self.buf = self.buf, b""
                    yield out
            except Closed:
                return

    def response(self, *, to_head: bool = False) -> Response:
        """One whole answer."""
        out = self.head()
        if not to_head:
            out.body = b"".join(self.chunks(out))
        return out

    def at_end(self, timeout: float = TIMEOUT) -> bool:
        """Whether the peer closes within the time, sending nothing more."""
        self.sock.settimeout(timeout)
        try:
            self._fill()
        except Closed:
            return True
        except TimeoutError:
            return False
        return False

    def reset(self) -> None:
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.sock.close()


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80


def request_bytes(
    method: str, target: str, host: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """A request as a well-behaved client writes it."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    given = dict(headers or {})
    if (body or method == "POST") and "Content-Length" not in given:
        given["Content-Length"] = str(len(body))
    lines += [f"{name}: {value}" for name, value in given.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def http(
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    timeout: float = TIMEOUT,
) -> Response:
    """One request on a connection of its own."""
    conn, host = Conn(address_of(url), timeout), urlsplit(url).netloc
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        conn.send(request_bytes(method, target or "/", host, headers, body))
        return conn.response(to_head=method == "HEAD")
    finally:
        conn.close()


@dataclass
class Stream:
    """An answer that is read event by event."""

    conn: Conn
    response: Response
    _pending: list[Event] = field(default_factory=list)
    _parser: EventParser = field(default_factory=EventParser)
    _chunks: Iterator[bytes] | None = None

    def __post_init__(self) -> None:
        self._chunks = self.conn.chunks(self.response)

    def next(self, timeout: float = TIMEOUT) -> Event | None:
        """The next event; None at the end of the stream."""
        deadline = time.monotonic() + timeout
        while not self._pending:
            self.conn.sock.settimeout(max(0.001, deadline - time.monotonic()))
            piece = next(self._chunks, None) if self._chunks else None
            if piece is None:
                return None
            self._pending += self._parser.feed(piece)
        return self._pending.pop(0)

    def until(self, method: str, timeout: float = TIMEOUT) -> dict[str, Any]:
        """The next message of that method; others on the way are skipped."""
        deadline = time.monotonic() + timeout
        while event := self.next(deadline - time.monotonic()):
            if event.data and event.json().get("method") == method:
                return event.json()
        raise AssertionError(f"the stream ended without {method}")

    def comments(self, n: int) -> None:
        """Reads until so many comments have come."""
        while self._parser.comments < n:
            piece = next(self._chunks, None) if self._chunks else None
            assert piece is not None, "the stream ended"
            self._pending += self._parser.feed(piece)

    def close(self) -> None:
        self.conn.close()


def poll(what: Any, timeout: float = TIMEOUT, why: str = "") -> Any:
    """Waits, bounded, until what() is true, and returns its value."""
    deadline = time.monotonic() + timeout
    while not (got := what()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {timeout} s: {why or what}")
        time.sleep(0.01)
    return got
