"""Modern clients before legacy servers that ask back: calls are parked until the client's retry."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import Modern, Reply
from mockcore import ASKS, RpcError, demo, text
from mockhttp import Gate
from mocks import LegacyServer, Service
from wire import poll

MakePair = Callable[..., Any]
ALL = {"sampling": {}, "elicitation": {"form": {}, "url": {}}, "roots": {}}
ACCEPT = {"action": "accept", "content": {"which": "this"}}
SAID = {"role": "assistant", "content": {"type": "text", "text": "it"}, "model": "m"}
ROOTS = {"roots": [{"uri": "file:///client"}]}
ANSWERS = {"elicitation/create": ACCEPT, "sampling/createMessage": SAID, "roots/list": ROOTS}


def asking() -> Service:
    """A service with tools that ask in all the ways."""
    service = demo()

    async def together(ctx: Any, arguments: Any) -> Any:
        asked = [ctx.ask(*ASKS[kind]) for kind in ("elicitation", "sampling", "roots")]
        return text(json.dumps(await asyncio.gather(*asked), sort_keys=True))

    async def on_get(ctx: Any, arguments: Any) -> Any:
        return text(json.dumps(await ctx.ask(*ASKS["elicitation"], on="get"), sort_keys=True))

    async def stated(ctx: Any, arguments: Any) -> Any:
        return text(json.dumps(ctx.session.caps, sort_keys=True))

    service.tool("together", together)
    service.tool("on_get", on_get)
    service.tool("caps", stated)
    return service


@pytest.fixture
def parked(pair: MakePair) -> Callable[..., Any]:
    """parked(config=…, service=…, mount options) → a pair whose client can answer everything."""

    def make(service: Service | None = None, **more: Any) -> Any:
        out = pair("modern", "legacy", service=service or asking(), **more)
        out.client = out.make(caps=ALL)
        return out

    return make


def answers(reply: Reply) -> dict[str, Any]:
    return {key: ANSWERS[question["method"]] for key, question in reply.asked.items()}


def finish(client: Modern, tool: str, arguments: Any, reply: Reply, **more: Any) -> Reply:
    """Answers round after round until the call is complete."""
    for _ in range(20):
        if reply.result["resultType"] != "input_required":
            return reply
        reply = client.retry(tool, arguments, reply, answers(reply), **more)
    raise AssertionError("no end of questions")


def settled(gateway: Any) -> None:
    """Every call that was admitted has ended, and none is parked."""

    def done() -> bool:
        get = gateway.metric
        ends = sum(get(f"mcp_calls_{how}_total") for how in ("answered", "failed", "cancelled"))
        return get("mcp_calls_admitted_total") == ends and get("mcp_parked_calls") == 0

    poll(done, why="calls are conserved")


@pytest.mark.parametrize("kind", ["elicitation", "sampling", "roots"])
def test_a_question_becomes_input_required(parked: Any, kind: str) -> None:
    p = parked()
    arguments = {"kinds": [kind]}
    reply = p.client.call("up_ask", arguments)
    [(key, question)] = reply.asked.items()
    method, params = ASKS[kind]
    assert question == {"method": method} | ({"params": params} if params else {})
    assert p.gateway.metric("mcp_parked_calls") == 1
    done = p.client.retry("up_ask", arguments, reply, {key: ANSWERS[method]})
    assert done.result["resultType"] == "complete"
    assert json.loads(done.text) == [ANSWERS[method]]
    assert len(p.upstream.service.calls()) == 1, "the upstream is called once"
    settled(p.gateway)


def test_questions_asked_together_are_one_round(parked: Any) -> None:
    p = parked()
    reply = p.client.call("up_together")
    assert len(reply.asked) == 3
    done = p.client.retry("up_together", {}, reply, answers(reply))
    assert json.loads(done.text) == [ACCEPT, SAID, ROOTS]


def test_questions_one_after_the_other_are_rounds(parked: Any) -> None:
    p = parked()
    arguments = {"kinds": ["elicitation", "roots", "elicitation"]}
    replies = [p.client.call("up_ask", arguments)]
    for _ in range(2):
        replies.append(p.client.retry("up_ask", arguments, replies[-1], answers(replies[-1])))
    states = [r.result["requestState"] for r in replies]
    keys = [next(iter(r.asked)) for r in replies]
    assert len(set(states)) == len(set(keys)) == 3
    done = p.client.retry("up_ask", arguments, replies[-1], answers(replies[-1]))
    assert json.loads(done.text) == [ACCEPT, ROOTS, ACCEPT]
    settled(p.gateway)


def test_missing_and_garbled_answers_are_asked_again(parked: Any) -> None:
    p = parked()
    first = p.client.call("up_together")
    wrong = dict.fromkeys(first.asked, None) | {"unknown": ACCEPT}
    second = p.client.retry("up_together", {}, first, wrong)
    assert second.asked == first.asked
    assert second.result["requestState"] != first.result["requestState"]
    some, *others = answers(second).items()
    third = p.client.retry("up_together", {}, second, dict([some]) | dict.fromkeys(dict(others), 7))
    assert set(third.asked) == set(dict(others))
    assert p.client.retry("up_together", {}, third, []).asked == third.asked
    settled_late = p.client.call("up_echo")
    assert settled_late.result["resultType"] == "complete"


def test_an_old_state_is_not_taken_with_other_answers(parked: Any) -> None:
    p = parked()
    arguments = {"kinds": ["elicitation", "elicitation"]}
    first = p.client.call("up_ask", arguments)
    second = p.client.retry("up_ask", arguments, first, answers(first))
    declined = {key: {"action": "decline"} for key in first.asked}
    assert p.client.retry("up_ask", arguments, first, declined).code == -32602
    again = p.client.retry("up_ask", arguments, first, answers(first))
    assert again.asked == second.asked, "the same answers again: the round that they led to"
    assert finish(p.client, "up_ask", arguments, again).result["resultType"] == "complete"


def test_a_result_that_was_lost_is_given_again(parked: Any) -> None:
    p = parked()
    reply = p.client.call("up_ask")
    done = p.client.retry("up_ask", {}, reply, answers(reply))
    again = p.client.retry("up_ask", {}, reply, answers(reply), id_="other")
    assert again.message["id"] == "other" and again.result == done.result
    declined = {key: {"action": "decline"} for key in reply.asked}
    assert p.client.retry("up_ask", {}, reply, declined).code == -32602
    settled(p.gateway)


def test_two_retries_at_once_feed_once(parked: Any) -> None:
    gate = Gate()
    service = asking()

    async def slow(ctx: Any, arguments: Any) -> Any:
        told = await ctx.ask(*ASKS["elicitation"])
        await gate.wait()
        return text(json.dumps(told))

    service.tool("slow", slow)
    p = parked(service)
    reply = p.client.call("up_slow")
    pending = p.client.open_retry("up_slow", {}, reply, answers(reply))
    assert gate.entered.wait(20)
    assert p.client.retry("up_slow", {}, reply, answers(reply)).code == -32602
    gate.open()
    assert json.loads(pending.finish().text) == ACCEPT
    assert len(p.upstream.answers) == 1


def test_a_result_before_the_retry_waits_for_it(parked: Any) -> None:
    """As when the server's own time for the answer is over."""
    service = asking()
    given_up = threading.Event()

    async def impatient(ctx: Any, arguments: Any) -> Any:
        asked = asyncio.ensure_future(ctx.ask(*ASKS["elicitation"]))
        await asyncio.sleep(0.2)
        asked.cancel()
        given_up.set()
        return text("without you")

    service.tool("impatient", impatient)
    p = parked(service)
    p.upstream.lenient = True  # its question is answered late, by a refusal
    reply = p.client.call("up_impatient")
    assert given_up.wait(20)
    poll(lambda: p.gateway.metric("mcp_parked_calls") == 0)
    done = p.client.retry("up_impatient", {}, reply, answers(reply))
    assert done.text == "without you"
    settled(p.gateway)


