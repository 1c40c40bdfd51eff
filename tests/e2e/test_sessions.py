"""Sessions of legacy clients: what an id is worth, in this process and in others."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mcpclient import Legacy
from mocks import LegacyServer
from wire import poll

MakePair = Callable[..., Any]
KEY = base64.b64encode(secrets.token_bytes(32)).decode()
CAPS = {"elicitation": {}, "sampling": {}}


def adopt(gateway: Any, other: Legacy, **more: Any) -> Legacy:
    """A client that goes on with the other's session at another gateway."""
    client = Legacy(gateway.url, version=other.version, connect=False, **more)
    client.session = other.session
    client.new_id()  # used by initialize
    return client


def test_a_session_survives_the_process_that_made_it(
    start_gateway: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    config = {"sealKeys": [KEY], "upstreams": {"up": {"url": legacy_up.url}}}
    first = start_gateway(config)
    client = clients(Legacy(first.url, caps=CAPS))
    assert client.call("up_echo", {"n": 1}).text == '{"n": 1}'
    first.stop()
    second = start_gateway(config)
    again = clients(adopt(second, client))
    assert again.call("up_echo", {"n": 2}).text == '{"n": 2}'
    assert len(legacy_up.bodies("initialize")[-1]["params"]["capabilities"]) == len(CAPS)
    assert second.metric("mcp_sessions_revived_total") == 1
    assert again.delete().status == 200


def test_a_session_without_our_keys_is_404(
    start_gateway: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    upstreams = {"upstreams": {"up": {"url": legacy_up.url}}}
    client = clients(Legacy(start_gateway({"sealKeys": [KEY]} | upstreams).url))
    other = start_gateway(upstreams)
    seen = len(legacy_up.requests)
    again = clients(adopt(other, client))
    assert again.call("up_echo").status == 404
    assert again.delete().status == 404
    posted = [r for r in legacy_up.requests[seen:] if b"tools/call" in r.body]
    assert not posted


def test_capabilities_that_are_too_long_for_an_id_still_reach_the_server(
    start_gateway: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    gateway = start_gateway({"upstreams": {"up": {"url": legacy_up.url}}})
    caps = {"elicitation": {}, "experimental": {"x" * 2000: {}}}
    client = clients(Legacy(gateway.url, caps=caps))
    assert len(client.session or "") < 600
    client.call("up_echo")
    assert legacy_up.bodies("initialize")[-1]["params"]["capabilities"]["elicitation"] == {}


def test_flipped_bits_of_an_id_are_404_and_reach_no_server(
    start_gateway: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    gateway = start_gateway({"upstreams": {"up": {"url": legacy_up.url}}})
    client = clients(Legacy(gateway.url, keep=True))
    session, seen = client.session or "", len(legacy_up.requests)
    for at in range(0, len(session), 7):
        flipped = "A" if session[at] != "A" else "B"
        client.session = session[:at] + flipped + session[at + 1 :]
        assert client.call("up_echo").status == 404, at
    assert not [r for r in legacy_up.requests[seen:] if b"tools/call" in r.body]


def test_the_session_unused_for_longest_makes_room(
    start_gateway: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    config = {"maxSessions": 3, "threads": 1, "upstreams": {"up": {"url": legacy_up.url}}}
    gateway = start_gateway(config)
    first, second, third = (clients(Legacy(gateway.url)) for _ in range(3))
    for client in (first, second, third):
        client.call("up_echo")
    first.request("ping")
    assert len(legacy_up.sessions) == 4  # and that of the gateway itself
    fourth = clients(Legacy(gateway.url))
    assert second.request("ping").status == 404
    assert [c.request("ping").status for c in (first, third, fourth)] == [200] * 3
    poll(lambda: len(legacy_up.ended) == 1, why="DELETE of the evicted one's session")
    assert gateway.metric("mcp_sessions_evicted_total") == 1


def test_sessions_in_use_do_not_make_room(
    start_gateway: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    config = {"maxSessions": 1, "threads": 1, "upstreams": {"up": {"url": legacy_up.url}}}
    gateway = start_gateway(config)
    first = clients(Legacy(gateway.url))
    first.listen()
    params = {"protocolVersion": "2025-11-25", "capabilities": {}}
    second = clients(Legacy(gateway.url, connect=False))
    assert second.request("initialize", params).status == 503
    assert first.request("ping").status == 200


def test_sessions_of_clients_that_never_say_goodbye_leave_nothing_behind(
    start_gateway: Any, legacy_up: LegacyServer
) -> None:
    """A day of them, in waves: each opens streams, is told things, and goes away in the middle."""
    wave, waves, slack = 75, 4, 256 * 1024
    config = {"timeouts": {"sessionIdle": "1s"}, "upstreams": {"up": {"url": legacy_up.url}}}
    gateway = start_gateway(config)

    def visit(_: int) -> None:
        client = Legacy(gateway.url)
        client.request("resources/subscribe", {"uri": "demo://one/a"})
        client.call("up_progress", token="t")
        client.listen()
        client.open("tools/call", {"name": "up_echo", "arguments": {"much": "x" * 2000}})
        client.close()

    used: list[float] = []  # of the heap; sanitizers have one of their own
    for n in range(1, waves + 1):
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(visit, range(wave)))
        poll(lambda: gateway.metric("mcp_sessions_active") == 0, timeout=30, why="the sweep")
        poll(lambda n=n: len(legacy_up.ended) == n * wave, why="the end of the server's sessions")
        if used:
            poll(
                lambda: gateway.metric("mcp_gateway_charged_bytes") < used[0] + slack,
                why="the heap is as after the first wave",
            )
        used.append(gateway.metric("mcp_gateway_charged_bytes"))
    assert gateway.metric("mcp_open_streams") == 0


def test_a_server_that_forgot_its_session_hears_again_what_it_was_told(
    start_gateway: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    gateway = start_gateway({"upstreams": {"up": {"url": legacy_up.url}}})
    client = clients(Legacy(gateway.url))
    client.call("up_echo")
    assert client.request("logging/setLevel", {"level": "error"}).result == {}
    assert client.request("resources/subscribe", {"uri": "demo://one/a"}).result == {}
    poll(lambda: any(s.subscribed and s.level for s in legacy_up.sessions.values()))
    before = set(legacy_up.sessions)
    legacy_up.forget()
    assert client.call("up_echo", {"n": 1}).text == '{"n": 1}'

    def restored() -> bool:
        fresh = [s for k, s in legacy_up.sessions.items() if k not in before]
        return any(s.level == "error" and "demo://one/a" in s.subscribed for s in fresh)

    poll(restored, why="level and subscriptions in the new session")
    assert len([r for r in legacy_up.posts("tools/call") if b'"n":1' in r.body]) == 2
