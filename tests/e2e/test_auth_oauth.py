"""A real client finds the authorization server from the gateway's challenge, and steps up."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from authserver import AuthServer
from gatewayproc import environment
from mocks import LegacyServer, ModernServer
from test_sdk import CLIENTS, NODE, TIMEOUT

SDKS = {
    "sdk-1.29": {"sdk": "sdk"},
    "client-2-legacy": {"sdk": "client", "mode": "legacy"},
    "client-2-modern": {"sdk": "client", "mode": "2026-07-28"},
}


@pytest.fixture
def server() -> Iterator[AuthServer]:
    server = AuthServer()
    yield server
    server.close()


def run(plan: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        [NODE, str(CLIENTS / "oauth.mjs"), json.dumps(plan)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0 and done.stdout, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SDKS)
def test_a_client_discovers_authorizes_and_steps_up(
    name: str, start_gateway: Any, mocks: Any, server: AuthServer
) -> None:
    legacy, modern = mocks(LegacyServer()), mocks(ModernServer())
    scopes = {"requiredScopes": {"echo": "notes:write"}}
    gateway = start_gateway(
        {
            "auth": {
                "jwt": {"issuer": server.issuer, "jwksUri": server.jwks_url},
                "requiredScopes": ["mcp"],
            },
            "upstreams": {
                "open": {"url": legacy.url},
                "notes": {"url": modern.url, "tools": scopes},
            },
        }
    )
    server.resource = gateway.url
    calls = [("open_echo", {"text": "one"}), ("notes_echo", {"text": "two"})]
    calls.append(("notes_echo", {"text": "three"}))
    outcome = run({"url": gateway.url, "calls": calls} | SDKS[name])
    assert [json.loads(r["text"]) for r in outcome["results"]] == [args for _, args in calls]
    assert [r["authorizations"] for r in outcome["results"]] == [1, 2, 2]
    assert [set(s.split()) for s in outcome["granted"]] == [{"mcp"}, {"mcp", "notes:write"}]
    assert len(server.clients) == 1 and len(server.asked) == 2
    assert not server.violations
