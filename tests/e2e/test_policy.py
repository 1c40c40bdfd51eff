"""Who sees and may call what: scopes, tags, tenants, rules."""

from __future__ import annotations

import itertools
import json
import re
import signal
from typing import Any

import pytest
from mcpclient import Legacy, Modern
from mockcore import text
from mocks import ModernServer, Service
from wire import Raw, http, poll


async def _echo(_ctx: Any, arguments: Any) -> Any:
    return text(json.dumps(arguments))


def service(*names: str, **more: Any) -> Service:
    """Tools by name; more: members of their definitions, by name."""
    made = Service()
    for name in names:
        made.tool(name, _echo, **more.get(name, {}))
    return made


def token(client: str, *scopes: str, tenant: str | None = None) -> dict[str, Any]:
    out: dict[str, Any] = {"token": client, "clientId": client, "scopes": list(scopes)}
    return out | ({"tenant": tenant} if tenant else {})


ERAS = {"modern": Modern, "legacy": Legacy}


class Asker:
    """A client of either era, with a credential."""

    def __init__(self, era: str, url: str, who: str | None) -> None:
        headers = {"Authorization": f"Bearer {who}"} if who else {}
        self.client = ERAS[era](url, headers=headers)

    def names(self, what: str = "tools") -> list[str]:
        return [t["name"] for t in self.client.all(what)]

    def call(self, tool: str, **arguments: Any) -> str:
        """ "ok", "unknown", "forbidden", or the challenge's scopes."""
        reply = self.client.call(tool, arguments)
        if reply.status == 403:
            field = reply.response.header("www-authenticate") or ""
            return field.split('scope="')[1].split('"')[0]
        if "error" in reply.message:
            unknown = reply.error["message"] == f"unknown tool: {tool}"
            return "unknown" if unknown else reply.error["data"]["reason"]
        return "ok"

    def close(self) -> None:
        self.client.close()


@pytest.fixture
def asker() -> Any:
    made: list[Asker] = []

    def make(era: str, gateway: Any, who: str | None, path: str = "/mcp") -> Asker:
        made.append(Asker(era, gateway.base + path, who))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("era", ERAS)
def test_a_missing_scope_is_challenged_with_all_of_them(
    start_gateway: Any, mocks: Any, asker: Any, era: str
) -> None:
    up = mocks(ModernServer(service("read", "write")))
    mount = {"url": up.url, "tools": {"requiredScopes": {"write": "files:write files:all"}}}
    auth = {"tokens": [token("r", "base"), token("w", "base", "files:write", "files:all")]}
    gateway = start_gateway(
        {"upstreams": {"up": mount}, "auth": auth | {"requiredScopes": ["base"]}}
    )
    reader, writer = asker(era, gateway, "r"), asker(era, gateway, "w")
    assert reader.names() == ["up_read", "up_write"]
    assert reader.call("up_read") == "ok"
    assert reader.call("up_write") == "base files:write files:all"
    assert writer.call("up_write") == "ok"


@pytest.mark.parametrize("era", ERAS)
def test_who_cannot_get_a_scope_does_not_see_the_tool(
    start_gateway: Any, mocks: Any, asker: Any, era: str
) -> None:
    up = mocks(ModernServer(service("read", "write")))
    mount = {"url": up.url, "tools": {"requiredScopes": {"write": "w"}, "deny": ["none"]}}
    gateway = start_gateway({"upstreams": {"up": mount}})
    anybody = asker(era, gateway, None)
    assert anybody.names() == ["up_read"]
    assert anybody.call("up_write") == "unknown"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("env", "shown"),
    [
        ({}, "abcd"),
        ({"MCP_DISABLE_TAGS": "red"}, "bd"),
        ({"MCP_DISABLE_TAGS": "red, blue"}, "d"),
        ({"MCP_VISIBILITY_MODE": "allowlist", "MCP_ENABLE_TAGS": "blue"}, "bc"),
        (
            {
                "MCP_VISIBILITY_MODE": "allowlist",
                "MCP_ENABLE_TAGS": "blue",
                "MCP_DISABLE_TAGS": "red",
            },
            "b",
        ),
        ({"MCP_VISIBILITY_MODE": "allowlist"}, "abcd"),
        ({"MCP_VISIBILITY_MODE": "blocklist", "MCP_ENABLE_TAGS": "blue"}, "abcd"),
    ],
)
def test_tags_hide_and_show(
    start_gateway: Any, mocks: Any, asker: Any, era: str, env: dict[str, str], shown: str
) -> None:
    tags = {
        "a": {"_meta": {"_fastmcp": {"tags": ["red"]}}},
        "b": {"_meta": {"fastmcp": {"tags": ["blue", "x"]}}},
        "d": {"_meta": {"fastmcp": {"tags": ["x"]}}},
    }
    up = mocks(ModernServer(service("a", "b", "c", "d", **tags)))
    mount = {"url": up.url, "tools": {"tags": {"c": "red blue"}, "deny": ["none"]}}
    gateway = start_gateway({"upstreams": {"up": mount}}, env=env)
    who = asker(era, gateway, None)
    assert who.names() == [f"up_{t}" for t in shown]
    for tool in "abcd":
        assert who.call(f"up_{tool}") == ("ok" if tool in shown else "unknown")


