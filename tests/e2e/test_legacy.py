"""Clients of the handshake revisions before legacy servers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import LEGACY_VERSIONS, Legacy, Refused
from mockcore import ASKS, text
from mockhttp import Gate
from wire import dump, poll

MakePair = Callable[..., Any]
ALL_CAPS = {"sampling": {}, "elicitation": {}, "roots": {"listChanged": True}}
ANSWERS: dict[str, Any] = {
    "elicitation/create": {"action": "accept", "content": {"which": "x"}},
    "sampling/createMessage": {
        "role": "assistant",
        "content": {"type": "text", "text": "said"},
        "model": "m",
    },
    "roots/list": {"roots": [{"uri": "file:///srv", "name": "srv"}]},
}


@pytest.fixture
def legacy(pair: MakePair) -> Any:
    return pair("legacy", "legacy")


@pytest.mark.parametrize("version", LEGACY_VERSIONS)
def test_initialize_of_every_revision(legacy: Any, version: str) -> None:
    client = legacy.make(version=version)
    assert client.version == version
    assert client.hello["serverInfo"]["name"] == "headgate"
    assert client.hello["capabilities"]["tools"]["listChanged"] is True
    assert client.session and all("!" <= c <= "~" for c in client.session)
    assert client.call("up_echo", {"v": version}).text == json.dumps({"v": version})


@pytest.mark.parametrize("asked", ["2026-07-28", "1999-01-01", "nonsense"])
def test_initialize_of_an_unknown_revision_offers_the_latest(legacy: Any, asked: str) -> None:
    assert legacy.make(version=asked).version == "2025-11-25"


def test_session_ids(legacy: Any) -> None:
    client: Legacy = legacy.client
    session, client.session = client.session, None
    assert client.request("tools/list").status == 400
    for wrong in ("wrong", session + "x", session[:-1], "x" * 3000):
        client.session = wrong
        assert client.request("tools/list").status == 404, wrong
    client.session = session
    assert client.request("tools/list").status == 200
    assert legacy.make().session != session


def test_get_without_session_is_405_and_with_a_wrong_one_404(legacy: Any) -> None:
    client: Legacy = legacy.client
    headers = {"Accept": "text/event-stream"}
    assert client.send("GET", headers, b"").finish().status == 405
    wrong = headers | {"Mcp-Session-Id": "wrong"}
    assert client.send("GET", wrong, b"").finish().status == 404


def test_delete_ends_the_session(legacy: Any) -> None:
    client: Legacy = legacy.client
    client.call("up_echo")
    assert client.delete().status in (200, 202, 204)
    assert client.request("tools/list").status == 404
    assert client.delete().status == 404
    poll(lambda: legacy.upstream.ended, why="DELETE of the upstream's session")


def test_unsupported_version_header_is_400(legacy: Any) -> None:
    headers = {"MCP-Protocol-Version": "2099-99-99"}
    assert legacy.client.request("tools/list", headers=headers).status == 400


def test_ping_and_unknown_methods(legacy: Any) -> None:
    assert legacy.client.request("ping").result == {}
    assert not legacy.upstream.service.calls("ping")
    assert legacy.client.request("no/such").code == -32601


def test_lists_calls_prompts_resources_completion(legacy: Any) -> None:
    client: Legacy = legacy.client
    names = [t["name"] for t in client.all("tools")]
    assert names == [f"up_{t['name']}" for t in legacy.upstream.service.lists["tools"]]
    assert client.call("up_structured", {"a": 1}).result["structuredContent"] == {"got": {"a": 1}}
    assert [p["name"] for p in client.all("prompts")] == ["up_greet"]
    got = client.request("prompts/get", {"name": "up_greet", "arguments": {"who": "w"}}).result
    assert '{"who": "w"}' in got["messages"][0]["content"]["text"]
    assert [r["uri"] for r in client.all("resources")] == ["demo://one/a", "demo://one/b"]
    assert client.request("resources/read", {"uri": "demo://one/b"}).result["contents"]
    templates = client.all("resourceTemplates")
    assert templates[0]["uriTemplate"] == "demo://items/{id}"
    ref = {"type": "ref/resource", "uri": "demo://items/{id}"}
    params = {"ref": ref, "argument": {"name": "id", "value": "b"}}
    done = client.request("completion/complete", params).result
    assert done["completion"]["values"] == ["beta"]
    links = client.call("up_links").result["content"]
    assert links[0]["uri"] == links[1]["resource"]["uri"] == "demo://one/a"


def test_nothing_modern_in_legacy_answers(legacy: Any) -> None:
    result = legacy.client.request("tools/list").result
    assert not {"resultType", "ttlMs", "cacheScope"} & set(result)
    assert "resultType" not in legacy.client.call("up_echo").result


def test_errors_pass(legacy: Any) -> None:
    client: Legacy = legacy.client
    assert client.call("up_fail").result["isError"] is True
    error = client.call("up_rpc_error").error
    assert error == {"code": 1234, "message": "own error", "data": {"detail": [1, 2]}}
    assert client.call("none_such").code == -32602
    reply = client.request("resources/read", {"uri": "demo://none"})
    assert reply.code == -32002


def test_upstream_sessions_belong_to_clients(pair: MakePair) -> None:
    legacy = pair("legacy", "legacy", session="perClient")
    other = legacy.make()
    for client in (legacy.client, other, legacy.client):
        client.call("up_echo")
    posts = [r.header("mcp-session-id") for r in legacy.upstream.posts("tools/call")]
    assert posts[0] == posts[2] != posts[1]


def test_a_forgotten_upstream_session_is_opened_again(legacy: Any) -> None:
    legacy.client.call("up_echo")
    legacy.upstream.forget()
    assert legacy.client.call("up_echo", {"again": 1}).text == '{"again": 1}'


# What the server asks


@pytest.mark.parametrize("kind", ASKS)
def test_server_requests_on_the_stream_of_their_call(legacy: Any, kind: str) -> None:
    client = legacy.make(caps=ALL_CAPS, answer=lambda method, params: ANSWERS[method])
    reply = client.call("up_ask", {"kinds": [kind]})
    method, params = ASKS[kind]
    assert [r["method"] for r in reply.requests] == [method]
    assert json.loads(reply.text) == [ANSWERS[method]]
    if kind == "elicitation":
        assert reply.requests[0]["params"]["requestedSchema"] == params["requestedSchema"]
        assert "Which one?" in reply.requests[0]["params"]["message"]


def test_several_rounds_and_refusals(legacy: Any) -> None:
    def refuse(method: str, params: Any) -> Any:
        if method == "sampling/createMessage":
            raise Refused(-1, "User rejected sampling")
        return ANSWERS[method]

    client = legacy.make(caps=ALL_CAPS, answer=refuse)
    reply = client.call("up_ask", {"kinds": ["elicitation", "roots", "elicitation"]})
    assert len(reply.requests) == 3 and len({str(r["id"]) for r in reply.requests}) == 3
    assert client.call("up_ask", {"kinds": ["sampling"]}).error["code"] == -1
    assert [a["error"]["code"] for a in legacy.upstream.answers if "error" in a] == [-1]


def test_two_calls_ask_at_once_and_answers_do_not_cross(legacy: Any) -> None:
    gate = Gate()

    async def which(ctx: Any, arguments: Any) -> Any:
        if arguments["n"] == 0:
            await gate.wait()
        told = await ctx.ask(
            "elicitation/create",
            {"message": str(arguments["n"])}
            | {"requestedSchema": {"type": "object", "properties": {}}},
        )
        return text(json.dumps([arguments["n"], told["content"]["m"]]))

    def answer(method: str, params: dict[str, Any]) -> Any:
        return {"action": "accept", "content": {"m": params["message"][-1]}}

    legacy.upstream.service.tool("which", which)
    client = legacy.make(caps=ALL_CAPS, answer=answer)
    first = client.open("tools/call", {"name": "up_which", "arguments": {"n": 0}})
    assert gate.entered.wait(20)
    assert json.loads(client.call("up_which", {"n": 1}).text) == [1, "1"]
    gate.open()
    assert json.loads(first.finish().text) == [0, "0"]


def test_answers_to_nothing_are_accepted_and_dropped(legacy: Any) -> None:
    message = {"jsonrpc": "2.0", "id": "not-asked", "result": {}}
    assert legacy.client.post(message).finish().status in (202, 400, 404)
    assert not legacy.upstream.answers


# Streams


def test_one_get_stream_a_session(legacy: Any) -> None:
    stream = legacy.client.listen()
    again = legacy.client.send("GET", legacy.client.fields({"Accept": "text/event-stream"}), b"")
    assert again.finish().status == 409
    stream.close()


def test_list_changed_on_the_get_stream(legacy: Any) -> None:
    async def new(ctx: Any, arguments: Any) -> Any:
        return text("new")

    stream = legacy.client.listen()
    legacy.client.call("up_echo")
    poll(lambda: any(s.get for s in legacy.upstream.sessions.values()), why="upstream GET stream")
    legacy.upstream.service.tool("late", new)
    legacy.upstream.notify("notifications/tools/list_changed")
    assert stream.until("notifications/tools/list_changed")
    assert "up_late" in [t["name"] for t in legacy.client.all("tools")]


def test_subscribe_and_updated(legacy: Any) -> None:
    client: Legacy = legacy.client
    stream = client.listen()
    assert client.request("resources/subscribe", {"uri": "demo://one/a"}).result == {}
    poll(lambda: legacy.upstream.notify("notifications/resources/updated", uri="demo://one/a"))
    note = stream.until("notifications/resources/updated")
    assert note["params"]["uri"] == "demo://one/a"
    assert client.request("resources/unsubscribe", {"uri": "demo://one/a"}).result == {}
    sessions = legacy.upstream.sessions
    poll(lambda: not any(s.subscribed for s in sessions.values()), why="unsubscribed upstream")


def test_progress_with_tokens_of_both_types(legacy: Any) -> None:
    for token in ("t", 0, 7):
        reply = legacy.client.call("up_progress", token=token)
        told = reply.sent("notifications/progress")
        assert [(p["progressToken"], p["progress"]) for p in told] == [
            (token, n) for n in (1, 2, 3)
        ]
    assert not legacy.client.call("up_progress").notifications


def test_two_clients_may_use_the_same_token_and_id(legacy: Any) -> None:
    gate, other = Gate(), legacy.make()

    async def held(ctx: Any, arguments: Any) -> Any:
        await ctx.progress(arguments["n"])
        await gate.wait()
        return text(str(arguments["n"]))

    legacy.upstream.service.tool("held", held)
    params = [{"name": "up_held", "arguments": {"n": n}} for n in (1, 2)]
    first = legacy.client.open("tools/call", params[0], token="same", id_=99)
    second = other.open("tools/call", params[1], token="same", id_=99)
    poll(lambda: len(legacy.upstream.service.calls()) == 2)
    gate.open()
    for n, pending in ((1, first), (2, second)):
        reply = pending.finish()
        assert reply.text == str(n)
        assert [p["progress"] for p in reply.sent("notifications/progress")] == [n]


def test_set_level(legacy: Any) -> None:
    client: Legacy = legacy.client
    assert client.request("logging/setLevel", {"level": "error"}).result == {}

    def levels() -> list[str]:
        return [p["level"] for p in client.call("up_logs").sent("notifications/message")]

    assert levels() == ["error"]
    assert client.request("logging/setLevel", {"level": "debug"}).result == {}
    # The gateway answers at once and tells its servers beside it.
    poll(lambda: levels() == ["debug", "info", "error"], why="the level reached the server")
    assert client.request("logging/setLevel", {"level": "loud"}).code == -32602


# Cancelling


def holding(legacy: Any) -> tuple[Gate, threading.Event]:
    gate, cancelled = Gate(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        gate.entered.set()
        while not gate.is_open:
            if ctx.cancelled.is_set():
                cancelled.set()
            await asyncio.sleep(0.005)
        return text("done")

    legacy.upstream.service.tool("held", held)
    return gate, cancelled


def test_cancelled_reaches_the_upstream(legacy: Any) -> None:
    gate, cancelled = holding(legacy)
    pending = legacy.client.open("tools/call", {"name": "up_held"}, id_="mine")
    assert gate.entered.wait(20)
    told = {"requestId": "mine", "reason": "enough"}
    assert legacy.client.notify("notifications/cancelled", told).status == 202
    assert cancelled.wait(20)
    gate.open()
    pending.close()


def test_a_disconnect_does_not_cancel(legacy: Any) -> None:
    gate, cancelled = holding(legacy)
    pending = legacy.client.open("tools/call", {"name": "up_held"})
    assert gate.entered.wait(20)
    pending.close()
    assert legacy.client.call("up_echo").text == "{}"
    assert not cancelled.is_set()
    gate.open()


def test_unknown_notifications_are_accepted(legacy: Any) -> None:
    assert legacy.client.notify("notifications/cancelled", {"requestId": 4711}).status == 202
    assert legacy.client.notify("notifications/roots/list_changed").status == 202
    assert legacy.client.notify("notifications/what/ever", {"x": 1}).status == 202


# Batches


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
def test_batches_are_refused_elsewhere(legacy: Any, version: str) -> None:
    client = legacy.make(version=version)
    body = dump([{"jsonrpc": "2.0", "id": 1, "method": "ping"}])
    reply = client.post(body).finish()
    assert (reply.status, reply.code) == (400, -32600)
