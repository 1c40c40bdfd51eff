"""Subscriptions and changes in all pairs of eras, over HTTP and stdio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import META, Legacy, Modern
from wire import poll

URI = "demo://one/a"
UPDATED = "notifications/resources/updated"
CHANGED = "notifications/tools/list_changed"
PAIRS = [(c, s) for c in ("modern", "legacy") for s in ("modern", "legacy")]


def subscribe(client: Any) -> Any:
    """The stream on which the client hears of URI and of changed tools."""
    if isinstance(client, Modern):
        stream = client.listen({"resourceSubscriptions": [URI], "toolsListChanged": True}, "L")
        ack = stream.until("notifications/subscriptions/acknowledged")["params"]
        assert ack["notifications"] == {"resourceSubscriptions": [URI], "toolsListChanged": True}
        assert ack["_meta"][f"{META}subscriptionId"] == "L"
        return stream
    stream = client.listen()
    assert client.request("resources/subscribe", {"uri": URI}).result == {}
    return stream


@pytest.mark.parametrize(("client_era", "server_era"), PAIRS)
def test_over_http(pair: Callable[..., Any], client_era: str, server_era: str) -> None:
    p = pair(client_era, server_era)
    stream = subscribe(p.client)
    poll(lambda: p.upstream.notify(UPDATED, uri=URI), why="the upstream was told")
    assert stream.until(UPDATED)["params"]["uri"] == URI
    p.upstream.service.tool("fresh")
    poll(lambda: p.upstream.notify(CHANGED), why="somebody listens")
    stream.until(CHANGED)
    assert "up_fresh" in [t["name"] for t in p.client.all("tools")]


@pytest.mark.parametrize(("client_era", "server_era"), PAIRS)
def test_over_a_shared_child(
    start_gateway: Any, stdio: Any, clients: Any, client_era: str, server_era: str
) -> None:
    mock = stdio("io", server_era)
    gateway = start_gateway({"threads": 2, "upstreams": {"io": mock.mount()}})
    client = clients((Modern if client_era == "modern" else Legacy)(gateway.url))
    stream = subscribe(client)
    told = "subscriptions/listen" if server_era == "modern" else "resources/subscribe"
    poll(lambda: [m for m in mock.messages(told) if URI in m], why="the child was told")
    client.call("io_update", {"uri": URI})
    assert stream.until(UPDATED)["params"]["uri"] == URI
    client.call("io_touch_lists", {"tool": "fresh"})
    stream.until(CHANGED)


def test_one_of_two_subscribers_leaves(pair: Callable[..., Any]) -> None:
    p = pair("modern", "legacy")
    first, second = subscribe(p.client), subscribe(p.make())
    poll(lambda: any(URI in s.subscribed for s in p.upstream.sessions.values()))
    first.close()
    p.upstream.notify(UPDATED, uri=URI)
    assert second.until(UPDATED)["params"]["uri"] == URI
    second.close()
    poll(lambda: p.upstream.service.calls("resources/unsubscribe"), why="the last one left")
    assert len(p.upstream.service.calls("resources/subscribe")) == 1


def test_a_drain_ends_streams_with_their_result(pair: Callable[..., Any]) -> None:
    p = pair("modern", "legacy")
    stream = subscribe(p.client)
    p.gateway.stop()
    last = None
    while event := stream.next():
        last = event
    assert last and last.json()["id"] == "L"
    result = last.json()["result"]
    assert result["resultType"] == "complete"
    assert result["_meta"][f"{META}subscriptionId"] == "L"