def test_hidden_and_unknown_are_the_same_bytes(start_gateway: Any, mocks: Any, asker: Any) -> None:
    up = mocks(ModernServer(service("aaaa", "bbbb")))
    mount = {"url": up.url, "tools": {"tags": {"bbbb": "red"}, "deny": ["none"]}}
    gateway = start_gateway({"upstreams": {"up": mount}}, env={"MCP_DISABLE_TAGS": "red"})
    for era in ERAS:
        who = asker(era, gateway, None).client
        hidden = who.call("up_bbbb", {})
        absent = who.call("up_cccc", {})
        assert hidden.status == absent.status
        same = hidden.raw.replace(b"bbbb", b"cccc").replace(
            b'"id":%d' % hidden.message["id"], b'"id":%d' % absent.message["id"]
        )
        assert same == absent.raw
        kept = [n for n, _ in hidden.response.headers]
        assert kept == [n for n, _ in absent.response.headers]


def test_rules_decide_in_order_and_by_arguments(start_gateway: Any, mocks: Any, asker: Any) -> None:
    up = mocks(ModernServer(service("run", "drop")))
    rules = [
        {"names": ["up_drop"], "clients": ["root*"], "effect": "allow"},
        {"names": ["up_drop"]},
        {"args": {"/env": {"in": ["prod", "stage"]}}, "clients": ["dev"]},
        {"args": {"/count": {"range": [100, 1000]}}},
        {"args": {"/path": {"glob": "/etc/*"}}},
        {"args": {"/force": True}},
        {"args": {"/ticket": {"absent": True}, "/risky": {"present": True}}},
        {"args": {"/a/0/b~1c": "5"}},
        {"args": {"/a/0/b~1c": 6}},
    ]
    gateway = start_gateway(
        {
            "upstreams": {"up": {"url": up.url}},
            "auth": {"tokens": [token("dev"), token("root-1")]},
            "policy": {"rules": rules},
        }
    )
    for era in ERAS:
        dev, root = asker(era, gateway, "dev"), asker(era, gateway, "root-1")
        assert dev.names() == ["up_run"]
        assert root.names() == ["up_run", "up_drop"]
        assert dev.call("up_drop") == "unknown"
        assert root.call("up_drop") == "ok"
        assert dev.call("up_run") == "ok"
        assert dev.call("up_run", env="prod") == "forbidden"
        assert dev.call("up_run", env="Prod") == "ok"
        assert root.call("up_run", env="prod") == "ok"
        assert dev.call("up_run", count=100) == "forbidden"
        assert dev.call("up_run", count="100") == "ok"
        assert dev.call("up_run", count=1000.5) == "ok"
        assert dev.call("up_run", path="/etc/shadow") == "forbidden"
        assert dev.call("up_run", path=["/etc/shadow"]) == "ok"
        assert dev.call("up_run", force=True) == "forbidden"
        assert dev.call("up_run", force="true") == "ok"
        assert dev.call("up_run", risky=None) == "forbidden"
        assert dev.call("up_run", risky=1, ticket="T") == "ok"
        assert dev.call("up_run", a=[{"b/c": "5"}]) == "forbidden"
        assert dev.call("up_run", a=[{"b/c": 5}]) == "ok"
        assert dev.call("up_run", a=[{"b/c": 6.0}]) == "forbidden"
        assert dev.call("up_run", a=[{"b/c": "6"}]) == "ok"


