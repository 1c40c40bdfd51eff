"""Legacy clients before modern servers that ask back: the client is asked in its own way, and the
call is sent again with the answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import META, Legacy, Refused
from mockcore import ASKS, InputRequired, RpcError, demo, text
from mocks import ModernServer, Service
from wire import poll

MakePair = Callable[..., Any]
ALL = {"sampling": {"tools": {}}, "elicitation": {"form": {}, "url": {}}, "roots": {}}
ACCEPT = {"action": "accept", "content": {"which": "this"}}
SAID = {"role": "assistant", "content": {"type": "text", "text": "it"}, "model": "m"}
ROOTS = {"roots": [{"uri": "file:///client"}]}
ANSWERS = {"elicitation/create": ACCEPT, "sampling/createMessage": SAID, "roots/list": ROOTS}


def answer(method: str, params: dict[str, Any]) -> Any:
    return ANSWERS[method]


def requests(*kinds: str) -> dict[str, Any]:
    asked = ((kind, *ASKS[kind]) for kind in kinds)
    return {k: {"method": m} | ({"params": p} if p else {}) for k, m, p in asked}


def asking() -> Service:
    service = demo()

    async def together(ctx: Any, arguments: Any) -> Any:
        if ctx.responses is None:
            return InputRequired(requests("elicitation", "sampling", "roots"), "s-1")
        assert ctx.params["requestState"] == "s-1"
        return text(json.dumps(ctx.responses, sort_keys=True))

    async def stateless(ctx: Any, arguments: Any) -> Any:
        if ctx.responses is None:
            return InputRequired(requests("elicitation"))
        return text("stated" if "requestState" in ctx.params else json.dumps(ctx.responses))

    async def busy(ctx: Any, arguments: Any) -> Any:
        state = ctx.params.get("requestState")
        assert ctx.responses is None
        return InputRequired({}, "later") if state is None else text(state)

    async def stated(ctx: Any, arguments: Any) -> Any:
        return text(json.dumps(ctx.meta[f"{META}clientCapabilities"], sort_keys=True))

    async def needy(ctx: Any, arguments: Any) -> Any:
        raise RpcError(-32021, "no", {"requiredCapabilities": {"sampling": {}}})

    async def url(ctx: Any, arguments: Any) -> Any:
        if ctx.responses is None:
            params = {"mode": "url", "message": "Go", "url": "https://example.com/x"}
            return InputRequired({"u": {"method": "elicitation/create", "params": params}})
        return text(json.dumps(ctx.responses, sort_keys=True))

    for name, handler in {
        "together": together,
        "stateless": stateless,
        "busy": busy,
        "caps": stated,
        "needy": needy,
        "url": url,
    }.items():
        service.tool(name, handler)
    return service


@pytest.fixture
def asked(pair: MakePair) -> Callable[..., Any]:
    """asked(service, …) → a pair whose legacy client can answer everything."""

    def make(service: Service | None = None, **more: Any) -> Any:
        out = pair("legacy", "modern", service=service or asking(), **more)
        out.client = out.make(caps=ALL, answer=answer)
        return out

    return make


def calls(p: Any, name: str) -> list[dict[str, Any]]:
    return [c for c in p.upstream.service.calls() if c["name"] == name]


def conserved(gateway: Any) -> bool:
    get = gateway.metric
    ends = sum(get(f"mcp_calls_{how}_total") for how in ("answered", "failed", "cancelled"))
    return get("mcp_calls_admitted_total") == ends


@pytest.mark.parametrize("kind", ["elicitation", "sampling", "roots"])
def test_input_required_becomes_a_request(asked: Any, kind: str) -> None:
    p = asked()
    reply = p.client.call("up_ask", {"kinds": [kind]})
    method, params = ASKS[kind]
    assert [(q["method"], q.get("params") or {}) for q in reply.requests] == [(method, params)]
    assert json.loads(reply.text) == [ANSWERS[method]]
    assert "resultType" not in reply.result
    assert conserved(p.gateway) and p.gateway.metric("mcp_calls_admitted_total") == 1


def test_questions_of_a_round_are_put_together(asked: Any) -> None:
    p = asked()
    reply = p.client.call("up_together", {"x": 1})
    assert len(reply.requests) == len({q["id"] for q in reply.requests}) == 3
    assert json.loads(reply.text) == {"elicitation": ACCEPT, "sampling": SAID, "roots": ROOTS}
    first, second = calls(p, "together")
    assert first["arguments"] == second["arguments"] == {"x": 1}
    assert "requestState" not in first and second["requestState"] == "s-1"


def test_each_round_brings_its_own_answers_only(asked: Any) -> None:
    p = asked()
    reply = p.client.call("up_ask", {"kinds": ["elicitation", "roots", "sampling"]})
    assert json.loads(reply.text) == [ACCEPT, ROOTS, SAID]
    assert [len(c.get("inputResponses", {})) for c in calls(p, "ask")] == [0, 1, 1, 1]


def test_no_state_is_sent_where_none_came(asked: Any) -> None:
    assert json.loads(asked().client.call("up_stateless").text) == {"elicitation": ACCEPT}


def test_a_busy_server_is_called_again_later(asked: Any) -> None:
    p = asked()
    assert p.client.call("up_busy").text == "later"
    assert len(calls(p, "busy")) == 2


def test_the_server_hears_what_the_client_can(asked: Any) -> None:
    p = asked()
    assert json.loads(p.client.call("up_caps").text) == ALL
    plain = p.make(caps={"roots": {"listChanged": True}, "tasks": {}})
    assert json.loads(plain.call("up_caps").text) == {"roots": {}}
    older = p.make(version="2025-06-18", caps={"elicitation": {}})
    assert json.loads(older.call("up_caps").text) == {"elicitation": {"form": {}}}


def test_a_missing_capability_is_told_to_the_model(asked: Any) -> None:
    result = asked().client.call("up_needy").result
    assert result["isError"] and "sampling" in result["content"][0]["text"]


def test_a_url_has_the_id_that_the_revision_wants(asked: Any) -> None:
    reply = asked().client.call("up_url")
    params = reply.requests[0]["params"]
    assert params["mode"] == "url" and params["elicitationId"]
    assert json.loads(reply.text) == {"u": ACCEPT}


def test_a_refused_elicitation_is_a_cancelled_one(asked: Any) -> None:
    def refuse(method: str, params: dict[str, Any]) -> Any:
        raise Refused(-32601, "no")

    reply = asked().client.call("up_ask", answer=refuse)
    assert json.loads(reply.text) == [{"action": "cancel"}]


@pytest.mark.parametrize("kind", ["sampling", "roots"])
def test_a_refusal_ends_the_call(asked: Any, kind: str) -> None:
    def refuse(method: str, params: dict[str, Any]) -> Any:
        raise Refused(-1, "User rejected it")

    p = asked()
    result = p.client.call("up_ask", {"kinds": [kind]}, answer=refuse).result
    assert result["isError"] and "User rejected it" in result["content"][0]["text"]
    assert len(calls(p, "ask")) == 1
    assert conserved(p.gateway)


def test_what_the_client_cannot_answer_is_not_asked(asked: Any) -> None:
    p = asked()
    client = p.make(caps={"elicitation": {}}, answer=answer)
    reply = client.call("up_ask", {"kinds": ["sampling"]})
    assert not reply.requests and reply.result["isError"]


def test_prompts_and_resources_ask_too(asked: Any) -> None:
    service = asking()

    async def prompt(ctx: Any, params: Any) -> Any:
        if ctx.responses is None:
            return InputRequired(requests("elicitation"), "p")
        return {"messages": [], "description": params["requestState"]}

    async def read(ctx: Any, params: Any) -> Any:
        if ctx.responses is None:
            return InputRequired(requests("sampling"), "r")
        return {"contents": [{"uri": params["uri"], "text": params["requestState"]}]}

    service.override |= {"prompts/get": prompt, "resources/read": read}
    p = asked(service)
    assert p.client.request("prompts/get", {"name": "up_greet"}).result["description"] == "p"
    read_ = {"uri": "demo://one/a"}
    assert p.client.request("resources/read", read_).result["contents"][0]["text"] == "r"

    def refuse(method: str, params: dict[str, Any]) -> Any:
        raise Refused(-1, "no")

    assert p.client.request("resources/read", read_, answer=refuse).code == -32603


def test_a_server_that_never_stops_asking(asked: Any) -> None:
    p = asked()
    result = p.client.call("up_ask", {"kinds": ["roots"] * 20}).result
    assert result["isError"] and "more than 10 times" in result["content"][0]["text"]
    assert len(calls(p, "ask")) == 11


def test_a_client_that_does_not_answer(asked: Any) -> None:
    p = asked(config={"timeouts": {"parked": "300ms"}})
    pending = p.client.open("tools/call", {"name": "up_ask", "arguments": {}})
    stream = pending.stream()
    question = stream.until("elicitation/create")
    withdrawn = stream.until("notifications/cancelled")
    assert withdrawn["params"]["requestId"] == question["id"]
    end = stream.next().json()["result"]
    assert end["isError"] and "in time" in end["content"][0]["text"]
    late = {"jsonrpc": "2.0", "id": question["id"], "result": ACCEPT}
    assert p.client.post(late).finish().status == 202
    assert conserved(p.gateway)


def test_a_cancelled_call_withdraws_its_questions(asked: Any) -> None:
    p = asked()
    pending = p.client.open("tools/call", {"name": "up_ask", "arguments": {}}, id_=77)
    stream = pending.stream()
    question = stream.until("elicitation/create")
    assert p.client.notify("notifications/cancelled", {"requestId": 77}).status == 202
    withdrawn = stream.until("notifications/cancelled")
    assert withdrawn["params"]["requestId"] == question["id"]
    poll(lambda: conserved(p.gateway))


def test_a_client_that_goes_away_while_it_is_asked(asked: Any) -> None:
    """Nothing was cancelled: its answer is taken wherever it comes from."""
    service = asking()
    done = threading.Event()

    async def after(ctx: Any, arguments: Any) -> Any:
        if ctx.responses is None:
            return InputRequired(requests("elicitation"), "s")
        done.set()
        return text("done")

    service.tool("after", after)
    p = asked(service)
    pending = p.client.open("tools/call", {"name": "up_after", "arguments": {}})
    question = pending.stream().until("elicitation/create")
    pending.close()
    reply = {"jsonrpc": "2.0", "id": question["id"], "result": ACCEPT}
    assert p.client.post(reply).finish().status == 202
    assert done.wait(20)
    poll(lambda: conserved(p.gateway))


def test_a_session_that_ends_ends_its_rounds(asked: Any) -> None:
    p = asked()
    pending = p.client.open("tools/call", {"name": "up_together", "arguments": {}})
    pending.stream().until("elicitation/create")
    assert p.client.delete().status == 200
    poll(lambda: conserved(p.gateway) and p.gateway.metric("mcp_inflight_requests") == 0)


def test_a_modern_child_asks(
    start_gateway: Callable[..., Any], stdio: Callable[..., Any], clients: Callable[..., Any]
) -> None:
    """Also one that is shared, from whichever thread."""
    mock = stdio("io", "modern")
    gateway = start_gateway({"threads": 2, "upstreams": {"io": mock.mount()}})
    for _ in range(4):
        client = clients(Legacy(gateway.url, caps=ALL, answer=answer))
        reply = client.call("io_ask", {"kinds": ["elicitation", "roots"]})
        assert json.loads(reply.text) == [ACCEPT, ROOTS]
    assert conserved(gateway)


def test_several_servers_say_which_of_them_asks(
    start_gateway: Callable[..., Any], mocks: Callable[..., Any], clients: Callable[..., Any]
) -> None:
    one, two = mocks(ModernServer(asking())), mocks(ModernServer(asking()))
    config = {"upstreams": {"one": {"url": one.url}, "two": {"url": two.url}}}
    client = clients(Legacy(start_gateway(config).url, caps=ALL, answer=answer))
    reply = client.call("two_ask")
    assert reply.requests[0]["params"]["message"] == "[two] Which one?"
