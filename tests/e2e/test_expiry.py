"""Streams end with the credential of who opened them; what they tell is judged when it is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from idp import Idp
from mcpclient import Legacy, Modern
from mocks import LegacyServer, ModernServer
from test_policy import token
from test_sse_client import SseClient
from test_subscriptions import UPDATED, URI, subscribe
from wire import Stream, http, poll


@pytest.fixture
def short() -> Iterator[Any]:
    """A token that ends within two seconds, and the issuer's configuration."""
    idp = Idp("ES256")
    yield idp.config(clockSkew="0s"), lambda: idp.token(exp=int(time.time()) + 2)
    idp.close()


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def events_until_end(stream: Stream) -> list[Any]:
    """What comes until the stream ends as a stream should; a cut raises."""
    return list(iter(stream.next, None))


def test_a_listen_stream_ends_with_its_result(
    start_gateway: Any, mocks: Any, clients: Any, short: Any
) -> None:
    config, issue = short
    gateway = start_gateway(
        {"upstreams": {"up": {"url": mocks(ModernServer()).url}}, "auth": {"jwt": config}}
    )
    stream = subscribe(clients(Modern(gateway.url, headers=bearer(issue()))))
    events = events_until_end(stream)
    assert events[-1].json()["id"] == "L"
    assert events[-1].json()["result"]["resultType"] == "complete"


def test_a_sessions_stream_ends_and_comes_back_with_a_new_token(
    start_gateway: Any, mocks: Any, clients: Any, short: Any
) -> None:
    config, issue = short
    gateway = start_gateway(
        {"upstreams": {"up": {"url": mocks(LegacyServer()).url}}, "auth": {"jwt": config}}
    )
    client = clients(Legacy(gateway.url, headers=bearer(issue())))
    events_until_end(client.listen())
    client.headers |= bearer(issue())
    again = client.listen()
    assert again.response.status == 200
    events_until_end(again)


def test_a_stream_of_the_older_transport_ends(start_gateway: Any, mocks: Any, short: Any) -> None:
    config, issue = short
    gateway = start_gateway(
        {"upstreams": {"up": {"url": mocks(LegacyServer()).url}}, "auth": {"jwt": config}}
    )
    client = SseClient(gateway.base, **bearer(issue()))
    events_until_end(client.stream)


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_who_may_not_see_a_resource_any_more_hears_nothing_of_it(
    start_gateway: Any, mocks: Any, clients: Any, era: str
) -> None:
    up = mocks(ModernServer())
    config = {
        "upstreams": {"up": {"url": up.url}},
        "admin": {"token": "root"},
        "auth": {"tokens": [token("a"), token("b")]},
        "policy": {"rules": [{"clients": ["nobody"], "names": [URI]}]},
    }
    gateway = start_gateway(config)
    make = {"modern": Modern, "legacy": Legacy}[era]
    streams = [subscribe(clients(make(gateway.url, headers=bearer(t)))) for t in "ab"]
    poll(lambda: up.notify(UPDATED, uri=URI), why="the upstream was told")
    for stream in streams:
        assert stream.until(UPDATED)["params"]["uri"] == URI
    config["policy"] = {"rules": [{"clients": ["a"], "names": [URI]}]}
    gateway.write(gateway.config | config)
    assert http(gateway.base + "/reload", "POST", bearer("root")).status == 200
    probe = clients(make(gateway.url, headers=bearer("a")))
    poll(lambda: "error" in probe.request("resources/read", {"uri": URI}).message)
    poll(lambda: up.notify(UPDATED, uri=URI))
    assert streams[1].until(UPDATED)["params"]["uri"] == URI
    up.service.tool("fresh")
    poll(lambda: up.notify("notifications/tools/list_changed"))
    told = []
    while "notifications/tools/list_changed" not in told:
        told.append(streams[0].next().json()["method"])
    assert UPDATED not in told
