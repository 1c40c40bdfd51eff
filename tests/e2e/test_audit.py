"""The audit log and what explains a decision; secrets are in neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import run_cli
from mcpclient import Modern
from mockcore import text
from mocks import ModernServer, Service
from wire import http, poll


async def _echo(_ctx: Any, arguments: Any) -> Any:
    return text(json.dumps(arguments))


async def _fail(_ctx: Any, _arguments: Any) -> Any:
    return text("no") | {"isError": True}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def audited(start_gateway: Any, mocks: Any, clients: Any, tmp_path: Path) -> Any:
    made = Service()
    made.tool("echo", _echo)
    made.tool("fail", _fail)
    made.tool("rm", _echo)
    up = mocks(ModernServer(made))
    log = tmp_path / "audit.jsonl"
    tokens = [{"token": "canary-token", "clientId": "ann", "scopes": ["mcp:admin"], "tenant": "t"}]
    config = {
        "audit": {"file": str(log)},
        "upstreams": {"up": {"url": up.url}},
        "auth": {"tokens": tokens},
        "tenants": {"t": {}},
        "policy": {"rules": [{"name": "no-rm", "names": ["*_rm"], "args": {"/f": True}}]},
    }

    def start() -> tuple[Any, Modern, Path]:
        gateway = start_gateway(config)
        client = Modern(gateway.url, headers={"Authorization": "Bearer canary-token"})
        return gateway, clients(client), log

    return start


def test_every_call_leaves_a_line_that_says_who_and_what(audited: Any) -> None:
    gateway, client, log = audited()
    client.call("up_echo", {"b": 1, "a": "canary-argument"})
    client.call("up_echo", {"a": "canary-argument", "b": 1.0})
    client.call("up_fail", {})
    client.call("up_rm", {"f": True})
    http(gateway.base + "/reload", "POST", {"Authorization": "Bearer canary-token"})
    poll(lambda: len(lines(log)) == 5, why="five lines")
    seen = lines(log)
    assert [e["event"] for e in seen] == ["call"] * 4 + ["admin"]
    assert {(e["client"], e["tenant"]) for e in seen[:4]} == {("ann", "t")}
    assert [e.get("outcome") for e in seen] == ["ok", "ok", "tool_error", "forbidden", None]
    assert [e.get("decision") for e in seen[:4]] == ["allowed"] * 3 + ["denied"]
    assert seen[3]["rule"] == "no-rm"
    assert seen[0]["target"] == "up_echo"
    assert seen[0]["arguments_sha256"] != seen[2]["arguments_sha256"]
    assert seen[0]["duration_ms"] >= 0
    assert "canary" not in log.read_text()


def test_the_chain_goes_on_over_restarts_and_shows_what_was_changed(
    audited: Any, tmp_path: Path
) -> None:
    gateway, client, log = audited()
    client.call("up_echo", {})
    gateway.stop()
    gateway, client, log = audited()
    for _ in range(3):
        client.call("up_echo", {})
    gateway.stop()
    good = run_cli("audit", "verify", str(log))
    assert good.returncode == 0, good.stdout
    assert "ok, 4 lines, 0 lost" in good.stdout
    whole = log.read_bytes().splitlines(keepends=True)
    changed = tmp_path / "changed"
    forgeries = {
        2: whole[0] + whole[1].replace(b'"outcome":"ok"', b'"outcome":"no"') + whole[2],
        3: whole[0] + whole[1] + whole[3],
        1: whole[0].replace(b'"hash":"', b'"hash":"0') + whole[1],
        4: b"".join(whole)[:-20],
    }
    for line, data in forgeries.items():
        changed.write_bytes(data)
        bad = run_cli("audit", "verify", str(changed))
        assert bad.returncode == 1
        assert f"line {line} " in bad.stdout


def test_a_file_that_is_no_audit_log_is_not_written_to(tmp_path: Path) -> None:
    log, config = tmp_path / "notes.txt", tmp_path / "c.json"
    log.write_text("dear diary\n")
    config.write_text(json.dumps({"listen": "127.0.0.1:0", "audit": {"file": str(log)}}))
    done = run_cli("run", "--config", str(config))
    assert done.returncode != 0
    assert "its last line is no line of an audit log" in done.stderr
    assert log.read_text() == "dear diary\n"


CONFIG = {
    "upstreams": {"git": {"url": "http://127.0.0.1:1/mcp", "tools": {"tags": {"rm*": "danger"}}}},
    "tenants": {"acme": {"match": {"claim": "org", "value": "acme"}}},
    "policy": {
        "rules": [
            {"name": "root", "clients": ["root"], "effect": "allow"},
            {"name": "danger", "tags": ["danger"]},
            {"name": "prod", "args": {"/env": "prod"}},
        ]
    },
}


@pytest.mark.parametrize(
    ("who", "tool", "args", "code", "said"),
    [
        ({"client": "root", "claims": {"org": "acme"}}, "git_rm", None, 0, "rule root"),
        ({"client": "x", "claims": {"org": "acme"}}, "git_rm", None, 1, "rule danger"),
        ({"client": "x", "claims": {"org": "acme"}}, "git_ls", None, 0, "rules with args"),
        ({"client": "x", "claims": {"org": "acme"}}, "git_ls", {"env": "prod"}, 1, "rule prod"),
        ({"client": "x", "claims": {"org": "acme"}}, "git_ls", {"env": 1}, 0, "default"),
        ({"client": "x", "claims": {"org": "other"}}, "git_ls", None, 1, "belongs to no tenant"),
        ({"client": "x"}, "hub_ls", None, 2, ""),
    ],
)
def test_a_decision_is_explained(
    tmp_path: Path, who: Any, tool: str, args: Any, code: int, said: str
) -> None:
    for name, value in (("c", CONFIG), ("p", who), ("a", args)):
        (tmp_path / name).write_text(json.dumps(value))
    more = ["a"] if args is not None else []
    done = run_cli("check", "--config", "c", "--explain", "p", tool, *more, cwd=tmp_path)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert said in done.stdout