def test_a_member_given_twice_does_not_slip_past_a_rule(
    start_gateway: Any, mocks: Any, asker: Any
) -> None:
    up = mocks(ModernServer(service("run")))
    gateway = start_gateway(
        {
            "upstreams": {"up": {"url": up.url}},
            "policy": {"rules": [{"args": {"/env": "prod"}}]},
        }
    )
    for era in ERAS:
        who = asker(era, gateway, None).client
        reply = who.request(
            "tools/call",
            {"name": "up_run", "arguments": Raw(b'{"env":"dev","\\u0065nv":"prod"}')},
        )
        assert reply.error["data"]["reason"] == "forbidden"
    assert not up.bodies("tools/call")


def test_annotations_count_only_when_trusted(start_gateway: Any, mocks: Any, asker: Any) -> None:
    notes = {"boom": {"annotations": {"destructiveHint": True}}}
    ups = [mocks(ModernServer(service("boom", "fine", **notes))) for _ in range(2)]
    gateway = start_gateway(
        {
            "upstreams": {
                "a": {"url": ups[0].url},
                "b": {"url": ups[1].url, "trustAnnotations": True},
            },
            "policy": {"rules": [{"annotations": {"destructive": True}}]},
        }
    )
    assert asker("modern", gateway, None).names() == ["a_boom", "a_fine", "b_fine"]


TENANTS = {
    "acme": {"match": {"clientId": "acme-*"}, "upstreams": ["up"], "tools": {"deny": ["*_rm"]}},
    "beta": {"match": [{"clientId": "beta"}], "tools": {"allow": ["other_*"]}},
    "open": {"match": {"host": "open.example.com*"}},
}


def test_tenants_see_their_own(start_gateway: Any, mocks: Any, asker: Any) -> None:
    ups = [mocks(ModernServer(service("ls", "rm"))) for _ in range(2)]
    gateway = start_gateway(
        {
            "upstreams": {"up": {"url": ups[0].url}, "other": {"url": ups[1].url}},
            "auth": {"tokens": [token("acme-1"), token("beta"), token("stranger")]},
            "tenants": TENANTS,
        }
    )
    for era in ERAS:
        acme, beta = asker(era, gateway, "acme-1"), asker(era, gateway, "beta")
        assert acme.names() == ["up_ls"]
        assert beta.names() == ["other_ls", "other_rm"]
        assert acme.call("up_ls") == "ok"
        assert acme.call("up_rm") == acme.call("other_ls") == "unknown"
        assert beta.call("up_ls") == "unknown"
        assert asker(era, gateway, "acme-1", "/t/acme/mcp").names() == ["up_ls"]


def test_a_tenants_address_is_for_its_members(start_gateway: Any, mocks: Any) -> None:
    up = mocks(ModernServer(service("ls")))
    gateway = start_gateway(
        {
            "upstreams": {"up": {"url": up.url}},
            "auth": {"tokens": [token("acme-1"), token("beta"), token("stranger")]},
            "tenants": TENANTS | {"shared": {}},
        }
    )

    def knock(path: str, who: str) -> int:
        headers = {"Authorization": f"Bearer {who}", "Accept": "text/event-stream"}
        return http(gateway.base + path, "GET", headers).status

    assert knock("/t/acme/mcp", "acme-1") == 405  # let in; GET needs a session
    assert knock("/t/acme/mcp", "beta") == 403
    assert knock("/t/acme/mcp", "stranger") == 403
    assert knock("/t/shared/mcp", "stranger") == 405
    assert knock("/t/shared/mcp", "beta") == 403
    assert knock("/mcp", "stranger") == 403
    assert knock("/t/nobody/mcp", "acme-1") == 404
    assert knock("/t//mcp", "acme-1") == 404


def test_sessions_and_cursors_stay_within_a_tenant(
    start_gateway: Any, mocks: Any, asker: Any
) -> None:
    up = mocks(ModernServer(service(*[f"t{i}" for i in range(6)])))
    gateway = start_gateway(
        {
            "pageSize": 2,
            "upstreams": {"up": {"url": up.url}},
            "auth": {"tokens": [token("c")]},
            "tenants": {"one": {}, "two": {}},
        }
    )
    one = asker("modern", gateway, "c", "/t/one/mcp").client
    two = asker("modern", gateway, "c", "/t/two/mcp").client
    page = one.request("tools/list").result
    assert len(page["tools"]) == 2
    assert one.request("tools/list", {"cursor": page["nextCursor"]}).result["tools"]
    assert two.request("tools/list", {"cursor": page["nextCursor"]}).code == -32602
    session = asker("legacy", gateway, "c", "/t/one/mcp").client
    assert session.request("ping").result == {}
    session.url = gateway.base + "/t/two/mcp"
    assert session.request("ping").status == 404


