"""The replica link before those who are not of the fleet."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
import time
from typing import Any

import pytest
from mcpclient import Legacy
from mocks import LegacyServer
from redisproc import RedisServer
from replicas import free_port
from wire import Response, http, poll

KEY = secrets.token_bytes(32)


@pytest.fixture
def redis(tmp_path: Any) -> Any:
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
def linked(start_gateway: Any, legacy_up: LegacyServer, redis: RedisServer) -> Any:
    port = free_port()
    gateway = start_gateway(
        {
            "sealKeys": [base64.b64encode(KEY).decode()],
            "store": redis.url,
            "maxBodyBytes": 1024,
            "replicaLink": {"listen": f"127.0.0.1:{port}"},
            "upstreams": {"up": {"url": legacy_up.url}},
        }
    )
    return Linked(gateway, port, redis)


def digest(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


class Linked:
    """A gateway and its link, spoken to as another replica would."""

    def __init__(self, gateway: Any, port: int, redis: RedisServer) -> None:
        self.gateway, self.url = gateway, f"http://127.0.0.1:{port}/link"
        self.name = self._name(redis).encode()
        self.link_key = digest(KEY, b"headgate replica link 1")

    @staticmethod
    def _name(redis: RedisServer) -> str:
        """The gateway's name among replicas, as its node key says it."""

        def written() -> list[str]:
            return [k for k in redis.lines("KEYS", "*:node:*") if ":node:" in k]

        return poll(written, why="the node's key")[0].split("{")[1].split("}")[0]

    def envelope(self, head: bytes, body: bytes = b"", **more: Any) -> bytes:
        at = more.get("sent_ms", int(time.time() * 1000))
        principal = b"9:anonymous" + b"0:" * 5 + b"19:9223372036854775807" + b"1:1" + b"1:0"
        inside = b"f" * 16 + more.get("to", self.name) + secrets.token_bytes(16)
        inside += struct.pack(">Q", at)
        inside += struct.pack(">I", len(principal)) + principal
        inside += struct.pack(">I", more.get("head_length", len(head))) + head + body
        key = more.get("key", self.link_key)
        return b"HGL1" + digest(self.link_key, b"id")[:8] + digest(key, inside) + inside

    def send(self, data: bytes) -> Response:
        return http(self.url, "POST", {"Content-Type": "application/json"}, data)

    def received(self, result: str) -> float:
        return self.gateway.metric("mcp_link_received_total", result=result)


def ping(session: str) -> tuple[bytes, bytes]:
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    head = "POST /mcp HTTP/1.1\r\nHost: link\r\nContent-Type: application/json\r\n"
    head += f"Accept: application/json, text/event-stream\r\nMcp-Session-Id: {session}\r\n"
    return (head + f"Content-Length: {len(body)}\r\n\r\n").encode(), body


def test_a_request_of_the_fleet_is_served_and_its_copy_is_not(linked: Any, clients: Any) -> None:
    client = clients(Legacy(linked.gateway.url))
    data = linked.envelope(*ping(client.session))
    reply = linked.send(data)
    assert reply.status == 200 and reply.json()["result"] == {}
    assert linked.send(data).status == 403
    assert linked.received("ok") == 1 and linked.received("replayed") == 1


def test_forged_stale_and_misdirected_requests_are_refused_and_counted(
    linked: Any, clients: Any, legacy_up: LegacyServer
) -> None:
    client = clients(Legacy(linked.gateway.url))
    head, body = ping(client.session)
    seen = len(legacy_up.requests)
    good = linked.envelope(head, body)
    assert linked.send(good[:-1] + b"?").status == 403
    assert linked.send(linked.envelope(head, body, key=b"x" * 32)).status == 403
    assert linked.received("forged") == 2
    for age in (-60_000, 60_000):
        at = int(time.time() * 1000) + age
        assert linked.send(linked.envelope(head, body, sent_ms=at)).status == 403
    assert linked.received("stale") == 2
    assert linked.send(linked.envelope(head, body, to=b"0" * 16)).status == 421
    assert linked.received("misdirected") == 1
    assert len([r for r in legacy_up.requests[seen:] if r.method == "POST"]) == 0


def test_cut_and_oversized_requests_are_refused(linked: Any) -> None:
    head, body = ping("x")
    good = linked.envelope(head, body)
    for n in (0, 3, 12, 43, 44, 60, 100):
        assert linked.send(good[:n]).status in (400, 403), n
    assert linked.send(linked.envelope(head, body, head_length=1 << 31)).status == 403
    assert linked.send(linked.envelope(b"no head\r\n\r\n", body)).status == 400
    assert linked.send(good + b" " * (160 << 10)).status == 413
    assert http(linked.url.replace("/link", "/mcp"), "POST", {}, good).status == 404
    assert http(linked.url.replace("/link", "/metrics")).status == 404


def test_the_link_leads_to_the_endpoint_alone(linked: Any) -> None:
    for path in ("/metrics", "/api/info", "/reload", "/link", "/nothing"):
        head = f"GET {path} HTTP/1.1\r\nHost: link\r\n\r\n".encode()
        assert linked.send(linked.envelope(head)).status == 404, path
