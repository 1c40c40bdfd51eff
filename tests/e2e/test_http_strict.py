"""The HTTP/1.1 edge: what is malformed is refused and the connection closed; what is well-formed
works however it is cut up; pages of other origins stay outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import Gateway
from mcpclient import META, MODERN_VERSION
from mocks import ModernServer
from wire import Conn, Response, dump, request_bytes

META_FIELDS = {f"{META}protocolVersion": MODERN_VERSION, f"{META}clientCapabilities": {}}
DISCOVER = dump(
    {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": META_FIELDS}}
)
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": MODERN_VERSION,
    "Mcp-Method": "server/discover",
}
FIELDS = "".join(f"{n}: {v}\r\n" for n, v in HEADERS.items()).encode()
LENGTH = b"Content-Length: %d\r\n" % len(DISCOVER)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for the whole file: nothing a client sends may harm it."""
    server = ModernServer()
    server.start()
    folder: Path = tmp_path_factory.mktemp("strict")
    running = Gateway({"upstreams": {"up": {"url": server.url}}}, folder)
    yield running
    seen = {m["method"] for r in server.requests if r.body for m in [json.loads(r.body)]}
    running.stop()
    server.stop()
    assert running.verdict() is None, running.verdict()
    assert "tools/call" not in seen, "something refused went upstream"


