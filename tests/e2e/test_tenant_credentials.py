"""Tenants with credentials of their own for an upstream: nothing of one serves another."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import run_cli
from mcpclient import Legacy, Modern
from mockcore import text
from mockhttp import Connection, Request
from mocks import LegacyServer, ModernServer, Service
from wire import http, poll

TENANTS = ["acme", "bolt", "plain"]
OWN = {"acme": "Bearer key-acme", "bolt": "Bearer key-bolt", "plain": "Bearer key-default"}
ERAS = {"modern": Modern, "legacy": Legacy}


class Recorder:
    """What was shown on each connection, in each session and with each call."""

    def __init__(self) -> None:
        self.connections: dict[Any, set[str | None]] = {}
        self.sessions: dict[str, set[str | None]] = {}
        self.calls: set[tuple[str, str | None, str | None]] = set()

    def note(self, request: Request, conn: Connection) -> None:
        shown = request.header("authorization")
        self.connections.setdefault(conn, set()).add(shown)
        if session := request.header("mcp-session-id"):
            self.sessions.setdefault(session, set()).add(shown)
        if found := re.search(rb'"caller":"(\w+)"', request.body):
            self.calls.add((found[1].decode(), shown, request.header("x-org")))


class RecordingModern(ModernServer):
    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.seen = Recorder()

    async def respond(self, request: Request, conn: Connection) -> None:
        self.seen.note(request, conn)
        await super().respond(request, conn)


class RecordingLegacy(LegacyServer):
    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.seen = Recorder()

    async def respond(self, request: Request, conn: Connection) -> None:
        self.seen.note(request, conn)
        await super().respond(request, conn)


SERVERS = {"modern": RecordingModern, "legacy": RecordingLegacy}


def service() -> Service:
    made = Service()

    async def who(_ctx: Any, arguments: Any) -> Any:
        return text(arguments["caller"])

    made.tool("who", who)
    return made


def config(url: str, **mount: Any) -> dict[str, Any]:
    def own(name: str) -> dict[str, Any]:
        auth = {"type": "bearer", "token": f"key-{name}"}
        return {"up": {"auth": auth, "headers": {"X-Org": name}}}

    return {
        "upstreams": {
            "up": {
                "url": url,
                "auth": {"type": "bearer", "token": "key-default"},
                "headers": {"X-Org": "default"},
            }
            | mount
        },
        "admin": {"token": "root"},
        "auth": {"tokens": [{"token": f"in-{t}", "clientId": t, "tenant": t} for t in TENANTS]},
        "tenants": {
            "acme": {"upstreams": own("acme")},
            "bolt": {"upstreams": own("bolt")},
            "plain": {"upstreams": ["*"]},
        },
    }


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("era", ERAS)
def test_each_tenants_calls_show_its_own_credential_only(
    start_gateway: Any, mocks: Any, clients: Any, era: str, server: str
) -> None:
    up = mocks(SERVERS[server](service()))
    gateway = start_gateway(config(up.url))

    def work(tenant: str) -> None:
        client = clients(ERAS[era](gateway.url, headers={"Authorization": f"Bearer in-{tenant}"}))
        for _ in range(20):
            reply = client.call("up_who", {"caller": tenant})
            assert reply.result["content"][0]["text"] == tenant

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(work, t) for t in TENANTS * 4]:
            done.result()
    org = {"acme": "acme", "bolt": "bolt", "plain": "default"}
    assert up.seen.calls == {(t, OWN[t], org[t]) for t in TENANTS}
    assert all(len(shown) == 1 for shown in up.seen.connections.values())
    assert all(len(shown) == 1 for shown in up.seen.sessions.values())
    kept = len(up.seen.connections)
    assert kept < 12 * 20  # connections were used again


@pytest.mark.parametrize("era", ERAS)
def test_a_shared_session_is_not_shared_with_a_tenant_of_its_own(
    start_gateway: Any, mocks: Any, clients: Any, era: str
) -> None:
    up = mocks(RecordingLegacy(service()))
    gateway = start_gateway(config(up.url, session="shared"))
    for tenant in TENANTS * 2:
        client = clients(ERAS[era](gateway.url, headers={"Authorization": f"Bearer in-{tenant}"}))
        assert client.call("up_who", {"caller": tenant}).result["content"][0]["text"] == tenant
    assert {(who, shown) for who, shown, _ in up.seen.calls} == set(OWN.items())
    assert all(len(shown) == 1 for shown in up.seen.sessions.values())


def test_a_credential_that_changes_is_used_from_then_on(
    start_gateway: Any, mocks: Any, clients: Any
) -> None:
    up = mocks(RecordingModern(service()))
    wanted = config(up.url)
    gateway = start_gateway(wanted)
    client = clients(Modern(gateway.url, headers={"Authorization": "Bearer in-acme"}))
    client.call("up_who", {"caller": "acme"})
    wanted["tenants"]["acme"]["upstreams"]["up"]["auth"]["token"] = "key-new"
    gateway.write(gateway.config | wanted)
    assert http(gateway.base + "/reload", "POST", {"Authorization": "Bearer root"}).status == 200

    def shown() -> set[str | None]:
        client.call("up_who", {"caller": "acme"})
        return {shown for _, shown, _ in up.seen.calls}

    poll(lambda: "Bearer key-new" in shown(), why="the new credential")
    up.seen.calls.clear()
    assert shown() == {"Bearer key-new"}
    assert "key-" not in gateway.logs


@pytest.mark.parametrize(
    ("upstreams", "said"),
    [
        ({"nope": {}}, "tenants.acme.upstreams.nope: is no upstream"),
        ({"up": {"url": "http://x"}}, "only auth and headers"),
        ({"up": {"auth": {"type": "bearer"}}}, "has no token: write tokenEnv"),
        ({"pipe": {"headers": {"X": "y"}}}, "is not spoken to over HTTP"),
    ],
)
def test_what_a_tenant_cannot_have_is_said(tmp_path: Path, upstreams: Any, said: str) -> None:
    wanted = config("http://127.0.0.1:9/mcp")
    wanted["upstreams"]["pipe"] = {"command": "cat"}
    wanted["tenants"]["acme"]["upstreams"] = upstreams
    file = tmp_path / "headgate.yaml"
    file.write_text(json.dumps(wanted))
    done = run_cli("check", "--config", str(file))
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
