"""Streams that break off and are taken up again, on both sides."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import LEGACY_VERSIONS, Legacy
from mockcore import ASKS, text
from mockhttp import Connection, Gate, Request
from mocks import LegacyServer
from wire import poll

MakePair = Callable[..., Any]


@pytest.fixture
def legacy(pair: MakePair) -> Any:
    return pair("legacy", "legacy")


def slow(legacy: Any) -> Gate:
    """A tool that tells its progress, waits, tells more and answers."""
    gate = Gate()

    async def work(ctx: Any, arguments: Any) -> Any:
        await ctx.progress(1)
        await gate.wait()
        await ctx.progress(2)
        return text("worked")

    legacy.upstream.service.handlers["echo"] = work
    return gate


def first_with_data(stream: Any) -> Any:
    return next(e for e in iter(stream.next, None) if e.data)


@pytest.mark.parametrize("version", LEGACY_VERSIONS)
def test_streams_begin_with_an_id_only_for_clients_that_know_it(legacy: Any, version: str) -> None:
    client: Legacy = legacy.make(version=version)
    gate = slow(legacy)
    stream = client.open("tools/call", {"name": "up_echo"}, token="t").stream()
    event = stream.next()
    if version == "2025-11-25":
        assert (event.data, event.retry) == (b"", "1000") and event.id
        event = stream.next()
    assert event.json()["method"] == "notifications/progress" and event.id
    gate.open()
    ids = [event.id] + [e.id for e in iter(stream.next, None)]
    assert len(set(ids)) == 3


def test_an_answer_waits_for_a_client_that_went_away(legacy: Any) -> None:
    client: Legacy = legacy.client
    gate = slow(legacy)
    pending = client.open("tools/call", {"name": "up_echo"}, token="t", id_="mine")
    last = pending.stream().next().id
    pending.close()
    gate.open()
    poll(lambda: legacy.gateway.metric("mcp_calls_answered_total") == 1, why="the answer")
    stream = client.listen({"Last-Event-ID": last})
    got = [e.json() for e in iter(stream.next, None) if e.data]
    assert [m.get("method") for m in got] == ["notifications/progress"] * 2 + [None]
    assert got[-1]["id"] == "mine"
    assert got[-1]["result"]["content"][0]["text"] == "worked"


def test_a_client_that_comes_back_early_hears_the_rest_live(legacy: Any) -> None:
    client: Legacy = legacy.client
    gate = slow(legacy)
    pending = client.open("tools/call", {"name": "up_echo"}, token="t")
    event = first_with_data(pending.stream())
    pending.close()
    stream = client.listen({"Last-Event-ID": event.id})
    assert stream.next().data == b""
    gate.open()
    got = [e.json() for e in iter(stream.next, None) if e.data]
    assert [m.get("params", {}).get("progress") for m in got] == [2, None]
    assert got[-1]["result"]["content"][0]["text"] == "worked"
    # and once more, from the very beginning of what it had not seen
    again = client.listen({"Last-Event-ID": event.id})
    assert [e.json() for e in iter(again.next, None) if e.data] == got


def test_only_the_events_of_that_stream_are_sent_again(legacy: Any) -> None:
    client: Legacy = legacy.client
    gate = slow(legacy)
    calls = [client.open("tools/call", {"name": "up_echo"}, token=f"t{n}") for n in range(2)]
    events = [first_with_data(call.stream()) for call in calls]
    for call in calls:
        call.close()
    gate.open()
    poll(lambda: legacy.gateway.metric("mcp_calls_answered_total") == 2, why="the answers")
    for n, event in enumerate(events):
        stream = client.listen({"Last-Event-ID": event.id})
        got = [e.json() for e in iter(stream.next, None) if e.data]
        assert [m.get("params", {}).get("progressToken") for m in got] == [f"t{n}", None]


def test_the_standing_stream_goes_on_where_it_broke_off(legacy: Any) -> None:
    client: Legacy = legacy.client
    client.call("up_echo")
    poll(lambda: any(s.get for s in legacy.upstream.sessions.values()), why="the GET upstream")
    stream = client.listen()
    last = stream.next().id
    session = next(s for s in legacy.upstream.sessions.values() if s.get and s.ids)

    def say(n: int) -> None:
        data = {"level": "error", "data": n}
        legacy.upstream.notify("notifications/message", **data)

    assert session
    say(1)
    event = stream.next()
    assert event.json()["params"]["data"] == 1 and event.id != last
    stream.conn.close()
    say(2)
    stream = client.listen({"Last-Event-ID": event.id})
    got = first_with_data(stream)
    assert got.json()["params"]["data"] == 2


def test_a_second_standing_stream_is_refused_and_one_taken_up_is_not(legacy: Any) -> None:
    client: Legacy = legacy.client
    stream = client.listen()
    last = stream.next().id
    assert client.send("GET", client.fields(), b"").finish().status == 409
    again = client.listen({"Last-Event-ID": last})
    assert again.next().id
    assert stream.next() is None  # the one that was there before has ended


@pytest.mark.parametrize("wrong", ["nonsense", "1.2", "g.1.2", "ffffffff.5.1", "1.1.1.!!"])
def test_an_event_id_that_is_none_is_400(legacy: Any, wrong: str) -> None:
    client: Legacy = legacy.client
    fields = client.fields({"Last-Event-ID": wrong})
    assert client.send("GET", fields, b"").finish().status == 400
    assert client.request("ping").status == 200


def test_a_stream_that_nobody_has_any_more_ends_with_an_error(legacy: Any) -> None:
    client: Legacy = legacy.client
    stream = client.listen({"Last-Event-ID": "ffffffff.5.1.NDI"})  # request 42
    got = first_with_data(stream).json()
    assert got["id"] == 42 and got["error"]["code"] == -32603
    assert got["error"]["data"] == {"reason": "answer_lost", "mayHaveHadEffects": True}


def test_questions_wait_for_a_client_that_went_away(legacy: Any) -> None:
    client: Legacy = legacy.make(caps={"elicitation": {}})
    gate = Gate()

    async def work(ctx: Any, arguments: Any) -> Any:
        await ctx.progress(1)
        await gate.wait()
        return text(str(await ctx.ask(*ASKS["elicitation"])))

    legacy.upstream.service.handlers["echo"] = work
    pending = client.open("tools/call", {"name": "up_echo"}, token="t")
    event = first_with_data(pending.stream())
    pending.close()
    gate.open()
    stream = client.listen({"Last-Event-ID": event.id})
    question = first_with_data(stream).json()
    assert question["method"] == "elicitation/create"
    client.reply_to(question, lambda method, params: {"action": "decline"})
    assert "decline" in first_with_data(stream).json()["result"]["content"][0]["text"]


def test_what_a_modern_server_asks_waits_for_a_client_that_went_away(pair: MakePair) -> None:
    crossed = pair("legacy", "modern")
    client: Legacy = crossed.make(caps={"elicitation": {}})
    pending = client.open("tools/call", {"name": "up_ask"})
    stream = pending.stream()
    last = stream.next().id
    question = first_with_data(stream).json()
    pending.close()
    stream = client.listen({"Last-Event-ID": last})
    assert first_with_data(stream).json() == question
    client.reply_to(question, lambda method, params: {"action": "decline"})
    assert "decline" in first_with_data(stream).json()["result"]["content"][0]["text"]


class Cutting:
    """Breaks off the stream of each tools/call after an event, and answers who takes it up."""

    def __init__(self, server: LegacyServer, *, retry: int = 50, known: bool = True) -> None:
        self.server, self.retry, self.known = server, retry, known
        self.message: dict[str, Any] = {}
        self.resumed = threading.Event()
        self.cut = threading.Event()
        self.cuts = 1
        server.script = self.script

    async def script(self, request: Request, conn: Connection) -> bool:
        if b'"tools/call"' in request.body:
            self.message = request.json()
            await conn.stream()
            await conn.chunk(f"id: e1\nretry: {self.retry}\ndata: \n\n".encode())
            await conn.end()
            self.cut.set()
            return True
        if request.method != "GET" or not request.header("last-event-id"):
            return False
        self.resumed.set()
        if not self.known:
            await conn.reply(400)
            return True
        await conn.stream()
        self.cuts -= 1
        if self.cuts > 0:
            await conn.chunk(f"id: e{9 - self.cuts}\ndata: \n\n".encode())
            await conn.end()
            return True
        answer = {"jsonrpc": "2.0", "id": self.message["id"], "result": text("resumed")}
        await conn.event(answer, b"id: e9\n")
        await conn.end()
        return True


@pytest.mark.parametrize("cuts", [1, 3])
def test_a_server_that_breaks_off_is_asked_for_the_rest(legacy: Any, cuts: int) -> None:
    cutting = Cutting(legacy.upstream)
    cutting.cuts = cuts
    reply = legacy.client.call("up_echo")
    assert reply.text == "resumed"
    resumes = [r for r in legacy.upstream.requests if r.header("last-event-id")]
    assert len(resumes) == cuts
    assert resumes[0].header("last-event-id") == "e1"
    assert all(r.header("mcp-session-id") for r in resumes)


def test_a_server_that_does_not_know_its_own_event_fails_the_call(legacy: Any) -> None:
    cutting = Cutting(legacy.upstream, known=False)
    reply = legacy.client.call("up_echo")
    assert reply.code == -32603 and cutting.resumed.is_set()
    assert len(legacy.upstream.posts("tools/call")) == 1  # never sent twice


def test_while_a_server_is_away_the_client_gets_a_stream_to_take_up(legacy: Any) -> None:
    client: Legacy = legacy.client
    Cutting(legacy.upstream, retry=100)
    pending = client.open("tools/call", {"name": "up_echo"})
    event = pending.stream().next()
    assert event.data == b"" and event.id
    pending.close()
    stream = client.listen({"Last-Event-ID": event.id})
    assert first_with_data(stream).json()["result"]["content"][0]["text"] == "resumed"


def test_without_event_ids_a_broken_stream_fails_the_call(legacy: Any) -> None:
    async def script(request: Request, conn: Connection) -> bool:
        if b'"tools/call"' not in request.body:
            return False
        await conn.stream()
        await conn.end()
        return True

    legacy.upstream.script = script
    assert legacy.client.call("up_echo").code == -32603