def head(
    line: bytes = b"POST /mcp HTTP/1.1", *fields: bytes, host: bytes = b"Host: localhost"
) -> bytes:
    lines = [line, *([host] if host else []), FIELDS[:-2], *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(*fields: bytes, body: bytes = DISCOVER) -> bytes:
    return head(b"POST /mcp HTTP/1.1", *fields) + body


GOOD_LENGTH = LENGTH[:-2]
SMUGGLED = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
MALFORMED: dict[str, tuple[bytes, int | tuple[int, ...]]] = {
    "bare LF line ends": (head().replace(b"\r\n", b"\n"), 400),
    "no Host": (head(host=b"") + DISCOVER, 400),
    "two Hosts": (post(b"Host: other", GOOD_LENGTH), 400),
    "empty Host": (head(host=b"Host:") + DISCOVER, (400, 403, 421)),
    "bad Host": (head(b"POST /mcp HTTP/1.1", GOOD_LENGTH, host=b"Host: a b"), 400),
    "space before the colon": (post(b"X-A : 1", GOOD_LENGTH), 400),
    "folded field": (post(b"X-A: 1\r\n  2", GOOD_LENGTH), 400),
    "field without a colon": (post(b"nonsense", GOOD_LENGTH), 400),
    "field without a name": (post(b": 1", GOOD_LENGTH), 400),
    "NUL in a value": (post(b"X-A: a\0b", GOOD_LENGTH), 400),
    "control in a value": (post(b"X-A: a\x01b", GOOD_LENGTH), 400),
    "CR in a value": (post(b"X-A: a\rb", GOOD_LENGTH), 400),
    "bad name": (post(b"X(A): 1", GOOD_LENGTH), 400),
    "high bytes in a name": (post(b"X\xff: 1", GOOD_LENGTH), 400),
    "two lengths that differ": (post(GOOD_LENGTH, b"Content-Length: 3"), 400),
    "the same length twice": (post(GOOD_LENGTH, GOOD_LENGTH), 400),
    "a list of lengths": (post(b"Content-Length: 5, 5", body=b"01234"), 400),
    "negative length": (post(b"Content-Length: -1"), 400),
    "signed length": (post(b"Content-Length: +10"), 400),
    "hexadecimal length": (post(b"Content-Length: 0x10"), 400),
    "length with a comma": (post(b"Content-Length: 1,0"), 400),
    "length of 30 digits": (post(b"Content-Length: " + b"9" * 30), (400, 413)),
    "empty length": (post(b"Content-Length:"), 400),
    "length and chunked": (
        post(GOOD_LENGTH, b"Transfer-Encoding: chunked", body=SMUGGLED),
        400,
    ),
    "chunked twice": (post(b"Transfer-Encoding: chunked, chunked", body=SMUGGLED), (400, 501)),
    "two transfer codings": (
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=SMUGGLED),
        400,
    ),
    "gzip coding": (post(b"Transfer-Encoding: gzip, chunked", body=SMUGGLED), (400, 501)),
    "identity coding": (post(b"Transfer-Encoding: identity", GOOD_LENGTH), (400, 501)),
    "odd coding": (post(b"Transfer-Encoding: xchunked", body=SMUGGLED), (400, 501)),
    "coding with a vertical tab": (post(b"Transfer-Encoding: \x0bchunked", body=SMUGGLED), 400),
    "chunked on HTTP/1.0": (
        head(b"POST /mcp HTTP/1.0", b"Transfer-Encoding: chunked") + SMUGGLED,
        400,
    ),
    "bad chunk size": (post(b"Transfer-Encoding: chunked", body=b"zz\r\n"), 400),
    "chunk size with 0x": (post(b"Transfer-Encoding: chunked", body=b"0x5\r\nhello\r\n"), 400),
    "signed chunk size": (post(b"Transfer-Encoding: chunked", body=b"+5\r\nhello\r\n"), 400),
    "huge chunk size": (post(b"Transfer-Encoding: chunked", body=b"f" * 20 + b"\r\n"), (400, 413)),
    "chunk without its end": (
        post(b"Transfer-Encoding: chunked", body=b"5\r\nhelloX\r\n0\r\n\r\n"),
        400,
    ),
    "LF in chunks": (post(b"Transfer-Encoding: chunked", body=b"5\nhello\n0\n\n"), 400),
    "bad method": (head(b"PO(ST /mcp HTTP/1.1", GOOD_LENGTH), 400),
    "lower-case version": (head(b"POST /mcp http/1.1", GOOD_LENGTH), (400, 505)),
    "HTTP/2.0": (head(b"POST /mcp HTTP/2.0", GOOD_LENGTH), 505),
    "HTTP/1.10": (head(b"POST /mcp HTTP/1.10", GOOD_LENGTH), (400, 505)),
    "no version": (b"POST /mcp\r\n\r\n", (400, 505)),
    "two spaces": (head(b"POST  /mcp HTTP/1.1", GOOD_LENGTH), 400),
    "fragment": (head(b"POST /mcp#x HTTP/1.1", GOOD_LENGTH), 400),
    "CONNECT": (head(b"CONNECT localhost:80 HTTP/1.1"), (400, 405, 501)),
    "long target": (head(b"GET /" + b"a" * 9000 + b" HTTP/1.1"), 414),
    "long head": (post(b"X-A: " + b"a" * 20000, GOOD_LENGTH), 431),
    "too many fields": (post(*[b"X-%d: 1" % i for i in range(150)], GOOD_LENGTH), 431),
    "unknown expectation": (post(b"Expect: 200-ok", GOOD_LENGTH), 417),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40, 400),
}


def talk(gateway: Gateway, data: bytes) -> tuple[Response, Conn]:
    conn = Conn(gateway.host_port)
    conn.send(data)
    return conn.response(), conn


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_is_refused_and_closed(gateway: Gateway, name: str) -> None:
    data, statuses = MALFORMED[name]
    response, conn = talk(gateway, data)
    assert response.status in (statuses if isinstance(statuses, tuple) else (statuses,))
    assert conn.at_end(), "the connection stays open after a framing error"


def test_too_large_a_body_is_refused_by_its_length(gateway: Gateway) -> None:
    response, conn = talk(gateway, post(b"Content-Length: 999999999", body=b""))
    assert response.status == 413 and conn.at_end()


