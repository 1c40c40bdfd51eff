"""Clients of revision 2026-07-28 before modern servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import META, MODERN_VERSION, Modern
from mockcore import InputRequired, demo, text
from mockhttp import Gate
from mocks import ModernServer
from wire import dump, poll

MakePair = Callable[..., Any]
VERSION = f"{META}protocolVersion"
CAPS = f"{META}clientCapabilities"


@pytest.fixture
def modern(pair: MakePair) -> Any:
    return pair("modern", "modern")


def test_discover(modern: Any) -> None:
    result = modern.client.request("server/discover").result
    assert result["supportedVersions"] == [MODERN_VERSION]
    assert result["resultType"] == "complete"
    assert result["capabilities"]["tools"]["listChanged"] is True
    assert {"prompts", "resources"} <= set(result["capabilities"])
    assert result["_meta"][f"{META}serverInfo"]["name"] == "headgate"
    assert result["ttlMs"] >= 0 and result["cacheScope"] in ("private", "public")


def test_lists_are_prefixed_and_cacheable(modern: Any) -> None:
    result = modern.client.request("tools/list").result
    listed = [t["name"] for t in result["tools"]]
    assert listed == [f"up_{t['name']}" for t in modern.upstream.service.lists["tools"]]
    assert result["ttlMs"] >= 0 and result["cacheScope"] in ("private", "public")
    assert result["resultType"] == "complete"
    assert [p["name"] for p in modern.client.all("prompts")] == ["up_greet"]
    assert [r["uri"] for r in modern.client.all("resources")] == ["demo://one/a", "demo://one/b"]
    templates = modern.client.all("resourceTemplates")
    assert [t["uriTemplate"] for t in templates] == ["demo://items/{id}"]


@pytest.mark.parametrize("sse", [False, True])
def test_call_read_get_complete(modern: Any, sse: bool) -> None:
    modern.upstream.sse = sse
    client: Modern = modern.client
    reply = client.call("up_echo", {"b": 1, "a": [True, None]})
    assert reply.text == '{"a": [true, null], "b": 1}'
    assert reply.result["resultType"] == "complete"
    assert modern.upstream.service.calls()[-1]["name"] == "echo"
    read = client.request("resources/read", {"uri": "demo://one/a"}).result
    assert read["contents"][0]["text"] == "demo://one/a of mock"
    items = client.request("resources/read", {"uri": "demo://items/77"}).result
    assert items["contents"][0]["text"] == "item 77 of mock"
    got = client.request("prompts/get", {"name": "up_greet", "arguments": {"who": "x"}}).result
    assert 'greet of mock with {"who": "x"}' in got["messages"][0]["content"]["text"]
    ref = {"type": "ref/prompt", "name": "up_greet"}
    params = {"ref": ref, "argument": {"name": "who", "value": "al"}}
    values = client.request("completion/complete", params).result["completion"]["values"]
    assert values == ["alpha", "alpine"]
    assert modern.upstream.service.calls("completion/complete")[-1]["ref"]["name"] == "greet"


def test_what_goes_upstream_is_regenerated(modern: Any) -> None:
    modern.client.caps = {"elicitation": {}, "sampling": {}}
    modern.client.call("up_echo", {"a": 1}, headers={"X-Odd": "1", "Cookie": "a=b"}, token="mine")
    sent = modern.upstream.posts("tools/call")[-1]
    assert sent.header("mcp-name") == "echo"
    assert sent.header("x-odd") is None and sent.header("cookie") is None
    meta = sent.json()["params"]["_meta"]
    assert meta[CAPS] == {"elicitation": {}, "sampling": {}}
    assert "progressToken" in meta


def test_ids_of_any_kind_come_back(modern: Any) -> None:
    for id_ in (0, -1, 12345678901, "", "0", "a\u2028b", "x" * 200):
        assert modern.client.call("up_echo", id_=id_).message["id"] == id_


def test_upstream_name_that_needs_base64(pair: MakePair) -> None:
    service = demo()
    service.prompt("grüße, 世界")
    modern = pair("modern", "modern", service=service)
    got = modern.client.request("prompts/get", {"name": "up_grüße, 世界"}).result
    assert "grüße, 世界 of mock" in got["messages"][0]["content"]["text"]


def test_errors_pass(modern: Any) -> None:
    assert modern.client.call("up_fail").result["isError"] is True
    error = modern.client.call("up_rpc_error").error
    assert error == {"code": 1234, "message": "own error", "data": {"detail": [1, 2]}}
    assert modern.client.call("nothing_here").code == -32602
    reply = modern.client.request("resources/read", {"uri": "demo://none"})
    assert reply.code == -32602 and reply.status == 200
    assert modern.client.request("prompts/get", {"name": "up_none"}).code == -32602


# The classifier: each row is what is changed in a good tools/call, and what must come of it.
Change = Callable[[dict[str, str], dict[str, Any]], None]


def _set(where: str, name: str, value: Any) -> Change:
    def change(headers: dict[str, str], params: dict[str, Any]) -> None:
        target = headers if where == "header" else params["_meta"] if where == "meta" else params
        if value is None:
            target.pop(name, None)
        else:
            target[name] = value

    return change


def _all(*changes: Change) -> Change:
    def change(headers: dict[str, str], params: dict[str, Any]) -> None:
        for one in changes:
            one(headers, params)

    return change


V_HEADER = "MCP-Protocol-Version"
ROWS: dict[str, tuple[Change, int, int]] = {
    "version header missing": (_set("header", V_HEADER, None), 400, -32020),
    "version header of another revision": (_set("header", V_HEADER, "2025-11-25"), 400, -32020),
    "header and body differ, body unknown": (_set("meta", VERSION, "v999"), 400, -32020),
    "unknown version in both": (
        _all(_set("header", V_HEADER, "2099-01-01"), _set("meta", VERSION, "2099-01-01")),
        400,
        -32022,
    ),
    "legacy version in both": (
        _all(_set("header", V_HEADER, "2025-11-25"), _set("meta", VERSION, "2025-11-25")),
        400,
        -32022,
    ),
    "version is no string": (_set("meta", VERSION, 20260728), 400, -32602),
    "body claims nothing, header modern": (_set("meta", VERSION, None), 400, -32602),
    "capabilities missing": (_set("meta", CAPS, None), 400, -32602),
    "Mcp-Method missing": (_set("header", "Mcp-Method", None), 400, -32020),
    "Mcp-Method differs": (_set("header", "Mcp-Method", "tools/list"), 400, -32020),
    "Mcp-Method in another case": (_set("header", "Mcp-Method", "Tools/Call"), 400, -32020),
    "Mcp-Name missing": (_set("header", "Mcp-Name", None), 400, -32020),
    "Mcp-Name differs": (_set("header", "Mcp-Name", "up_fail"), 400, -32020),
    "Mcp-Name is the upstream's": (_set("header", "Mcp-Name", "echo"), 400, -32020),
    "Mcp-Name with bad padding": (_set("header", "Mcp-Name", "=?base64?dXBfZWNobw?="), 400, -32020),
    "Mcp-Name with bad alphabet": (
        _set("header", "Mcp-Name", "=?base64?dXBf*WNobw==?="),
        400,
        -32020,
    ),
    "Mcp-Name marker in capitals": (
        _set("header", "Mcp-Name", "=?BASE64?dXBfZWNobw==?="),
        400,
        -32020,
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_header_validation(modern: Any, row: str) -> None:
    change, status, code = ROWS[row]
    client: Modern = modern.client
    params = {"name": "up_echo", "arguments": {}, "_meta": client.meta()}
    headers = client.fields("tools/call", params)
    change(headers, params)
    body = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params}
    reply = client.send("POST", headers, dump(body)).finish()
    assert (reply.status, reply.code) == (status, code)
    if code == -32022:
        data = reply.error["data"]
        assert data["supported"] == [MODERN_VERSION]
        assert data["requested"] == params["_meta"][VERSION]
    assert not modern.upstream.service.calls(), "a refused call went upstream"


def test_duplicate_mcp_headers_are_refused(modern: Any) -> None:
    client: Modern = modern.client
    params = {"name": "up_echo", "_meta": client.meta()}
    headers = client.fields("tools/call", params) | {"mcp-name": "up_fail"}
    body = dump({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params})
    assert client.send("POST", headers, body).finish().status == 400


def test_base64_name_and_header_case_are_understood(modern: Any) -> None:
    client: Modern = modern.client
    assert client.call("up_echo", headers={"Mcp-Name": "=?base64?dXBfZWNobw==?="}).text == "{}"
    params = {"name": "up_echo", "_meta": client.meta()}
    headers = {n.upper(): v for n, v in client.fields("tools/call", params).items()}
    body = dump({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": params})
    assert client.send("POST", headers, body).finish().text == "null"


def test_initialize_with_a_modern_header_is_a_mismatch(modern: Any) -> None:
    headers = {"Content-Type": "application/json", V_HEADER: MODERN_VERSION}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    reply = modern.client.send("POST", headers, dump(body)).finish()
    assert (reply.status, reply.code) == (400, -32020)


@pytest.mark.parametrize(
    "method",
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"]
    + ["tasks/list", "tasks/result", "no/such", "notifications/x", "tools/call2"],
)
def test_methods_of_no_modern_registry_are_404(modern: Any, method: str) -> None:
    reply = modern.client.request(method)
    assert (reply.status, reply.code) == (404, -32601)


def test_stray_session_id_is_ignored(modern: Any) -> None:
    reply = modern.client.call("up_echo", headers={"Mcp-Session-Id": "stray"})
    assert reply.text == "{}" and reply.response.header("mcp-session-id") is None


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_session_operations_are_405(modern: Any, method: str) -> None:
    headers = {V_HEADER: MODERN_VERSION, "Accept": "text/event-stream"}
    response = modern.client.send(method, headers, b"").finish().response
    assert response.status == 405 and "POST" in (response.header("allow") or "")


def test_notifications_are_accepted_and_dropped(modern: Any) -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    headers = {"Content-Type": "application/json", V_HEADER: MODERN_VERSION}
    reply = modern.client.send("POST", headers, dump(body)).finish()
    assert reply.status == 202 and reply.response.body == b""


def test_batches_are_refused(modern: Any) -> None:
    headers = {"Content-Type": "application/json", V_HEADER: MODERN_VERSION}
    one = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/list",
        "params": {"_meta": modern.client.meta()},
    }
    reply = modern.client.send("POST", headers, dump([one, one])).finish()
    assert (reply.status, reply.code) == (400, -32600)


def test_progress_keeps_the_token_and_its_type(modern: Any) -> None:
    for token in ("t", 0, 7, "7"):
        reply = modern.client.call("up_progress", token=token)
        told = reply.sent("notifications/progress")
        assert [p["progressToken"] for p in told] == [token] * 3
        assert [p["progress"] for p in told] == [1, 2, 3] and reply.order[-1] == "answer"
    assert not modern.client.call("up_progress").notifications


def test_logs_only_for_those_who_asked(modern: Any) -> None:
    levels = [
        p["level"] for p in modern.client.call("up_logs", log="info").sent("notifications/message")
    ]
    assert levels == ["info", "error"]
    assert not modern.client.call("up_logs").notifications


def test_closing_the_stream_cancels_upstream(modern: Any) -> None:
    gate, gone = Gate(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        gate.entered.set()
        await ctx.cancelled.wait()
        gone.set()
        return text("late")

    modern.upstream.service.tool("held", held)
    pending = modern.client.open("tools/call", {"name": "up_held", "arguments": {}})
    assert gate.entered.wait(20)
    pending.close()
    assert gone.wait(20), "the upstream was not told"


# input_required


def ask(client: Modern, kinds: list[str], **params: Any) -> dict[str, Any]:
    return client.call("up_ask", {"kinds": kinds}, params=params).result


def test_input_required_passes_with_sealed_state(modern: Any) -> None:
    client = modern.client
    client.caps = {"elicitation": {}, "sampling": {}}
    first = ask(client, ["elicitation", "sampling"])
    assert first["resultType"] == "input_required"
    assert first["inputRequests"]["q"]["method"] == "elicitation/create"
    assert first["requestState"] != "[]" and len(first["requestState"]) <= 2048
    answer = {"q": {"action": "accept", "content": {"which": "x"}}}
    second = ask(
        client,
        ["elicitation", "sampling"],
        inputResponses=answer,
        requestState=first["requestState"],
    )
    assert second["inputRequests"]["q"]["method"] == "sampling/createMessage"
    assert second["requestState"] != first["requestState"]
    said = {"q": {"role": "assistant", "content": {"type": "text", "text": "y"}, "model": "m"}}
    last = ask(
        client,
        ["elicitation", "sampling"],
        inputResponses=said,
        requestState=second["requestState"],
    )
    assert json.loads(last["content"][0]["text"]) == [answer["q"], said["q"]]
    states = [c.get("requestState") for c in modern.upstream.service.calls()]
    assert states == [None, "[]", json.dumps([answer["q"]])]


def tampered(state: str) -> list[str]:
    flipped = ("A" if state[len(state) // 2] != "A" else "B").join(
        (state[: len(state) // 2], state[len(state) // 2 + 1 :])
    )
    return [state + "-TAMPERED", state[:-1], state[1:], flipped, "", "[]", "x" * 5000]


def test_tampered_state_never_goes_upstream(modern: Any) -> None:
    state = ask(modern.client, ["elicitation"])["requestState"]
    before = len(modern.upstream.service.calls())
    for bad in tampered(state):
        params = {"inputResponses": {"q": {"action": "cancel"}}, "requestState": bad}
        reply = modern.client.call("up_ask", {"kinds": ["elicitation"]}, params=params)
        assert reply.code == -32602, bad
    assert len(modern.upstream.service.calls()) == before


def test_state_is_bound_to_the_call(modern: Any) -> None:
    state = ask(modern.client, ["elicitation"])["requestState"]
    before = len(modern.upstream.service.calls())
    more = {"inputResponses": {"q": {}}, "requestState": state}
    assert modern.client.call("up_ask", {"kinds": ["roots"]}, params=more).code == -32602
    assert modern.client.call("up_echo", {"kinds": ["elicitation"]}, params=more).code == -32602
    read = {"uri": "demo://one/a"} | more
    assert modern.client.request("resources/read", read).code == -32602
    assert len(modern.upstream.service.calls()) == before


def test_responses_without_state_start_a_normal_call(modern: Any) -> None:
    assert ask(modern.client, ["elicitation"], inputResponses={"q": {}}).get("resultType")


def test_state_without_requests_passes(modern: Any) -> None:
    async def later(ctx: Any, arguments: Any) -> Any:
        return text("now") if ctx.params.get("requestState") else InputRequired({}, "later")

    modern.upstream.service.tool("later", later)
    first = modern.client.call("up_later").result
    assert first["resultType"] == "input_required" and first["requestState"] != "later"
    again = modern.client.call("up_later", params={"requestState": first["requestState"]})
    assert again.text == "now"


# subscriptions/listen


def listen(modern: Any, wanted: dict[str, Any], id_: Any = "sub") -> Any:
    stream = modern.client.listen(wanted, id_)
    ack = stream.next().json()
    assert ack["method"] == "notifications/subscriptions/acknowledged"
    assert ack["params"]["_meta"] == {f"{META}subscriptionId": id_}
    return stream, ack["params"]["notifications"]


def test_listen_acknowledges_first_what_it_honours(modern: Any) -> None:
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["demo://one/a"]}
    for id_ in (0, 7, "seven"):
        _, honoured = listen(modern, wanted, id_)
        assert honoured["toolsListChanged"] is True
        assert honoured["resourceSubscriptions"] == ["demo://one/a"]
        assert not honoured.get("promptsListChanged")


def test_list_changed_comes_after_the_lists_did(modern: Any) -> None:
    stream, _ = listen(modern, {"toolsListChanged": True}, 9)
    poll(lambda: modern.upstream.listeners)

    async def new(ctx: Any, arguments: Any) -> Any:
        return text("new")

    modern.upstream.service.tool("late", new)
    modern.upstream.notify("notifications/tools/list_changed")
    note = stream.until("notifications/tools/list_changed")
    assert note["params"]["_meta"] == {f"{META}subscriptionId": 9}
    assert "up_late" in [t["name"] for t in modern.client.all("tools")]
    assert modern.client.call("up_late").text == "new"


def test_updated_goes_to_those_who_asked(modern: Any) -> None:
    one, _ = listen(modern, {"resourceSubscriptions": ["demo://one/a"]}, 1)
    other, _ = listen(modern, {"resourceSubscriptions": ["demo://one/b"]}, 2)
    up: ModernServer = modern.upstream
    poll(lambda: up.notify("notifications/resources/updated", uri="demo://one/a"))
    poll(lambda: up.notify("notifications/resources/updated", uri="demo://one/b"))
    assert one.until("notifications/resources/updated")["params"]["uri"] == "demo://one/a"
    assert other.next().json()["params"]["uri"] == "demo://one/b"
