"""The merged lists: every entry once, in order, under a name that leads back to its owner, whatever
the other upstreams do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import Client, Legacy, Modern
from mockcore import Service, demo, text
from mockhttp import HttpMock
from mocks import HangingServer, LegacyServer, ModernServer
from wire import Conn, poll

Start = Callable[..., Any]
Clients = Callable[[Client], Any]
Mocks = Callable[[HttpMock], Any]


def named(*tools: str, name: str = "mock", **more: Any) -> Service:
    """A service of tools that say whose they are."""
    service = Service(name, **more)

    async def say(ctx: Any, arguments: Any) -> Any:
        return text(f"{name}:{ctx.params['name']}")

    for tool in tools:
        service.tool(tool, say)
    return service


def names(client: Any) -> list[str]:
    return [t["name"] for t in client.all("tools")]


@pytest.mark.parametrize("server", [ModernServer, LegacyServer])
def test_2500_tools_on_25_pages(
    start_gateway: Start, mocks: Mocks, clients: Clients, server: type
) -> None:
    big = mocks(server(named(*[f"t{n:04}" for n in range(2500)], page_size=100)))
    gateway = start_gateway({"upstreams": {"big": {"url": big.url}}})
    want = [f"big_t{n:04}" for n in range(2500)]
    for client in (Legacy(gateway.url), Modern(gateway.url)):
        assert names(clients(client)) == want
    first = Modern(gateway.url).request("tools/list").result
    assert len(first["tools"]) < 2500 and first["nextCursor"]
    assert len(big.bodies("tools/list")) == 25, "each page was fetched once"
    assert clients(Modern(gateway.url)).call("big_t2499").text == "mock:t2499"


def test_cursors_are_sealed(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    big = mocks(ModernServer(named(*[f"t{n}" for n in range(2100)])))
    gateway = start_gateway({"upstreams": {"big": {"url": big.url}}})
    client = clients(Modern(gateway.url))
    cursor = client.request("tools/list").result["nextCursor"]
    for bad in (cursor[:-2], cursor + "A", "page-1", "", "A" * 5000):
        assert client.request("tools/list", {"cursor": bad}).code == -32602, bad
    assert client.request("prompts/list", {"cursor": cursor}).code == -32602
    assert client.request("tools/list", {"cursor": cursor}).result["tools"]


def test_twelve_upstreams_in_mount_order(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    order = [f"m{n}" for n in (7, 2, 11, 0, 5, 9, 1, 3, 10, 4, 8, 6)]
    servers = {}
    for n, name in enumerate(order):
        servers[name] = mocks((LegacyServer if n % 2 else ModernServer)(named("b", "a", name=name)))
    gateway = start_gateway({"upstreams": {n: {"url": s.url} for n, s in servers.items()}})
    want = [f"{name}_{tool}" for name in order for tool in ("b", "a")]
    client = clients(Modern(gateway.url))
    assert names(client) == names(clients(Legacy(gateway.url))) == want
    assert [client.call(w).text for w in want] == [w.replace("_", ":") for w in want]


def test_dead_and_hanging_upstreams_spoil_nothing(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    hanging, alive = mocks(HangingServer()), mocks(ModernServer(demo()))
    upstreams = {
        "dead": {"url": "http://127.0.0.1:1/mcp"},
        "hanging": {"url": hanging.url},
        "gone": {"command": "/nonexistent/server"},
        "alive": {"url": alive.url},
    }
    gateway = start_gateway({"upstreams": upstreams})
    for client in (clients(Modern(gateway.url)), clients(Legacy(gateway.url))):
        assert "alive_echo" in names(client)
        assert client.call("alive_echo").text == "{}"
        for mount in ("dead", "gone"):
            reply = client.call(f"{mount}_x")
            assert reply.code in (-32602, -32603) and reply.status == 200
    assert gateway.get("/readyz").status == 200
    states = {n: json.dumps(gateway.upstream(n)) for n in upstreams}
    assert "127.0.0.1:1" in states["dead"] or "refused" in states["dead"]


def test_lists_survive_a_dying_upstream(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    dying, alive = mocks(ModernServer(named("x"))), mocks(ModernServer(named("y")))
    gateway = start_gateway(
        {"upstreams": {"dying": {"url": dying.url}, "alive": {"url": alive.url}}}
    )
    client = clients(Modern(gateway.url))
    assert names(client) == ["dying_x", "alive_y"]
    dying.stop()
    reply = client.call("dying_x")
    assert reply.code == -32603 and reply.error["data"]["reason"] == "upstream_unavailable"
    assert names(client) == ["dying_x", "alive_y"], "the last good entries are served"


def test_an_upstream_that_comes_later_is_listed(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    late = ModernServer(named("x"))
    late.start()
    late.stop()
    gateway = start_gateway({"upstreams": {"late": {"url": late.url}}})
    client = clients(Modern(gateway.url))
    assert names(client) == []
    mocks(late)
    poll(lambda: names(client) == ["late_x"], why="the gateway tries again")


def test_401_is_shown_as_needs_authorization(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    closed, alive = mocks(ModernServer()), mocks(ModernServer(named("y")))
    closed.token = "never-given"
    upstreams = {"closed": {"url": closed.url}, "alive": {"url": alive.url}}
    gateway = start_gateway({"upstreams": upstreams})
    client = clients(Modern(gateway.url))
    assert names(client) == ["alive_y"]
    poll(lambda: "needs authorization" in json.dumps(gateway.upstream("closed")))
    reply = client.call("closed_echo")
    assert reply.status == 200 and "error" in reply.message
    assert reply.response.header("www-authenticate") is None


# Names


def test_allow_deny_rename(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    tools = ("get_a", "get_b", "set_a", "delete_a", "delete_b")
    up = mocks(ModernServer(named(*tools)))
    mounts = {
        "only": {"url": up.url, "tools": {"allow": ["get_*"]}},
        "less": {"url": up.url, "tools": {"deny": ["delete_*"]}},
        "both": {"url": up.url, "tools": {"allow": ["*_a"], "deny": ["delete_*"]}},
        "other": {"url": up.url, "tools": {"allow": ["set_a"], "rename": {"set_a": "configure"}}},
    }
    client = clients(Modern(start_gateway({"upstreams": mounts}).url))
    assert names(client) == [
        *("only_get_a", "only_get_b"),
        *("less_get_a", "less_get_b", "less_set_a"),
        *("both_get_a", "both_set_a"),
        "configure",
    ]
    assert client.call("configure").text == "mock:set_a"
    for hidden in ("only_set_a", "less_delete_a", "both_get_b", "other_set_a", "other_get_a"):
        assert client.call(hidden).code == -32602, hidden
    assert [c["name"] for c in up.service.calls()] == ["set_a"]


def test_unlisted_tools_of_unruled_mounts_are_tried(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    service = named("listed")
    service.handlers["secret_door"] = service.handlers["listed"]
    up = mocks(ModernServer(service))
    client = clients(Modern(start_gateway({"upstreams": {"up": {"url": up.url}}}).url))
    assert client.call("up_secret_door").text == "mock:secret_door"


def test_names_with_the_separator_in_them(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    one, two = mocks(ModernServer(named("b_c"))), mocks(ModernServer(named("a_b_c", name="two")))
    mounts = {"two": {"url": two.url, "namespace": ""}, "a": {"url": one.url}}
    client = clients(Modern(start_gateway({"upstreams": mounts}).url))
    listed = names(client)
    assert len(set(listed)) == 2 and "a_b_c" in listed
    assert client.call("a_b_c").text == "mock:b_c", "the prefix is its mount's own"
    assert {client.call(n).text for n in listed} == {"mock:b_c", "two:a_b_c"}


def test_long_names_get_a_stable_hash(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    long = ["x" * 70 + suffix for suffix in ("one", "two")] + ["y" * 128, "fits"]
    up = mocks(ModernServer(named(*long)))
    config = {"upstreams": {"up": {"url": up.url}}}
    client = clients(Modern(start_gateway(config).url))
    listed = names(client)
    assert len(set(listed)) == 4 and all(len(n) <= 64 for n in listed)
    assert [client.call(n).text for n in listed] == [f"mock:{n}" for n in long]
    assert names(clients(Modern(start_gateway(config).url))) == listed


def test_colliding_names_stay_reachable(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    first = mocks(ModernServer(named("same", "first", name="first")))
    second = mocks(ModernServer(named("same", "second", name="second")))
    mounts = {n: {"url": s.url, "namespace": ""} for n, s in (("a", first), ("b", second))}
    client = clients(Modern(start_gateway({"upstreams": mounts}).url))
    listed = names(client)
    assert listed[:2] == ["same", "first"] and listed[3] == "second"
    assert listed[2].startswith("same_") and len(set(listed)) == 4
    said = [client.call(n).text for n in listed]
    assert said == ["first:same", "first:first", "second:same", "second:second"]


def test_names_do_not_change_when_a_mount_is_away(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    first = mocks(ModernServer(named("same", name="first")))
    second = mocks(ModernServer(named("same", name="second")))
    mounts = {n: {"url": s.url, "namespace": ""} for n, s in (("a", first), ("b", second))}
    client = clients(Modern(start_gateway({"upstreams": mounts}).url))
    before = names(client)
    first.stop()
    assert client.call("same").code == -32603, "never the other mount's tool of that name"
    assert names(client) == before


# Resources


def uris(client: Any) -> list[str]:
    return [r["uri"] for r in client.all("resources")]


def shared(name: str) -> Service:
    service = Service(name)
    for uri in ("demo://one/a", "https://x.example/y?z=1", "ui://app/page", "memo:note"):
        service.resource(uri, f"{uri} of {name}")
    return service


def test_uris_that_two_mounts_share(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    one, two = mocks(ModernServer(shared("one"))), mocks(LegacyServer(shared("two")))
    mounts = {"one": {"url": one.url}, "two": {"url": two.url}}
    client = clients(Modern(start_gateway({"upstreams": mounts}).url))
    listed = uris(client)
    assert listed == [
        *("demo://one/a", "https://x.example/y?z=1", "ui://app/page", "memo:note"),
        "demo://two/one/a",
        "headgate://two/https%3A%2F%2Fx.example%2Fy%3Fz%3D1",
        "headgate://two/ui%3A%2F%2Fapp%2Fpage",
        "headgate://two/memo%3Anote",
    ]
    for n, uri in enumerate(listed):
        contents = client.request("resources/read", {"uri": uri}).result["contents"]
        assert contents[0]["text"].endswith("of one" if n < 4 else "of two")
        assert contents[0]["uri"] == uri, "the answer names what was asked for"
    assert {p["uri"] for p in two.service.calls("resources/read")} == set(listed[:4])


def test_prefixed_uris_by_configuration(
    start_gateway: Start, mocks: Mocks, clients: Clients
) -> None:
    service = demo()
    up = mocks(ModernServer(service))
    mount = {"url": up.url, "resourceUris": "prefix"}
    client = clients(Modern(start_gateway({"upstreams": {"up": mount}}).url))
    assert uris(client) == ["demo://up/one/a", "demo://up/one/b"]
    templates = client.all("resourceTemplates")
    assert templates[0]["uriTemplate"] == "demo://up/items/{id}"
    read = client.request("resources/read", {"uri": "demo://up/items/4"}).result["contents"]
    assert read[0] == {
        "uri": "demo://up/items/4",
        "mimeType": "text/plain",
        "text": "item 4 of mock",
    }
    links = client.call("up_links").result["content"]
    assert links[0]["uri"] == links[1]["resource"]["uri"] == "demo://up/one/a"


# Pages of upstreams


@pytest.mark.parametrize("server", [ModernServer, LegacyServer])
def test_an_empty_cursor_is_a_cursor(
    start_gateway: Start, mocks: Mocks, clients: Clients, server: type
) -> None:
    service = named(*[f"t{n}" for n in range(9)], page_size=2)
    service.empty_cursor = True
    up = mocks(server(service))
    client = clients(Legacy(start_gateway({"upstreams": {"up": {"url": up.url}}}).url))
    assert names(client) == [f"up_t{n}" for n in range(9)]


def test_a_loop_of_cursors_ends(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    service = named("a", "b", "c", page_size=1)
    service.cursor_loop = True
    looping, alive = mocks(ModernServer(service)), mocks(ModernServer(named("y")))
    mounts = {"loop": {"url": looping.url}, "alive": {"url": alive.url}}
    client = clients(Modern(start_gateway({"upstreams": mounts}).url))
    listed = names(client)
    assert listed[-1] == "alive_y" and len(set(listed)) == len(listed)
    assert len(looping.bodies("tools/list")) <= 1000


def test_connections_are_kept(start_gateway: Start, mocks: Mocks, clients: Clients) -> None:
    up = mocks(ModernServer())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    client = clients(Modern(gateway.url, keep=True))
    client.call("up_echo")
    before = up.accepted
    for _ in range(50):
        client.call("up_echo")
    assert up.accepted - before <= 2, "upstream connections are pooled"
    assert isinstance(client._idle, Conn) and len(client.opened) >= 1