def test_too_large_a_chunked_body_is_refused(gateway: Gateway) -> None:
    conn = Conn(gateway.host_port)
    conn.send(head(b"POST /mcp HTTP/1.1", b"Transfer-Encoding: chunked"))
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    try:
        for _ in range(200):
            conn.send(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it need not listen to the end
    else:
        assert conn.response().status == 413


@pytest.mark.parametrize(
    "given", ["text/plain", "application/jsonp", "multipart/form-data; boundary=x", None]
)
def test_wrong_content_type_is_415(gateway: Gateway, given: str | None) -> None:
    headers = {n: v for n, v in HEADERS.items() if n != "Content-Type"}
    headers |= {"Content-Type": given} if given else {}
    response, _ = talk(gateway, request_bytes("POST", "/mcp", "localhost", headers, DISCOVER))
    assert response.status == 415


@pytest.mark.parametrize("given", ["application/json; charset=utf-8", "Application/JSON"])
def test_content_type_with_parameters_is_fine(gateway: Gateway, given: str) -> None:
    headers = HEADERS | {"Content-Type": given}
    response, _ = talk(gateway, request_bytes("POST", "/mcp", "localhost", headers, DISCOVER))
    assert response.status == 200


def test_encoded_bodies_are_415(gateway: Gateway) -> None:
    response, _ = talk(gateway, post(GOOD_LENGTH, b"Content-Encoding: gzip"))
    assert response.status == 415


@pytest.mark.parametrize("accept,status", [("*/*", 200), ("text/html", 406), (None, 200)])
def test_accept(gateway: Gateway, accept: str | None, status: int) -> None:
    headers = {n: v for n, v in HEADERS.items() if n != "Accept"}
    headers |= {"Accept": accept} if accept else {}
    response, _ = talk(gateway, request_bytes("POST", "/mcp", "localhost", headers, DISCOVER))
    assert response.status == status


BAD_JSON = [
    b"",
    b"{",
    b"nul",
    b'{"a":1}x',
    b'"\xff"',
    b'{"a":01}',
    b"[1,]",
    b"{'a':1}",
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("body", BAD_JSON)
def test_bad_json_is_a_parse_error(gateway: Gateway, body: bytes) -> None:
    response, _ = talk(gateway, request_bytes("POST", "/mcp", "localhost", HEADERS, body))
    assert response.status == 400
    assert response.json()["error"]["code"] in (-32700, -32600)


@pytest.mark.parametrize(
    "body",
    [
        b"1",
        b'"x"',
        b"null",
        b"[]",
        b"{}",
        b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":7}',
        b'{"jsonrpc":"2.0","id":{},"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":3}',
    ],
)
def test_bad_envelopes_are_refused(gateway: Gateway, body: bytes) -> None:
    response, _ = talk(gateway, request_bytes("POST", "/mcp", "localhost", HEADERS, body))
    assert response.status == 400
    assert response.json()["error"]["code"] in (-32600, -32602, -32700)


def test_deep_json_is_refused(gateway: Gateway) -> None:
    deep = b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"[" * 5000 + b"]" * 5000 + b"}"
    response, _ = talk(gateway, request_bytes("POST", "/mcp", "localhost", HEADERS, deep))
    assert response.status == 400


def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    conn = Conn(gateway.host_port)
    bodies = [DISCOVER.replace(b'"id":1', b'"id":"p%d"' % i) for i in range(20)]
    conn.send(b"".join(request_bytes("POST", "/mcp", "localhost", HEADERS, b) for b in bodies))
    ids = [conn.response().json()["id"] for _ in bodies]
    assert ids == [f"p{i}" for i in range(20)]


def test_a_request_byte_by_byte(gateway: Gateway) -> None:
    conn = Conn(gateway.host_port)
    for byte in request_bytes("POST", "/mcp", "localhost", HEADERS, DISCOVER):
        conn.send(bytes([byte]))
    assert conn.response().status == 200


def test_chunked_requests_cut_anywhere(gateway: Gateway) -> None:
    conn = Conn(gateway.host_port)
    for size in (1, 7, 64):
        pieces = [DISCOVER[i : i + size] for i in range(0, len(DISCOVER), size)]
        body = b"".join(b"%X;a=b\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\nX-T: 1\r\n\r\n"
        conn.send(head(b"POST /mcp HTTP/1.1", b"Transfer-Encoding: chunked") + body)
        assert conn.response().status == 200


def test_expect_continue(gateway: Gateway) -> None:
    conn = Conn(gateway.host_port)
    conn.send(head(b"POST /mcp HTTP/1.1", GOOD_LENGTH, b"Expect: 100-continue"))
    assert conn.head().status == 100
    conn.send(DISCOVER)
    assert conn.response().status == 200


def test_connection_close_is_kept(gateway: Gateway) -> None:
    response, conn = talk(gateway, post(GOOD_LENGTH, b"Connection: close"))
    assert response.status == 200 and conn.at_end()


def test_http_1_0_closes(gateway: Gateway) -> None:
    response, conn = talk(gateway, head(b"POST /mcp HTTP/1.0", GOOD_LENGTH) + DISCOVER)
    assert response.status == 200 and conn.at_end()


def test_unknown_path_and_method(gateway: Gateway) -> None:
    conn = Conn(gateway.host_port)
    conn.send(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert conn.response().status == 404
    conn.send(b"PUT /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    response = conn.response()
    assert response.status == 405 and "POST" in (response.header("allow") or "")


# Host and Origin


@pytest.mark.parametrize("path", ["/mcp", "/healthz", "/api/info", "/metrics", "/ui/"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example"])
def test_foreign_hosts_are_403(gateway: Gateway, path: str, host: str) -> None:
    method, body = ("POST", DISCOVER) if path == "/mcp" else ("GET", b"")
    response, _ = talk(gateway, request_bytes(method, path, host, HEADERS, body))
    assert response.status in (403, 421)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1234", "127.0.0.1", "[::1]:80", "LOCALHOST"]
)
def test_local_hosts_are_served(gateway: Gateway, host: str) -> None:
    response, _ = talk(gateway, request_bytes("POST", "/mcp", host, HEADERS, DISCOVER))
    assert response.status == 200


@pytest.mark.parametrize("path", ["/mcp", "/api/info", "/metrics", "/healthz"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"]
)
def test_foreign_origins_are_403(gateway: Gateway, path: str, origin: str) -> None:
    method, body = ("POST", DISCOVER) if path == "/mcp" else ("GET", b"")
    headers = HEADERS | {"Origin": origin}
    response, _ = talk(gateway, request_bytes(method, path, "localhost", headers, body))
    assert response.status == 403
    assert response.header("access-control-allow-origin") is None


def test_cors_of_an_allowed_origin(start_gateway: Any) -> None:
    origin = "https://app.example"
    gateway = start_gateway({"cors": {"allowedOrigins": [origin]}})
    asked = "content-type, mcp-protocol-version, mcp-method, mcp-name, mcp-param-region, x-odd"
    preflight = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    response, _ = talk(gateway, request_bytes("OPTIONS", "/mcp", "localhost", preflight))
    assert response.status in (200, 204)
    assert response.header("access-control-allow-origin") == origin
    assert "POST" in (response.header("access-control-allow-methods") or "")
    allowed = (response.header("access-control-allow-headers") or "").lower().replace(" ", "")
    for name in asked.replace(" ", "").split(",")[:-1]:
        assert name in allowed.split(","), name
    assert "x-odd" not in allowed
    headers = HEADERS | {"Origin": origin}
    response, _ = talk(gateway, request_bytes("POST", "/mcp", "localhost", headers, DISCOVER))
    assert response.status == 200
    assert response.header("access-control-allow-origin") == origin
    assert "mcp-session-id" in (response.header("access-control-expose-headers") or "").lower()
    refused = preflight | {"Origin": "https://evil.example"}
    response, _ = talk(gateway, request_bytes("OPTIONS", "/mcp", "localhost", refused))
    assert response.status == 403