def test_instructions_name_only_what_is_seen(start_gateway: Any, mocks: Any, asker: Any) -> None:
    first, second = service("x"), service("x")
    first.instructions, second.instructions = "canary-first", "canary-second"
    ups = [mocks(ModernServer(first)), mocks(ModernServer(second))]
    gateway = start_gateway(
        {
            "upstreams": {"a": {"url": ups[0].url}, "b": {"url": ups[1].url}},
            "auth": {"tokens": [token("one", tenant="t")]},
            "tenants": {"t": {"upstreams": ["b"]}},
        }
    )
    hello = asker("legacy", gateway, "one").client.hello
    found = asker("modern", gateway, "one").client.request("server/discover").result
    for said in (json.dumps(hello), json.dumps(found)):
        assert "canary-second" in said
        assert "canary-first" not in said


MATRIX = list(itertools.product((False, True), repeat=4))


@pytest.mark.parametrize("era", ERAS)
def test_scope_tag_tenant_and_rule_together(
    start_gateway: Any, mocks: Any, asker: Any, era: str
) -> None:
    """A tool for each combination: asks for a scope, is tagged, hidden or denied."""
    names = ["".join("sghd"[i] if on else "-" for i, on in enumerate(row)) for row in MATRIX]
    names = [n.replace("-", "x") for n in names]
    up = mocks(ModernServer(service(*names)))
    mount = {
        "url": up.url,
        "namespace": "",
        "tools": {
            "requiredScopes": {"s*": "need"},
            "tags": {"?g*": "secret"},
            "deny": ["none"],
        },
    }
    tokens = [
        token(f"{tenant}-{scope}", *([scope] if scope == "need" else []), tenant=tenant)
        for tenant in ("mine", "other")
        for scope in ("need", "lack")
    ]
    gateway = start_gateway(
        {
            "upstreams": {"up": mount},
            "auth": {"tokens": tokens},
            "visibility": {"disableTags": ["secret"]},
            "tenants": {"mine": {"tools": {"deny": ["??h?"]}}, "other": {}},
            "policy": {"rules": [{"names": ["???d"], "tenants": ["mine"]}]},
        }
    )
    for tenant, scope in itertools.product(("mine", "other"), ("need", "lack")):
        who = asker(era, gateway, f"{tenant}-{scope}")
        shown = who.names()
        for name, (scoped, tagged, hidden, denied) in zip(names, MATRIX, strict=True):
            seen = not tagged and not (tenant == "mine" and (hidden or denied))
            want = "unknown" if not seen else "need" if scoped and scope == "lack" else "ok"
            assert (name in shown) == seen, (name, tenant, scope)
            assert who.call(name) == want, (name, tenant, scope)


def test_a_list_change_is_told_to_those_who_see_it(
    start_gateway: Any, mocks: Any, asker: Any
) -> None:
    ups = [mocks(ModernServer(service("x"))) for _ in range(2)]
    gateway = start_gateway(
        {
            "upstreams": {"a": {"url": ups[0].url}, "b": {"url": ups[1].url}},
            "auth": {"tokens": [token("one", tenant="one"), token("two", tenant="two")]},
            "tenants": {"one": {"upstreams": ["a"]}, "two": {"upstreams": ["b"]}},
        }
    )
    one, two = asker("legacy", gateway, "one"), asker("legacy", gateway, "two")
    assert one.names() == ["a_x"]
    assert two.names() == ["b_x"]
    streams = one.client.listen(), two.client.listen()
    ups[1].service.tool("y", _echo)
    poll(lambda: ups[1].notify("notifications/tools/list_changed"))
    assert streams[1].until("notifications/tools/list_changed")
    assert two.names() == ["b_x", "b_y"]
    ups[0].service.tool("z", _echo)
    poll(lambda: ups[0].notify("notifications/tools/list_changed"))
    # The first that the other tenant hears is of its own change.
    assert streams[0].until("notifications/tools/list_changed")
    assert one.names() == ["a_x", "a_z"]