def test_a_question_that_was_withdrawn_needs_no_answer(parked: Any) -> None:
    service = asking()
    gate = Gate()

    async def withdrawing(ctx: Any, arguments: Any) -> Any:
        asked = asyncio.ensure_future(ctx.ask(*ASKS["elicitation"]))
        await gate.wait()
        await ctx.notify("notifications/cancelled", {"requestId": 0})
        asked.cancel()
        return text("never mind")

    service.tool("withdrawing", withdrawing)
    p = parked(service)
    p.upstream.lenient = True
    reply = p.client.call("up_withdrawing")
    gate.open()
    assert p.client.retry("up_withdrawing", {}, reply, answers(reply)).text == "never mind"


def test_a_call_that_nobody_comes_back_for_is_cancelled(parked: Any) -> None:
    service = asking()
    cancelled = threading.Event()

    async def patient(ctx: Any, arguments: Any) -> Any:
        asyncio.ensure_future(ctx.ask(*ASKS["elicitation"]))
        await ctx.cancelled.wait()
        cancelled.set()
        return text("cancelled")

    service.tool("patient", patient)
    p = parked(service, config={"timeouts": {"parked": "300ms"}})
    p.upstream.lenient = True
    reply = p.client.call("up_patient")
    assert cancelled.wait(20), "the upstream was not told"
    late = p.client.retry("up_patient", {}, reply, answers(reply))
    assert late.code == -32602 and "call again" in late.error["message"]
    settled(p.gateway)
    assert p.gateway.metric("mcp_parked_calls_expired_total") == 1


