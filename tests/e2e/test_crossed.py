"""Clients of one era before servers of the other: what asks nothing back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import META
from mockcore import demo, text
from mockhttp import Gate

MakePair = Callable[..., Any]
CROSSED = [("modern", "legacy"), ("legacy", "modern")]


@pytest.fixture(params=CROSSED, ids=["modern-to-legacy", "legacy-to-modern"])
def crossed(pair: MakePair, request: pytest.FixtureRequest) -> Any:
    out = pair(*request.param)
    out.eras = request.param
    return out


def test_lists(crossed: Any) -> None:
    client, lists = crossed.client, crossed.upstream.service.lists
    assert [t["name"] for t in client.all("tools")] == [f"up_{t['name']}" for t in lists["tools"]]
    assert [p["name"] for p in client.all("prompts")] == ["up_greet"]
    assert [r["uri"] for r in client.all("resources")] == ["demo://one/a", "demo://one/b"]
    assert client.all("resourceTemplates")[0]["uriTemplate"] == "demo://items/{id}"


def test_lists_have_what_their_era_has(crossed: Any) -> None:
    result = crossed.client.request("tools/list").result
    modern = {"resultType", "ttlMs", "cacheScope"}
    assert modern & set(result) == (modern if crossed.eras[0] == "modern" else set())
    if crossed.eras[0] == "modern":
        assert result["_meta"][f"{META}serverInfo"]["name"] == "headgate"
    else:
        assert f"{META}serverInfo" not in result.get("_meta", {})


@pytest.mark.parametrize("sse", [False, True])
def test_calls(crossed: Any, sse: bool) -> None:
    crossed.upstream.sse = sse
    reply = crossed.client.call("up_echo", {"a": [1, "x"]})
    assert reply.text == '{"a": [1, "x"]}'
    assert reply.result.get("resultType") == ("complete" if crossed.eras[0] == "modern" else None)
    structured = crossed.client.call("up_structured", {"b": 2}).result
    assert structured["structuredContent"] == {"got": {"b": 2}}


def test_reads_prompts_and_completion(crossed: Any) -> None:
    client = crossed.client
    read = client.request("resources/read", {"uri": "demo://one/a"}).result["contents"]
    assert read[0]["uri"] == "demo://one/a" and read[0]["text"] == "demo://one/a of mock"
    item = client.request("resources/read", {"uri": "demo://items/5"}).result["contents"]
    assert item[0]["text"] == "item 5 of mock"
    got = client.request("prompts/get", {"name": "up_greet"}).result
    assert got["messages"][0]["content"]["text"].startswith("greet of mock")
    ref = {"type": "ref/prompt", "name": "up_greet"}
    params = {"ref": ref, "argument": {"name": "who", "value": "be"}}
    assert client.request("completion/complete", params).result["completion"]["values"] == ["beta"]


def test_errors(crossed: Any) -> None:
    client = crossed.client
    assert client.call("up_fail").result["isError"] is True
    error = client.call("up_rpc_error").error
    assert error == {"code": 1234, "message": "own error", "data": {"detail": [1, 2]}}
    reply = client.request("resources/read", {"uri": "demo://items2/none"})
    assert reply.code == (-32602 if crossed.eras[0] == "modern" else -32002)
    assert client.call("up_nothing").code == -32602


def test_a_resource_that_vanished(crossed: Any) -> None:
    """The upstream's own not-found, in the client's words."""
    crossed.upstream.service._bodies().pop("demo://one/b")
    reply = crossed.client.request("resources/read", {"uri": "demo://one/b"})
    assert reply.code == (-32602 if crossed.eras[0] == "modern" else -32002)
    assert reply.error["data"]["uri"] == "demo://one/b"


def test_progress(crossed: Any) -> None:
    for token in ("t", 3):
        told = crossed.client.call("up_progress", token=token).sent("notifications/progress")
        assert [(p["progressToken"], p["progress"]) for p in told] == [
            (token, n) for n in (1, 2, 3)
        ]
    assert not crossed.client.call("up_progress").notifications


def test_cancelling_in_the_way_of_each_era(crossed: Any) -> None:
    gate, cancelled = Gate(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        gate.entered.set()
        while not gate.is_open and not ctx.cancelled.is_set():
            await asyncio.sleep(0.005)
        if ctx.cancelled.is_set():
            cancelled.set()
        return text("done")

    crossed.upstream.service.tool("held", held)
    params = {"name": "up_held", "arguments": {}}
    pending = crossed.client.open("tools/call", params, id_=55)
    assert gate.entered.wait(20)
    if crossed.eras[0] == "modern":
        pending.close()
    else:
        told = {"requestId": 55}
        assert crossed.client.notify("notifications/cancelled", told).status == 202
    assert cancelled.wait(20), "the upstream was not told"
    gate.open()


def test_logs_to_a_modern_client_only_when_asked(pair: MakePair) -> None:
    crossed = pair("modern", "legacy")
    assert not crossed.client.call("up_logs").notifications
    told = crossed.client.call("up_logs", log="error").sent("notifications/message")
    assert [p["level"] for p in told] == ["error"]


def test_logs_to_a_legacy_client_at_its_level(pair: MakePair) -> None:
    crossed = pair("legacy", "modern")
    told = crossed.client.call("up_logs").sent("notifications/message")
    assert [p["level"] for p in told] == ["info", "error"]
    assert crossed.client.request("logging/setLevel", {"level": "error"}).result == {}
    told = crossed.client.call("up_logs").sent("notifications/message")
    assert [p["level"] for p in told] == ["error"]


def test_legacy_fields_that_modern_clients_do_not_know(pair: MakePair) -> None:
    service = demo()
    service.lists["tools"][0]["execution"] = {"taskSupport": "optional"}
    crossed = pair("modern", "legacy", service=service)
    assert "execution" not in crossed.client.all("tools")[0]


def test_structured_content_that_legacy_clients_cannot_take(pair: MakePair) -> None:
    async def number(ctx: Any, arguments: Any) -> Any:
        return text("[1]") | {"structuredContent": [1]}

    service = demo()
    service.tool("number", number, outputSchema={"type": "array"})
    crossed = pair("legacy", "modern", service=service)
    assert "outputSchema" not in crossed.client.all("tools")[-1]
    result = crossed.client.call("up_number").result
    assert "structuredContent" not in result and result["content"][0]["text"] == "[1]"