@pytest.mark.parametrize("era", ERAS)
def test_a_reload_tells_those_who_see_a_change_and_nobody_else(
    start_gateway: Any, mocks: Any, asker: Any, era: str
) -> None:
    up = mocks(ModernServer(service("x", "y")))
    config = {
        "upstreams": {"up": {"url": up.url}},
        "admin": {"token": "root"},
        "auth": {"tokens": [token("one", tenant="one"), token("two", tenant="two")]},
        "tenants": {"one": {}, "two": {}},
    }
    gateway = start_gateway(config)
    changed = "notifications/tools/list_changed"

    def listen(client: Any) -> Any:
        if era == "legacy":
            return client.listen()
        stream = client.listen({"toolsListChanged": True})
        stream.until("notifications/subscriptions/acknowledged")
        return stream

    def reload(tenant: str, **more: Any) -> None:
        config["tenants"][tenant] = more
        gateway.write(gateway.config | config)
        fields = {"Authorization": "Bearer root"}
        assert http(gateway.base + "/reload", "POST", fields).status == 200

    askers = [asker(era, gateway, who) for who in ("one", "two")]
    assert [a.names() for a in askers] == [["up_x", "up_y"]] * 2
    streams = [listen(a.client) for a in askers]
    reload("one", rateLimit="600/min")
    reload("one", tools={"deny": ["up_y"]})
    poll(lambda: askers[0].names() == ["up_x"])
    reload("one", tools={"deny": ["up_y"]}, rateLimit="700/min")
    reload("two", tools={"deny": ["up_x"]})
    poll(lambda: askers[1].names() == ["up_y"])
    reload("one", tools={"deny": ["up_x"]})
    poll(lambda: askers[0].names() == ["up_y"])
    assert [s.until(changed)["method"] for s in (*streams, streams[0])] == [changed] * 3
    gateway.signal(signal.SIGTERM)
    rest = [e for s in streams for e in iter(s.next, None) if e.data]
    assert [e.json()["method"] for e in rest if "method" in e.json()] == []


def test_fifty_tenants_with_the_same_words_see_nothing_of_each_other(
    start_gateway: Any, mocks: Any, clients: Any
) -> None:
    """Same names, ids and arguments, results cached: every byte that comes is the tenant's own."""
    count = 50

    async def who(ctx: Any, _arguments: Any) -> Any:
        return text(f"canary-{ctx.params['name']}")

    made = Service()
    for i in range(count):
        made.tool(f"who{i:02}", who, description=f"canary-who{i:02}")
        made.resource(f"demo://own/{i:02}", f"canary-who{i:02}")
    up = mocks(ModernServer(made))
    names = [f"t{i:02}" for i in range(count)]
    gateway = start_gateway(
        {
            "pageSize": 1,
            "upstreams": {"up": {"url": up.url}},
            "cache": {"tools": {"*": {"ttl": "10m", "scope": "public"}}},
            "auth": {"tokens": [token(n, tenant=n) for n in names]},
            "tenants": {
                n: {"tools": {"allow": [f"up_who{n[1:]}"]}, "default": "deny"} for n in names
            },
            "policy": {
                "rules": [
                    {"tenants": [n], "names": [f"up_who{n[1:]}", f"demo://own/{n[1:]}"]}
                    | {"effect": "allow"}
                    for n in names
                ]
            },
        }
    )
    for era in ERAS.values():
        for i, name in enumerate(names):
            client = clients(era(gateway.url, headers={"Authorization": f"Bearer {name}"}))
            own, other = f"who{i:02}", f"who{(i + 1) % count:02}"
            seen = [
                client.request("tools/list").raw,
                client.request("resources/list").raw,
                client.call(f"up_{own}", {"same": "words"}).raw,
                client.call(f"up_{own}", {"same": "words"}).raw,
                client.request("resources/read", {"uri": f"demo://own/{own[3:]}"}).raw,
            ]
            refused = client.call(f"up_{other}", {"same": "words"})
            assert refused.error["message"] == f"unknown tool: up_{other}"
            foreign = client.request("resources/read", {"uri": f"demo://own/{other[3:]}"})
            assert "error" in foreign.message
            told = b"".join([*seen, foreign.raw]).decode()
            canaries = {told[m.start() : m.start() + 12] for m in re.finditer("canary-who", told)}
            assert canaries == {f"canary-{own}"}
            client.close()
    assert "canary" not in gateway.logs
