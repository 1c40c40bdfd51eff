"""Rate limits: what is counted together, what a refused call gets, and who is told apart."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mcpclient import Client, Legacy, Modern, Reply
from mockhttp import HttpMock
from mocks import LegacyServer, ModernServer
from wire import poll

Start = Callable[..., Any]
Clients = Callable[[Client], Any]
Mocks = Callable[[HttpMock], Any]
NEVER = "0/min"


@pytest.fixture
def limited(start_gateway: Start, mocks: Mocks) -> Callable[..., tuple[Any, Any]]:
    """limited(limits, …) → a gateway with them before one upstream called "up", and that."""

    def make(limits: dict[str, Any], **more: Any) -> tuple[Any, Any]:
        server = mocks(more.pop("server", None) or ModernServer())
        config = {"upstreams": {"up": {"url": server.url}}, "limits": limits}
        return start_gateway(config | more.pop("config", {}), **more), server

    return make


def is_refused(reply: Reply) -> bool:
    return "dev.headgate/rateLimit" in reply.result.get("_meta", {})


def admitted(client: Any, tool: str, n: int) -> int:
    return sum(not is_refused(client.call(tool)) for _ in range(n))


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_refused_call_gets_a_result_that_says_when_to_come_back(
    limited: Any, clients: Clients, era: str
) -> None:
    gateway, server = limited({"default": "2/h"})
    client = clients((Modern if era == "modern" else Legacy)(gateway.url))
    assert not is_refused(client.call("up_echo")) and not is_refused(client.call("up_echo"))
    reply = client.call("up_echo", {"x": 1})
    assert reply.result["isError"] is True
    assert "up_echo" in reply.text and "2 per hour" in reply.text
    wait = reply.result["_meta"]["dev.headgate/retryAfter"]
    assert 0 < wait <= 3600 and f"{wait} seconds" in reply.text
    assert reply.result["_meta"]["dev.headgate/rateLimit"] == {
        "name": "default",
        "limit": 2,
        "windowSeconds": 3600,
    }
    assert reply.status == 200 and reply.response.header("retry-after") == str(wait)
    assert ("resultType" in reply.result) == (era == "modern")
    assert len(server.service.calls()) == 2
    assert gateway.metric("mcp_rate_limited_total", limit="default") == 1
    assert gateway.metric("mcp_calls_answered_total") == 3


def test_each_tool_has_a_window_and_eras_share_it(limited: Any, clients: Clients) -> None:
    gateway, _ = limited({"default": "3/h"})
    modern, legacy = clients(Modern(gateway.url)), clients(Legacy(gateway.url))
    assert admitted(modern, "up_echo", 2) == 2
    assert admitted(legacy, "up_echo", 4) == 1
    assert admitted(modern, "up_structured", 4) == 3


def test_the_most_particular_limit_counts(limited: Any, clients: Clients) -> None:
    gateway, _ = limited(
        {"default": "1/h", "perTool": {"up_echo": "2/h", "structured": "3/h"}},
        env={"MCP_RATE_LIMIT_UP_ECHO": "4/h"},
    )
    client = clients(Modern(gateway.url))
    assert admitted(client, "up_echo", 6) == 4
    assert admitted(client, "up_structured", 6) == 3
    assert admitted(client, "up_progress", 6) == 1


def test_a_limit_of_none_refuses_always(limited: Any, clients: Clients) -> None:
    gateway, server = limited({"perTool": {"up_echo": NEVER}})
    reply = clients(Modern(gateway.url)).call("up_echo")
    assert is_refused(reply) and "dev.headgate/retryAfter" not in reply.result["_meta"]
    assert reply.response.header("retry-after") is None and not server.service.calls()


def test_all_rules_that_match_count_and_none_when_one_refuses(
    limited: Any, clients: Clients
) -> None:
    rules = [
        {"name": "both", "match": {"tools": ["up_echo", "up_str*"]}, "per": [], "rate": "4/h"},
        {"name": "echo", "match": {"tools": ["*_echo"]}, "rate": "3/h"},
    ]
    gateway, _ = limited({"rules": rules})
    client = clients(Modern(gateway.url))
    assert admitted(client, "up_echo", 5) == 3
    # The refused ones did not count in the other window: one place is left there.
    assert admitted(client, "up_structured", 3) == 1
    assert gateway.metric("mcp_rate_limited_total", limit="echo") == 2
    assert gateway.metric("mcp_rate_limited_total", limit="both") == 2
    assert admitted(client, "up_progress", 5) == 5


def test_more_rules_than_one_decision_holds(limited: Any, clients: Clients) -> None:
    rules = [{"rate": f"{100 - i}/h"} for i in range(19)] + [{"rate": "2/h", "name": "last"}]
    gateway, _ = limited({"rules": rules})
    assert admitted(clients(Modern(gateway.url)), "up_echo", 5) == 2
    assert gateway.metric("mcp_rate_limited_total", limit="last") == 3


def test_prompts_and_resources_are_limited_by_rules(limited: Any, clients: Clients) -> None:
    rules = [{"match": {"methods": ["prompts/get", "resources/read"]}, "rate": "1/h"}]
    gateway, _ = limited({"rules": rules, "default": "100/h"})
    for client in (clients(Modern(gateway.url)), clients(Legacy(gateway.url))):
        first = isinstance(client, Modern)
        for method, params in (
            ("prompts/get", {"name": "up_greet"}),
            ("resources/read", {"uri": "demo://one/a"}),
            ("resources/read", {"uri": "demo://items/7"}),
        ):
            if first:
                assert client.request(method, params).result
            reply = client.request(method, params)
            assert reply.code == -32603 and reply.error["data"]["reason"] == "rate_limited"
            assert 0 < reply.error["data"]["retryAfter"] <= 3600 and reply.status == 200
            assert reply.response.header("retry-after")
    assert admitted(clients(Modern(gateway.url)), "up_echo", 3) == 3


def test_invented_names_share_one_window(limited: Any, clients: Clients) -> None:
    gateway, server = limited({"default": "3/h"})
    client = clients(Modern(gateway.url))
    replies = [client.call(f"up_invented{i}") for i in range(6)]
    assert [("error" in r.message) for r in replies] == [True] * 3 + [False] * 3
    assert all(is_refused(r) for r in replies[3:])
    assert len(server.service.calls()) == 3


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_refusal_can_be_http_429(limited: Any, clients: Clients, era: str) -> None:
    gateway, _ = limited({"default": "1/h", "response": "429"})
    client = clients((Modern if era == "modern" else Legacy)(gateway.url))
    client.call("up_echo")
    reply = client.call("up_echo")
    assert reply.status == 429 and reply.code == -32603
    data = reply.error["data"]
    assert data["reason"] == "rate_limited" and data["rateLimit"]["limit"] == 1
    assert reply.response.header("retry-after") == str(data["retryAfter"])


def test_a_refusal_on_an_event_stream(limited: Any, clients: Clients) -> None:
    gateway, _ = limited({"default": "1/h"})
    client = clients(Modern(gateway.url, headers={}))
    client.call("up_echo")
    reply = client.call("up_echo", headers={"Accept": "text/event-stream"})
    assert is_refused(reply) and reply.response.is_sse and reply.response.header("retry-after")


def test_callers_without_a_name_are_told_apart_by_address(limited: Any, clients: Clients) -> None:
    gateway, _ = limited(
        {"rules": [{"per": ["principal"], "rate": "2/h"}]},
        config={"trustedProxies": ["127.0.0.0/8"]},
    )

    def calls(**headers: str) -> int:
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        return admitted(clients(Modern(gateway.url, headers=named)), "up_echo", 3)

    assert calls() == 2  # the proxy itself
    assert calls(X_Forwarded_For="198.51.100.7") == 2
    assert calls(X_Forwarded_For="1.2.3.4, 198.51.100.7") == 0
    assert calls(X_Forwarded_For="198.51.100.8, 127.0.0.9") == 2
    assert calls(Forwarded='for="[2001:db8:1:2:3::4]:80"') == 2
    assert calls(Forwarded='for="[2001:db8:1:2:ffff::1]"') == 0


def test_forwarded_fields_of_strangers_change_nothing(limited: Any, clients: Clients) -> None:
    gateway, _ = limited({"rules": [{"per": ["principal"], "rate": "2/h"}]})
    for i in range(4):
        client = clients(Modern(gateway.url, headers={"X-Forwarded-For": f"198.51.100.{i}"}))
        assert admitted(client, "up_echo", 1) == (i < 2)


def test_many_at_once_are_admitted_exactly(limited: Any, clients: Clients) -> None:
    gateway, server = limited({"default": "50/h"}, config={"threads": 2})
    with ThreadPoolExecutor(20) as pool:
        run = [
            pool.submit(lambda: admitted(clients(Modern(gateway.url, keep=True)), "up_echo", 10))
            for _ in range(20)
        ]
        assert sum(f.result() for f in run) == 50
    assert len(server.service.calls()) == 50


def test_a_reload_changes_limits(limited: Any, clients: Clients) -> None:
    gateway, _ = limited({"default": "1/h"})
    client = clients(Modern(gateway.url))
    assert admitted(client, "up_echo", 2) == 1
    gateway.write(gateway.config | {"limits": {"default": "3/h"}})
    version = gateway.metric("mcp_gateway_snapshot_version")
    gateway.signal(signal.SIGHUP)
    poll(lambda: gateway.metric("mcp_gateway_snapshot_version") > version)
    assert admitted(client, "up_echo", 5) == 2


def test_a_malformed_rate_stops_the_start(limited: Any) -> None:
    with pytest.raises(AssertionError, match="limits.default: 'often' is not a rate"):
        limited({"default": "often"})


def test_a_legacy_upstream_is_limited_alike(limited: Any, clients: Clients) -> None:
    gateway, server = limited({"default": "2/h"}, server=LegacyServer())
    assert admitted(clients(Legacy(gateway.url)), "up_echo", 3) == 2
    assert admitted(clients(Modern(gateway.url)), "up_echo", 3) == 0
    assert len(server.service.calls()) == 2


def tokens(*names: str) -> dict[str, Any]:
    return {"tokens": [{"token": name, "clientId": name} for name in names]}


def test_each_caller_and_each_tenant_has_its_windows(limited: Any, clients: Clients) -> None:
    rules = [
        {"match": {"tools": ["up_echo"]}, "per": ["principal"], "rate": "2/h"},
        {"match": {"tools": ["up_structured"]}, "rate": "3/h"},
        {"match": {"tools": ["up_links"], "tenants": ["beta"]}, "rate": "1/h"},
    ]
    tenants = {"acme": {"match": {"clientId": "acme-*"}}, "beta": {"match": {"clientId": "beta"}}}
    auth = tokens("acme-1", "acme-2", "beta")
    gateway, _ = limited({"rules": rules}, config={"auth": auth, "tenants": tenants})

    def calls(name: str, tool: str) -> int:
        client = clients(Modern(gateway.url, headers={"Authorization": f"Bearer {name}"}))
        return admitted(client, tool, 4)

    names = ("acme-1", "acme-2", "beta")
    assert [calls(name, "up_echo") for name in names] == [2, 2, 2]
    assert [calls(name, "up_structured") for name in names] == [3, 0, 3]
    assert [calls(name, "up_links") for name in names] == [4, 4, 1]


def test_a_tenants_rate_is_for_all_its_calls(limited: Any, clients: Clients) -> None:
    tenants = {
        "acme": {"match": {"clientId": "acme-*"}, "rateLimit": "3/h"},
        "beta": {"match": {"clientId": "beta"}},
    }
    auth = tokens("acme-1", "acme-2", "beta")
    gateway, _ = limited({}, config={"auth": auth, "tenants": tenants})

    def client(name: str) -> Any:
        return clients(Modern(gateway.url, headers={"Authorization": f"Bearer {name}"}))

    assert admitted(client("acme-1"), "up_echo", 2) == 2
    assert client("acme-1").request("resources/read", {"uri": "demo://one/a"}).result
    reply = client("acme-2").call("up_structured")
    assert is_refused(reply) and "3 per hour for all calls of this tenant" in reply.text
    assert reply.result["_meta"]["dev.headgate/rateLimit"]["limit"] == 3
    refused = client("acme-2").request("prompts/get", {"name": "up_greet"})
    assert refused.error["data"]["reason"] == "rate_limited"
    assert admitted(client("beta"), "up_echo", 5) == 5


def test_a_local_tool_says_its_own_limit(
    start_gateway: Start, clients: Clients, tmp_path: Path
) -> None:
    lines = '__rate_limit__ = "2/hour"\n\ndef add(a: int, b: int) -> int:\n    return a + b\n'
    (tmp_path / "work" / "tools").mkdir(parents=True)
    (tmp_path / "work" / "tools" / "sums.py").write_text(lines)
    local = {"inline": str(tmp_path / "work")}
    gateway = start_gateway({"local": local, "limits": {"default": "9/h"}})
    client = clients(Modern(gateway.url))
    tool = poll(lambda: next((t for t in client.all("tools") if "add" in t["name"]), None))
    assert "dev.headgate/tool" not in json.dumps(tool)
    replies = [client.call(tool["name"], {"a": 1, "b": n}) for n in range(3)]
    assert [is_refused(r) for r in replies] == [False, False, True]


def test_a_rule_of_the_policy_says_how_often_a_caller_may(limited: Any, clients: Clients) -> None:
    rule = {"name": "some", "names": ["up_echo", "up_links"], "effect": "allow", "limit": "2/h"}
    more = {"auth": tokens("one", "two"), "policy": {"rules": [rule]}}
    gateway, _ = limited({}, config=more)
    for name in ("one", "two"):
        client = clients(Modern(gateway.url, headers={"Authorization": f"Bearer {name}"}))
        assert admitted(client, "up_echo", 1) == 1
        assert admitted(client, "up_links", 3) == 1
        reply = client.call("up_echo")
        assert reply.result["_meta"]["dev.headgate/rateLimit"]["name"] == "some"
        assert "by what the policy allows" in reply.text
        assert admitted(client, "up_structured", 3) == 3
