"""Calls that take long and say nothing: their streams do not look idle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mockcore import Service, demo, text
from mockhttp import Gate
from wire import poll

MakePair = Callable[..., Any]
SOON = {"timeouts": {"heartbeat": "100ms"}}
ERAS = ("legacy", "modern")


def slow(gate: Gate) -> Service:
    async def wait(ctx: Any, arguments: Any) -> Any:
        await gate.wait()
        return text("at last")

    service = demo()
    service.tool("slow", wait)
    return service


@pytest.mark.parametrize("upstream", ERAS)
@pytest.mark.parametrize("client", ERAS)
def test_a_silent_call_has_a_stream_with_comments(
    pair: MakePair, client: str, upstream: str
) -> None:
    gate = Gate()
    p = pair(client, upstream, service=slow(gate), config=SOON)
    pending = p.client.open("tools/call", {"name": "up_slow", "arguments": {}}, id_=5)
    stream = pending.stream()
    stream.comments(3)
    gate.open()
    while (event := stream.next()) is not None and not event.data:
        pass
    assert event is not None and event.json()["id"] == 5
    assert event.json()["result"]["content"] == text("at last")["content"]
    assert stream.next() is None


@pytest.mark.parametrize("client", ERAS)
def test_a_client_that_takes_json_alone_gets_json(pair: MakePair, client: str) -> None:
    gate = Gate()
    p = pair(client, "modern", service=slow(gate), config=SOON)
    call = {"name": "up_slow", "arguments": {}}
    plain = p.client.open("tools/call", call, headers={"Accept": "application/json"})
    p.client.open("tools/call", call).stream().comments(3)
    gate.open()
    reply = plain.finish()
    assert reply.response.header("content-type") == "application/json"
    assert reply.text == "at last"


def test_a_silent_call_that_its_client_leaves_is_cancelled(pair: MakePair) -> None:
    gate = Gate()
    p = pair("modern", "modern", service=slow(gate), config=SOON)
    stream = p.client.open("tools/call", {"name": "up_slow", "arguments": {}}).stream()
    stream.comments(1)
    stream.close()
    poll(lambda: p.gateway.metric("mcp_calls_cancelled_total") == 1)
    gate.open()