def test_a_client_that_leaves_during_its_retry_cancels(parked: Any) -> None:
    service = asking()
    entered, cancelled = threading.Event(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        await ctx.ask(*ASKS["elicitation"])
        entered.set()
        await ctx.cancelled.wait()
        cancelled.set()
        return text("cancelled")

    service.tool("held", held)
    p = parked(service)
    reply = p.client.call("up_held")
    pending = p.client.open_retry("up_held", {}, reply, answers(reply))
    assert entered.wait(20)
    pending.close()
    assert cancelled.wait(20), "the upstream was not told"
    settled(p.gateway)
    assert p.client.retry("up_held", {}, reply, answers(reply)).code == -32602


def test_an_upstream_that_dies_meanwhile(parked: Any) -> None:
    p = parked(config={"timeouts": {"parked": "20s"}})
    replies = [p.client.call("up_ask", {"n": n}) for n in range(3)]
    p.upstream.stop()
    poll(lambda: p.gateway.metric("mcp_parked_calls") == 0)
    for n, reply in enumerate(replies):
        late = p.client.retry("up_ask", {"n": n}, reply, answers(reply))
        assert late.code == -32603 and late.error["data"]["reason"] == "upstream_unavailable"
    settled(p.gateway)


def test_a_state_is_bound_to_what_was_called(parked: Any) -> None:
    p = parked()
    arguments = {"kinds": ["elicitation"], "n": 1.0, "s": "ä"}
    reply = p.client.call("up_ask", arguments)
    other = arguments | {"n": 2}
    assert p.client.retry("up_ask", other, reply, answers(reply)).code == -32602
    assert p.client.retry("up_together", arguments, reply, answers(reply)).code == -32602
    forged = reply.result["requestState"][:-4] + "AAAA"
    params = {"requestState": forged, "inputResponses": answers(reply)}
    assert p.client.call("up_ask", arguments, params=params).code == -32602
    respelled = {"s": "ä", "n": 1, "kinds": ["elicitation"]}
    assert p.client.retry("up_ask", respelled, reply, answers(reply)).text


def test_answers_without_a_state_begin_a_call(parked: Any) -> None:
    p = parked()
    reply = p.client.call("up_ask", params={"inputResponses": {"r1": ACCEPT, "q": 1}})
    assert reply.asked
    assert p.client.call("up_echo", params={"inputResponses": None}).text == "{}"


def test_what_the_client_cannot_answer_is_not_asked(parked: Any) -> None:
    service = asking()
    refused: list[int] = []

    async def careful(ctx: Any, arguments: Any) -> Any:
        try:
            await ctx.ask(*ASKS["sampling"])
        except RpcError as e:
            refused.append(e.code)
        return text("without")

    service.tool("careful", careful)
    p = parked(service)
    client = p.make(caps={"elicitation": {}})
    assert client.call("up_careful").text == "without"
    assert refused == [-32601]
    assert json.loads(client.call("up_caps").text) == {"elicitation": {"form": {}}}
    assert json.loads(p.client.call("up_caps").text) == ALL


def test_with_superset_capabilities_the_gateway_refuses(parked: Any) -> None:
    p = parked(clientCaps="superset")
    client = p.make(caps={"elicitation": {}})
    reply = client.call("up_ask", {"kinds": ["sampling"]})
    assert reply.status == 400 and reply.code == -32021
    assert reply.error["data"] == {"requiredCapabilities": {"sampling": {}}}
    assert set(json.loads(client.call("up_caps").text)) >= {"sampling", "elicitation", "roots"}
    assert len([s for s in p.upstream.sessions.values() if "sampling" in s.caps]) <= 2
    assert client.call("up_ask").asked
    settled_calls = p.gateway.metric("mcp_calls_admitted_total")
    assert settled_calls == 3


def test_a_question_on_the_get_stream_belongs_to_the_only_call(parked: Any) -> None:
    p = parked()
    reply = p.client.call("up_on_get")
    done = p.client.retry("up_on_get", {}, reply, answers(reply))
    assert json.loads(done.text) == ACCEPT


def test_an_interactive_server_has_one_call_a_session(parked: Any) -> None:
    p = parked(interactive=True)
    replies = [p.client.call("up_on_get", {"n": n}) for n in range(3)]
    assert len({k for k, s in p.upstream.sessions.items() if s.asked}) == 3
    for n, reply in enumerate(replies):
        done = p.client.retry("up_on_get", {"n": n}, reply, answers(reply))
        assert json.loads(done.text) == ACCEPT


def test_a_ping_is_answered_while_the_call_is_parked(parked: Any) -> None:
    service = asking()
    ponged = threading.Event()

    async def pinging(ctx: Any, arguments: Any) -> Any:
        asked = asyncio.ensure_future(ctx.ask(*ASKS["elicitation"]))
        await asyncio.sleep(0.1)
        assert await ctx.ask("ping") == {}
        ponged.set()
        return text(json.dumps(await asked))

    service.tool("pinging", pinging)
    p = parked(service)
    reply = p.client.call("up_pinging")
    assert ponged.wait(20)
    assert json.loads(p.client.retry("up_pinging", {}, reply, answers(reply)).text) == ACCEPT


def test_progress_and_logs_follow_the_retry(parked: Any) -> None:
    service = asking()

    async def telling(ctx: Any, arguments: Any) -> Any:
        await ctx.progress(1)
        await ctx.log("error", "before")
        await ctx.ask(*ASKS["elicitation"])
        await ctx.progress(2)
        await ctx.log("error", "after")
        return text("told")

    service.tool("telling", telling)
    p = parked(service)
    first = p.client.call("up_telling", token="a", log="error")
    assert [n["progressToken"] for n in first.sent("notifications/progress")] == ["a"]
    assert [n["data"] for n in first.sent("notifications/message")] == ["before"]
    done = p.client.retry("up_telling", {}, first, answers(first), token=9, log="error")
    assert [n["progressToken"] for n in done.sent("notifications/progress")] == [9]
    assert [n["data"] for n in done.sent("notifications/message")] == ["after"]
    assert done.text == "told"


@pytest.mark.parametrize("limit", ["max", "perPrincipal", "perUpstream"])
def test_limits(parked: Any, limit: str) -> None:
    p = parked(config={"parked": {limit: 2}})
    replies = [p.client.call("up_ask", {"n": n}) for n in range(2)]
    over = p.client.call("up_ask", {"n": 2})
    assert over.code == -32603 and f"parked.{limit}" in over.error["message"]
    assert p.gateway.metric("mcp_parked_calls_refused_total") == 1
    finish(p.client, "up_ask", {"n": 0}, replies[0])
    assert p.client.call("up_ask", {"n": 3}).asked


def test_a_server_that_never_stops_asking(parked: Any) -> None:
    p = parked()
    arguments = {"kinds": ["elicitation"] * 11}
    reply = p.client.call("up_ask", arguments)
    for _ in range(9):
        reply = p.client.retry("up_ask", arguments, reply, answers(reply))
    last = p.client.retry("up_ask", arguments, reply, answers(reply))
    assert last.code == -32603 and "more than 10 times" in last.error["message"]
    settled(p.gateway)


def test_fixed_roots_are_told_to_everyone(parked: Any) -> None:
    p = parked(roots=["file:///srv/data", "file:///srv/more"])
    client = p.make(caps={})
    told = json.loads(client.call("up_ask", {"kinds": ["roots"]}).text)
    assert [r["uri"] for r in told[0]["roots"]] == ["file:///srv/data", "file:///srv/more"]


def test_a_session_for_each_call(parked: Any) -> None:
    p = parked(affinity="request")
    before = len(p.upstream.ended)
    reply = p.client.call("up_ask")
    assert json.loads(p.client.retry("up_ask", {}, reply, answers(reply)).text) == [ACCEPT]
    p.client.call("up_echo")
    poll(lambda: len(p.upstream.ended) == before + 2, why="both sessions are deleted")


def test_a_session_for_each_value_of_a_header(parked: Any) -> None:
    p = parked(affinity="header:X-Conversation")

    async def who(ctx: Any, arguments: Any) -> Any:
        return text(ctx.session.id)

    p.upstream.service.handlers["echo"] = who
    ids = [p.client.call("up_echo", headers={"X-Conversation": v}).text for v in "aba"]
    assert ids[0] == ids[2] != ids[1]


def test_sessions_that_rest_are_ended(parked: Any) -> None:
    p = parked(sessions={"idle": "100ms"})
    p.client.call("up_echo")
    poll(lambda: p.upstream.ended, why="DELETE")
    assert p.client.call("up_echo").text == "{}"


def test_a_full_pool_ends_the_longest_rested(parked: Any) -> None:
    p = parked(sessions={"max": 1})
    p.client.call("up_echo")
    assert json.loads(p.make(caps={}).call("up_caps").text) == {}
    poll(lambda: len(p.upstream.ended) == 1)
    reply = p.client.call("up_ask")
    busy = p.make(caps={}).call("up_echo")
    assert busy.code == -32603 and "sessions.max" in busy.error["message"]
    assert finish(p.client, "up_ask", {}, reply).result["resultType"] == "complete"


def test_a_retry_finds_its_call_on_another_thread(parked: Any) -> None:
    p = parked(config={"threads": 4})
    replies = [p.client.call("up_together", {"n": n}) for n in range(8)]
    for n, reply in enumerate(replies):
        done = p.client.retry("up_together", {"n": n}, reply, answers(reply))
        assert json.loads(done.text) == [ACCEPT, SAID, ROOTS]
    settled(p.gateway)


def test_prompts_and_resources_ask_too(parked: Any) -> None:
    service = asking()

    async def prompt(ctx: Any, params: Any) -> Any:
        told = await ctx.ask(*ASKS["elicitation"])
        content = {"type": "text", "text": json.dumps(told)}
        return {"messages": [{"role": "user", "content": content}]}

    async def read(ctx: Any, params: Any) -> Any:
        await ctx.ask(*ASKS["elicitation"])
        return {"contents": [{"uri": params["uri"], "text": "asked"}]}

    service.override |= {"prompts/get": prompt, "resources/read": read}
    p = parked(service)
    for method, params in (
        ("prompts/get", {"name": "up_greet", "arguments": {"who": "x"}}),
        ("resources/read", {"uri": "demo://one/a"}),
    ):
        reply = p.client.request(method, params)
        more = {"inputResponses": answers(reply), "requestState": reply.result["requestState"]}
        done = p.client.request(method, params | more)
        assert done.result["resultType"] == "complete"
        assert "ttlMs" in done.result or method != "resources/read"
    settled(p.gateway)


def test_a_child_of_its_own_asks(
    start_gateway: Callable[..., Any], stdio: Callable[..., Any], clients: Callable[..., Any]
) -> None:
    mock = stdio("io", "legacy")
    gateway = start_gateway({"upstreams": {"io": mock.mount(session="perClient")}})
    client = clients(Modern(gateway.url, caps=ALL))
    arguments = {"kinds": ["elicitation", "sampling"]}
    reply = client.call("io_ask", arguments)
    done = finish(client, "io_ask", arguments, reply)
    assert json.loads(done.text) == [ACCEPT, SAID]
    settled(gateway)


def test_a_drain_does_not_wait_for_clients_that_cannot_come_back(parked: Any) -> None:
    p = parked()
    p.client.call("up_ask")
    p.gateway.stop()
    assert p.gateway.process.returncode == 0


def test_several_servers_say_which_of_them_asks(
    start_gateway: Callable[..., Any], mocks: Callable[..., Any], clients: Callable[..., Any]
) -> None:
    one, two = mocks(LegacyServer(asking())), mocks(LegacyServer(asking()))
    config = {"upstreams": {"one": {"url": one.url}, "two": {"url": two.url}}}
    client = clients(Modern(start_gateway(config).url, caps=ALL))
    [question] = client.call("two_ask").asked.values()
    assert question["params"]["message"] == "[two] Which one?"
