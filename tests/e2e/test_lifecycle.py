"""Start, check, reload, drain; and where credentials go."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import BIN, environment, run_cli
from mcpclient import Client, Legacy, Modern
from mockcore import text
from mockhttp import Gate, HttpMock
from mocks import LegacyServer, ModernServer
from wire import Closed, Conn, poll

Start = Callable[..., Any]
Clients = Callable[[Client], Any]
Mocks = Callable[[HttpMock], Any]
SECRET = "s3cret-of-the-test"


def names(client: Any) -> list[str]:
    return [t["name"] for t in client.all("tools")]


# Start and check


def test_port_in_use(start_gateway: Start, tmp_path: Path) -> None:
    gateway = start_gateway({})
    file = tmp_path / "second.json"
    file.write_text(json.dumps({"listen": gateway.address}))
    second = run_cli("run", "--config", str(file))
    assert second.returncode not in (0, -signal.SIGSEGV, -signal.SIGABRT)
    assert gateway.address in second.stderr and "in use" in second.stderr
    assert second.stdout == ""


def test_listens_on_what_it_prints(start_gateway: Start) -> None:
    gateway = start_gateway({"listen": ["127.0.0.1:0", "127.0.0.1:0"]})
    assert len(gateway.hello["listen"]) == 2
    for address in gateway.hello["listen"]:
        host, port = address.rsplit(":", 1)
        socket.create_connection((host, int(port)), 10).close()


def test_check_accepts_a_good_file(tmp_path: Path) -> None:
    file = tmp_path / "good.yaml"
    file.write_text("listen: 127.0.0.1:0\nupstreams:\n  a: { url: 'http://127.0.0.1:1/mcp' }\n")
    done = run_cli("check", str(file))
    assert done.returncode == 0, done.stderr


def test_check_prints_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "listen: 127.0.0.1:99999\n"
        "threads: -4\n"
        "unknownKey: 1\n"
        "upstreams:\n"
        "  a: { url: 'ftp://x/mcp' }\n"
        "  b: { era: ancient, command: x }\n"
        "  c: {}\n"
        "  d: { url: 'http://127.0.0.1/mcp', auth: { type: passthrough } }\n"
    )
    done = run_cli("check", str(file))
    assert done.returncode == 2
    said = done.stdout + done.stderr
    for part in ("listen", "threads", "unknownKey", *(f"upstreams.{m}" for m in "abcd")):
        assert part in said, f"{part} is not among the problems:\n{said}"
    assert run_cli("run", "--config", str(file)).returncode == 2


@pytest.mark.parametrize("content", ["{", "upstreams: [", "\x00", "- a\n- b\n"])
def test_check_of_files_that_do_not_parse(tmp_path: Path, content: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(content)
    done = run_cli("check", str(file))
    assert done.returncode == 2 and "broken.yaml" in done.stdout + done.stderr


def test_check_of_no_file(tmp_path: Path) -> None:
    done = run_cli("check", str(tmp_path / "none.yaml"))
    assert done.returncode == 2 and "none.yaml" in done.stdout + done.stderr


def test_check_live_connects(mocks: Mocks, tmp_path: Path) -> None:
    up, file = mocks(ModernServer()), tmp_path / "live.json"
    file.write_text(json.dumps({"upstreams": {"good": {"url": up.url}}}))
    done = run_cli("check", "--live", str(file))
    assert done.returncode == 0, done.stderr
    assert up.requests and "good" in done.stdout + done.stderr
    mounts = {"good": {"url": up.url}, "dead": {"url": "http://127.0.0.1:1/mcp"}}
    file.write_text(json.dumps({"upstreams": mounts}))
    done = run_cli("check", "--live", str(file))
    assert done.returncode != 0 and "dead" in done.stdout + done.stderr


def test_version_and_help() -> None:
    assert run_cli("version").returncode == 0
    done = run_cli("--help")
    assert done.returncode == 0 and "--config" in done.stdout
    assert run_cli("nonsense").returncode == 2


# Reload


def test_reload_adds_and_removes_mounts(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    one, two = mocks(ModernServer()), mocks(LegacyServer())
    gateway = start_gateway({"upstreams": {"one": {"url": one.url}}})
    client, legacy = clients(Modern(gateway.url)), clients(Legacy(gateway.url))
    assert "one_echo" in names(client)
    stream = legacy.listen()
    gateway.write(gateway.config | {"upstreams": {"two": {"url": two.url}}})
    gateway.signal(signal.SIGHUP)
    poll(lambda: "two_echo" in names(client) and "one_echo" not in names(client))
    assert stream.until("notifications/tools/list_changed")
    assert client.call("two_echo").text == legacy.call("two_echo").text == "{}"
    assert client.call("one_echo").code == -32602


def test_a_bad_reload_changes_nothing(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    up = mocks(ModernServer())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    client = clients(Modern(gateway.url))
    before = names(client)
    for n, bad in enumerate(({"threads": "many"}, {"upstreams": {"x": {}}}), 1):
        gateway.write(bad)
        gateway.signal(signal.SIGHUP)
        poll(lambda n=n: gateway.metric("mcp_config_reload_failures_total") == n)
    gateway.file.write_text("{ torn")
    gateway.signal(signal.SIGHUP)
    poll(lambda: gateway.metric("mcp_config_reload_failures_total") == 3)
    assert names(client) == before and client.call("up_echo").text == "{}"


def test_reload_does_not_touch_calls_in_flight(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    up, gate = mocks(ModernServer()), Gate()

    async def held(ctx: Any, arguments: Any) -> Any:
        await gate.wait()
        return text("kept")

    up.service.tool("held", held)
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    client = clients(Modern(gateway.url))
    pending = client.open("tools/call", {"name": "up_held"})
    assert gate.entered.wait(20)
    gateway.write(gateway.config | {"upstreams": {}})
    gateway.signal(signal.SIGHUP)
    poll(lambda: names(client) == [])
    gate.open()
    assert pending.finish().text == "kept"


def test_many_reloads_leak_nothing_visible(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    up = mocks(ModernServer())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    client = clients(Modern(gateway.url))
    for n in range(1, 11):
        gateway.signal(signal.SIGHUP)
        poll(lambda n=n: gateway.metric("mcp_gateway_reload_total") >= n)
        assert client.call("up_echo").text == "{}"


# Drain


def test_sigterm_lets_calls_in_flight_finish(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    up, gates = mocks(ModernServer()), [Gate(), Gate()]

    async def held(ctx: Any, arguments: Any) -> Any:
        await gates[arguments["n"]].wait()
        return text("finished")

    up.service.tool("held", held)
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    made = [clients(Modern(gateway.url)), clients(Legacy(gateway.url))]
    waiting = []
    for n, client in enumerate(made):
        params = {"name": "up_held", "arguments": {"n": n}}
        waiting.append(client.open("tools/call", params))
        assert gates[n].entered.wait(20)
    gateway.signal(signal.SIGTERM)
    poll(lambda: refused(gateway.host_port), why="the listener closes")
    for n, pending in enumerate(waiting):
        gates[n].open()
        assert pending.finish().text == "finished"
    assert gateway.wait() == 0


def refused(address: tuple[str, int]) -> bool:
    try:
        conn = Conn(address, 2)
    except OSError:
        return True
    conn.close()
    return False


def test_sigterm_when_idle_exits_0(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    gateway = start_gateway({"upstreams": {"up": {"url": mocks(LegacyServer()).url}}})
    legacy = clients(Legacy(gateway.url))
    stream = legacy.listen()
    idle = Conn(gateway.host_port)
    gateway.signal(signal.SIGTERM)
    with contextlib.suppress(Closed):
        told = list(iter(stream.next, None))
        assert not any(event.data for event in told), "streams are closed"
    assert idle.at_end()
    assert gateway.wait() == 0


def test_listen_streams_end_with_a_result(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    gateway = start_gateway({"upstreams": {"up": {"url": mocks(ModernServer()).url}}})
    stream = clients(Modern(gateway.url)).listen({"toolsListChanged": True}, "mine")
    assert stream.next()
    gateway.signal(signal.SIGTERM)
    last = stream.next()
    assert last and last.json()["id"] == "mine"
    result = last.json()["result"]
    assert result["resultType"] == "complete"
    assert result["_meta"]["io.modelcontextprotocol/subscriptionId"] == "mine"
    assert stream.next() is None
    assert gateway.wait() == 0


def test_sigterm_during_start(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"listen": "127.0.0.1:0"}))
    process = subprocess.Popen(
        [str(BIN), "run", "--config", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout and process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in (0, 1)
    process.communicate()


# Credentials


@pytest.mark.parametrize("server", [ModernServer, LegacyServer])
@pytest.mark.parametrize("kind", [Modern, Legacy])
def test_client_credentials_never_go_upstream(
    start_gateway: Start, mocks: Mocks, clients: Clients, server: type, kind: type
) -> None:
    up = mocks(server())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": SECRET, "X-Api-Token": SECRET}
    headers |= {"Proxy-Authorization": f"Basic {SECRET}"}
    client = clients(kind(gateway.url, headers=headers))
    assert client.call("up_echo").text == "{}"
    client.request("resources/read", {"uri": "demo://one/a"})
    assert up.requests
    for request in up.requests:
        assert SECRET.encode() not in request.head + request.body
        assert request.header("authorization") is None
    assert SECRET not in gateway.logs
    assert SECRET not in gateway.get("/api/upstreams").body.decode()


def test_token_from_the_environment(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    up, other = mocks(ModernServer()), mocks(LegacyServer())
    up.token = SECRET
    auth = {"type": "bearer", "tokenEnv": "UP_TOKEN"}
    mounts = {"up": {"url": up.url, "auth": auth}, "other": {"url": other.url}}
    gateway = start_gateway({"upstreams": mounts}, env={"UP_TOKEN": SECRET})
    client = clients(Modern(gateway.url, headers={"Authorization": "Bearer other"}))
    assert client.call("up_echo").text == "{}" and client.call("other_echo").text == "{}"
    assert {r.header("authorization") for r in up.requests} == {f"Bearer {SECRET}"}
    assert {r.header("authorization") for r in other.requests} == {None}
    assert SECRET not in gateway.logs
    assert SECRET not in gateway.get("/api/upstreams").body.decode()


def test_token_from_a_file_is_read_again(
    start_gateway: Start, mocks: Mocks, clients: Clients, tmp_path: Path
) -> None:
    up, file = mocks(ModernServer()), tmp_path / "token"
    up.token = SECRET
    file.write_text(f"{SECRET}\n")
    auth = {"type": "bearer", "tokenFile": str(file)}
    gateway = start_gateway({"upstreams": {"up": {"url": up.url, "auth": auth}}})
    client = clients(Modern(gateway.url))
    assert client.call("up_echo").text == "{}"
    up.token = "rotated"
    file.write_text("rotated")
    poll(lambda: "result" in client.call("up_echo").message)


def test_fixed_headers_arrive(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    up = mocks(ModernServer())
    mount = {"url": up.url, "headers": {"X-Tenant": "acme", "X-Key": "${UP_KEY}"}}
    gateway = start_gateway({"upstreams": {"up": mount}}, env={"UP_KEY": SECRET})
    assert clients(Modern(gateway.url)).call("up_echo").text == "{}"
    assert {(r.header("x-tenant"), r.header("x-key")) for r in up.requests} == {("acme", SECRET)}
    assert SECRET not in gateway.logs
