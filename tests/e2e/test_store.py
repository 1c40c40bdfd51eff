"""The whole gateway on a Redis that grants what docs/store.md says and no more, over TLS with a
client certificate; and what people see of a Redis that goes away."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import ROOT, run_cli
from mcpclient import Client, Legacy, Modern
from mockhttp import HttpMock
from mocks import ModernServer
from redisproc import RedisServer
from replicas import free_port
from wire import poll

Start = Callable[..., Any]
Clients = Callable[[Client], Any]
Mocks = Callable[[HttpMock], Any]
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8="


def openssl(folder: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """ca, redis and client, each with .pem and .key."""
    folder = tmp_path / "tls"
    folder.mkdir()
    ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(folder, "req", "-x509", *ec, "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("redis", "client"):
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1")
        made = ("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
        openssl(folder, "req", "-x509", *ec, *signed, *made)
    return folder


@pytest.fixture
def redis(certificates: Path) -> Iterator[tuple[RedisServer, int]]:
    """A server for the documented user, and its port for TLS."""
    line = re.search(
        r"^user headgate on >PASSWORD (.*)$", (ROOT / "docs/store.md").read_text(), re.M
    )
    assert line
    files = {"cert-file": "redis.pem", "key-file": "redis.key", "ca-cert-file": "ca.pem"}
    options = [w for k, v in files.items() for w in (f"--tls-{k}", str(certificates / v))]
    port = free_port()
    acl = ["--user", "headgate", "on", ">secret", *line[1].split()]
    server = RedisServer("--tls-port", str(port), "--tls-auth-clients", "yes", *options, *acl)
    yield server, port
    server.stop()


def shared(redis: tuple[RedisServer, int], certificates: Path) -> dict[str, Any]:
    password = certificates / "password"
    password.write_text("secret\n")
    return {
        "store": f"rediss://headgate@127.0.0.1:{redis[1]}",
        "storePasswordFile": str(password),
        "storeCa": str(certificates / "ca.pem"),
        "storeCert": str(certificates / "client.pem"),
        "storeKey": str(certificates / "client.key"),
        "sealKeys": [KEY],
        "threads": 2,
    }


def test_the_documented_user_is_enough_for_everything(
    start_gateway: Start, mocks: Mocks, clients: Clients, redis: Any, certificates: Path
) -> None:
    upstream = mocks(ModernServer())
    config = shared(redis, certificates) | {
        "upstreams": {"up": {"url": upstream.url}},
        "limits": {"default": "1000/min"},
        "cache": {"tools": {"*": {"ttl": "10m"}}},
        "timeouts": {"store": "5s"},  # of this machine
    }
    gateways = [start_gateway(config) for _ in range(2)]
    for gateway in gateways:
        poll(lambda gateway=gateway: gateway.metric("mcp_store_up") == 1)
        for _ in range(3):
            assert clients(Modern(gateway.url)).call("up_echo").text
            assert clients(Legacy(gateway.url)).call("up_echo").text
    assert gateways[0].metric("mcp_store_ops_total", op="admit", result="ok") > 0
    server = redis[0]
    assert server.whole("ACL", "LOG") == b"*0\r\n"
    assert b"name=headgate-" in server.whole("CLIENT", "LIST")
    for gateway in gateways:
        assert gateway.metric("mcp_store_forged_total") == 0
        assert gateway.metric("mcp_store_ops_total", result="away") == 0
        assert "secret" not in gateway.logs


def test_calls_go_on_while_redis_is_away_and_it_is_said_once(
    start_gateway: Start, mocks: Mocks, clients: Clients, redis: Any, certificates: Path
) -> None:
    upstream = mocks(ModernServer())
    config = shared(redis, certificates) | {
        "upstreams": {"up": {"url": upstream.url}},
        "limits": {"default": "1000/min"},
        "timeouts": {"store": "500ms"},  # a busy machine is no Redis that is away
    }
    gateway, server = start_gateway(config), redis[0]
    client = clients(Modern(gateway.url, keep=True))
    poll(lambda: gateway.metric("mcp_store_up") == 1)
    for blow in (server.kill, server.pause):
        blow()
        while gateway.metric("mcp_store_up") == 1:
            assert client.call("up_echo").text
        assert client.call("up_echo").text
        assert gateway.get("/readyz").status == 200
        server.resume() if server.process else server.start()
        poll(lambda: gateway.metric("mcp_store_up") == 1)
        assert client.call("up_echo").text
    said = [r"store\.away", r"store\.back"]
    poll(lambda: [len(re.findall(word, gateway.logs)) for word in said] == [2, 2])
    assert gateway.metric("mcp_calls_failed_total") == 0


def test_the_gateway_starts_while_redis_is_away(
    start_gateway: Start, mocks: Mocks, clients: Clients, redis: Any, certificates: Path
) -> None:
    redis[0].kill()
    upstream = mocks(ModernServer())
    config = shared(redis, certificates) | {"upstreams": {"up": {"url": upstream.url}}}
    gateway = start_gateway(config)
    assert clients(Modern(gateway.url)).call("up_echo").text
    redis[0].start()
    poll(lambda: gateway.metric("mcp_store_up") == 1)


def test_a_certificate_that_is_none_is_refused_before_anything_starts(
    redis: Any, certificates: Path, tmp_path: Path
) -> None:
    (certificates / "client.key").write_text("no key")
    file = tmp_path / "headgate.yaml"
    wanted = shared(redis, certificates) | {"listen": "127.0.0.1:0"}
    file.write_text("".join(f"{key}: {value}\n" for key, value in wanted.items()))
    done = run_cli("run", "--config", str(file))
    assert done.returncode != 0
    assert "cannot use the certificate" in done.stderr
    assert "client.key" in done.stderr
