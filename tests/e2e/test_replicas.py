"""Several replicas behind one balancer: a session is served wherever its requests arrive."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from mcpclient import Legacy, Modern
from mockcore import text
from mockhttp import Gate
from mocks import LegacyServer, ModernServer
from redisproc import RedisServer
from replicas import Balancer
from test_sse_client import SseClient
from wire import http, poll

KEY = base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
def fleet(start_gateway: Any, redis: RedisServer, clients: Any) -> Iterator[Callable[..., Fleet]]:
    made: list[Fleet] = []

    def make(url: str, count: int = 2, *, link: bool = True, **more: Any) -> Fleet:
        config: dict[str, Any] = {"sealKeys": [KEY], "store": redis.url}
        config |= {"upstreams": {"up": {"url": url}}} | more
        if link:
            config["replicaLink"] = {"listen": "127.0.0.1:0"}
        made.append(Fleet(start_gateway, clients, config, count))
        return made[-1]

    yield make
    for fleet in made:
        fleet.balancer.close()


class Fleet:
    def __init__(self, start: Any, keep: Any, config: dict[str, Any], count: int) -> None:
        self.start, self.keep, self.config = start, keep, config
        self.gateways = [start(config) for _ in range(count)]
        self.balancer = Balancer(lambda: [g.host_port for g in self.gateways])

    def client(self, at: int | None = None, **more: Any) -> Legacy:
        url = self.balancer.url if at is None else self.gateways[at].url
        return self.keep(Legacy(url, **more))

    def at(self, n: int, client: Legacy, **more: Any) -> Legacy:
        """The same session, asked for at that replica."""
        other = self.keep(Legacy(self.gateways[n].url, client.version, connect=False, **more))
        other.session, other._ids = client.session, client._ids
        return other

    def kill(self, n: int) -> None:
        gateway = self.gateways.pop(n)
        gateway.expected_exit = -signal.SIGKILL
        gateway.signal(signal.SIGKILL)
        gateway.wait()

    def metric(self, name: str, **labels: str) -> float:
        """The sum over the replicas; one that has no such series yet counts as 0."""
        total = 0.0
        for gateway in self.gateways:
            with contextlib.suppress(AssertionError):
                total += gateway.metric(name, **labels)
        return total


def test_a_session_is_served_at_every_replica(fleet: Any, legacy_up: LegacyServer) -> None:
    f = fleet(legacy_up.url, 3)
    client = f.client()
    for n in range(12):
        assert client.call("up_echo", {"n": n}).text == json.dumps({"n": n})
    assert f.metric("mcp_sessions_active") == 1
    assert f.metric("mcp_link_sent_total", result="ok") > 0


def test_all_calls_of_a_session_use_one_session_of_the_server(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    seen: set[str] = set()

    async def work(ctx: Any, arguments: Any) -> Any:
        seen.add(ctx.session.id)
        return text("ok")

    legacy_up.service.handlers["echo"] = work
    client = fleet(legacy_up.url, 3).client()
    for _ in range(9):
        assert client.call("up_echo").text == "ok"
    assert len(seen) == 1


def test_streams_and_questions_go_to_the_replica_that_has_the_session(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    f = fleet(legacy_up.url)
    client = f.client(caps={"elicitation": {}})
    answer = {"action": "accept", "content": {"which": "x"}}
    for _ in range(4):  # the answer is posted to the other replica than the call
        reply = client.call("up_ask", answer=lambda method, params: answer)
        assert json.loads(reply.text) == [answer]
    reply = client.call("up_progress", token=7)
    assert len(reply.sent("notifications/progress")) == 3


def test_the_standing_stream_of_another_replica(fleet: Any, legacy_up: LegacyServer) -> None:
    f = fleet(legacy_up.url)
    client = f.client(0)
    client.call("up_echo")
    stream = f.at(1, client).listen()
    assert stream.next().data == b""
    poll(lambda: all(s.get for s in legacy_up.sessions.values()), why="the GETs upstream")
    assert f.at(0, client).send("GET", client.fields(), b"").finish().status == 409
    legacy_up.notify("notifications/message", level="error", data="here")
    assert stream.next().json()["params"]["data"] == "here"
    stream.conn.close()
    poll(lambda: f.gateways[0].metric("mcp_open_streams") == 0, why="the end of the stream")
    legacy_up.notify("notifications/message", level="error", data="kept")
    stream = f.at(1, client).listen()
    first = next(e for e in iter(stream.next, None) if e.data)
    assert first.json()["params"]["data"] == "kept"


def test_cancel_and_resume_reach_the_replica_that_runs_the_call(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    f = fleet(legacy_up.url)
    gate = Gate()

    async def work(ctx: Any, arguments: Any) -> Any:
        await ctx.progress(1)
        await gate.wait()
        return text("worked")

    legacy_up.service.handlers["echo"] = work
    client = f.client(0)
    pending = client.open("tools/call", {"name": "up_echo"}, token="t")
    event = next(e for e in iter(pending.stream().next, None) if e.data)
    pending.close()
    stream = f.at(1, client).listen({"Last-Event-ID": event.id})
    gate.open()
    last = [e.json() for e in iter(stream.next, None) if e.data][-1]
    assert last["result"]["content"][0]["text"] == "worked"

    held = Gate()

    async def wait(ctx: Any, arguments: Any) -> Any:
        await ctx.progress(1)
        await ctx.cancelled.wait()
        held.open()
        return text("late")

    legacy_up.service.handlers["echo"] = wait
    pending = client.open("tools/call", {"name": "up_echo"}, token="t", id_="stop")
    assert next(e for e in iter(pending.stream().next, None) if e.data)
    assert f.at(1, client).notify("notifications/cancelled", {"requestId": "stop"}).status == 202
    poll(lambda: held.is_open, why="the server hears of the cancellation")


def test_delete_at_any_replica_ends_it_at_all(fleet: Any, legacy_up: LegacyServer) -> None:
    f = fleet(legacy_up.url, 3)
    client = f.client(0)
    client.call("up_echo")
    assert f.at(1, client).delete().status == 200
    for n in range(3):
        assert f.at(n, client).call("up_echo").status == 404
    poll(lambda: legacy_up.ended, why="DELETE upstream")
    f.kill(0)
    for n in range(2):
        assert f.at(n, client).call("up_echo").status == 404


def test_a_session_outlives_its_replica_with_all_that_it_had(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    seen: list[tuple[str, str | None]] = []

    async def work(ctx: Any, arguments: Any) -> Any:
        seen.append((ctx.session.id, ctx.session.level))
        return text("ok")

    legacy_up.service.handlers["echo"] = work
    f = fleet(legacy_up.url, 3)
    client = f.client(0)
    assert client.request("logging/setLevel", {"level": "error"}).result == {}
    assert client.call("up_echo").text == "ok"
    assert client.request("resources/subscribe", {"uri": "demo://one/a"}).result == {}
    poll(lambda: f.metric("mcp_sessions_active") == 1)
    f.kill(0)
    at_first, at_second = f.at(0, client), f.at(1, client)
    assert at_first.call("up_echo").text == "ok"
    assert at_second.call("up_echo").text == "ok"
    assert len(set(seen)) == 1, "the same session of the server, and its level"
    stream = at_second.listen()
    poll(
        lambda: legacy_up.notify("notifications/resources/updated", uri="demo://one/a"),
        why="the GET upstream",
    )
    told = next(e for e in iter(stream.next, None) if e.data).json()
    assert told["params"]["uri"] == "demo://one/a"
    assert f.metric("mcp_sessions_revived_total") == 1


def test_what_was_in_flight_on_a_killed_replica_ends_with_an_error(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    gate = Gate()

    async def work(ctx: Any, arguments: Any) -> Any:
        await gate.wait()
        return text("late")

    async def stream(ctx: Any, arguments: Any) -> Any:
        await ctx.progress(1)
        return await work(ctx, arguments)

    f = fleet(legacy_up.url)
    client = f.client(0)
    client.call("up_echo")
    legacy_up.service.handlers["echo"] = work
    legacy_up.service.handlers["fail"] = stream
    elsewhere = f.at(1, client)
    plain = elsewhere.open("tools/call", {"name": "up_echo"})
    assert gate.entered.wait(10)
    streamed = elsewhere.open("tools/call", {"name": "up_fail"}, token="t")
    assert next(e for e in iter(streamed.stream().next, None) if e.data)
    f.kill(0)
    for pending in (plain, streamed):
        reply = pending.finish()
        assert reply.code == -32603
        assert reply.error["data"] == {"reason": "owner_gone", "mayHaveHadEffects": True}
    legacy_up.service.handlers["echo"] = lambda ctx, arguments: _answer()
    gate.open()
    assert f.at(0, client).call("up_echo").text == "back"


async def _answer() -> Any:
    return text("back")


def test_a_stream_whose_replica_was_killed_ends_with_an_error_when_taken_up(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    gate = Gate()

    async def work(ctx: Any, arguments: Any) -> Any:
        await ctx.progress(1)
        await gate.wait()
        return text("late")

    legacy_up.service.handlers["echo"] = work
    f = fleet(legacy_up.url)
    client = f.client(0)
    pending = client.open("tools/call", {"name": "up_echo"}, token="t", id_=99)
    event = next(e for e in iter(pending.stream().next, None) if e.data)
    f.kill(0)
    gate.open()
    stream = f.at(0, client).listen({"Last-Event-ID": event.id})
    last = next(e for e in iter(stream.next, None) if e.data).json()
    assert last["id"] == 99 and last["error"]["data"]["mayHaveHadEffects"] is True


def wait_kept(redis: RedisServer, count: int) -> None:
    """Until the one stream that the store has is of so many events."""

    def kept() -> bool:
        keys = redis.lines("KEYS", "*:replay:*")
        return len(keys) == 1 and redis.say("XLEN", keys[0]) == f":{count}".encode()

    poll(kept, why="the event in the store")


def broken_off(f: Fleet, up: LegacyServer, redis: RedisServer) -> tuple[Legacy, str]:
    """A call at the first replica whose client went away before its answer, which is kept. Returns
    the client and the last event that it had."""
    gate = Gate()

    async def work(ctx: Any, arguments: Any) -> Any:
        await ctx.progress(1)
        await gate.wait()
        await ctx.progress(2)
        return text("worked")

    up.service.handlers["echo"] = work
    client = f.client(0)
    pending = client.open("tools/call", {"name": "up_echo"}, token="t", id_=99)
    event = next(e for e in iter(pending.stream().next, None) if e.data)
    pending.close()
    gate.open()
    wait_kept(redis, 3)
    return client, event.id


def test_an_answer_outlives_the_replica_that_kept_it(
    fleet: Any, legacy_up: LegacyServer, redis: RedisServer
) -> None:
    f = fleet(legacy_up.url)
    client, last = broken_off(f, legacy_up, redis)
    f.kill(0)
    for _ in range(2):  # the second time from where the first would have broken off
        stream = f.at(0, client).listen({"Last-Event-ID": last})
        events = [e for e in iter(stream.next, None) if e.data]
        got = [e.json() for e in events]
        assert got[-1]["id"] == 99 and got[-1]["result"]["content"][0]["text"] == "worked"
        last = events[0].id if len(events) > 1 else last
    assert [m.get("method") for m in got] == [None]


def test_what_a_standing_stream_missed_outlives_its_replica(
    fleet: Any, legacy_up: LegacyServer, redis: RedisServer
) -> None:
    f = fleet(legacy_up.url)
    client = f.client(0)
    client.call("up_echo")
    stream = client.listen()
    assert stream.next().data == b""
    poll(lambda: all(s.get for s in legacy_up.sessions.values()), why="the GETs upstream")

    def say(n: int) -> None:
        legacy_up.notify("notifications/message", level="error", data=n)

    say(1)
    last = next(e for e in iter(stream.next, None) if e.data).id
    stream.conn.close()
    say(2)
    wait_kept(redis, 2)
    f.kill(0)
    stream = f.at(0, client).listen({"Last-Event-ID": last})
    assert next(e for e in iter(stream.next, None) if e.data).json()["params"]["data"] == 2
    other = f.at(0, client)
    assert other.send("GET", other.fields(), b"").finish().status == 409, "it stands again"


def test_while_the_store_is_away_a_stream_of_a_dead_replica_is_put_off(
    fleet: Any, legacy_up: LegacyServer, redis: RedisServer
) -> None:
    f = fleet(legacy_up.url)
    client, last = broken_off(f, legacy_up, redis)
    redis.pause()
    f.kill(0)
    other = f.at(0, client)
    refused = other.send("GET", other.fields({"Last-Event-ID": last}), b"").finish()
    assert refused.status == 503 and refused.response.header("retry-after")
    assert other.listen().next().id, "new streams begin"
    redis.resume()


def test_what_was_kept_of_streams_goes_with_their_session(
    fleet: Any, legacy_up: LegacyServer, redis: RedisServer
) -> None:
    f = fleet(legacy_up.url)
    client, _ = broken_off(f, legacy_up, redis)
    assert f.at(0, client).delete().status == 200
    poll(lambda: redis.lines("KEYS", "*:replay:*") == [], why="the end of the log")


def test_plain_answers_are_not_kept(
    fleet: Any, legacy_up: LegacyServer, redis: RedisServer
) -> None:
    f = fleet(legacy_up.url)
    client = f.client(0)
    for _ in range(5):
        assert not client.call("up_echo").response.header("content-type").startswith("text/event")
    poll(lambda: redis.lines("KEYS", "*:session:*"), why="what is kept of the session")
    assert redis.lines("KEYS", "*:replay:*") == []


def test_without_a_link_every_replica_serves_what_arrives(
    fleet: Any, legacy_up: LegacyServer, redis: RedisServer
) -> None:
    seen: set[str] = set()

    async def work(ctx: Any, arguments: Any) -> Any:
        seen.add(ctx.session.id)
        return text("ok")

    legacy_up.service.handlers["echo"] = work
    legacy_up.lenient = True  # each replica would have the GET stream of the one session
    f = fleet(legacy_up.url, 3, link=False)
    client = f.client(0)
    assert client.call("up_echo").text == "ok"
    poll(lambda: redis.say("KEYS", "*:session:*") > b"*0", why="the session's state")
    for n in (1, 2, 0, 1, 2):
        assert f.at(n, client).call("up_echo").text == "ok"
    assert len(seen) == 1


def test_another_principals_session_is_404_and_reaches_no_server(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    tokens = {"alice": {"token": "a" * 20}, "bob": {"token": "b" * 20}}
    auth = {
        "type": "bearer",
        "tokens": [{"token": t["token"], "clientId": n} for n, t in tokens.items()],
    }
    f = fleet(legacy_up.url, auth=auth)
    alice = f.client(0, headers={"Authorization": "Bearer " + "a" * 20})
    assert alice.call("up_echo").text
    before = len(legacy_up.requests)
    for n in range(2):
        bob = f.at(n, alice, headers={"Authorization": "Bearer " + "b" * 20})
        assert bob.call("up_echo").status == 404
        assert bob.delete().status == 404
        assert (
            bob.send("GET", bob.fields({"Accept": "text/event-stream"}), b"").finish().status == 404
        )
    assert len([r for r in legacy_up.requests[before:] if r.method != "GET"]) == 0


def test_the_owner_sees_where_the_client_calls_from(fleet: Any, legacy_up: LegacyServer) -> None:
    limits = {"rules": [{"per": ["principal"], "rate": "2/h"}]}
    f = fleet(legacy_up.url, limits=limits, trustedProxies=["127.0.0.0/8"])

    def calls(address: str) -> int:
        client = f.at(1, f.client(0), headers={"X-Forwarded-For": address})
        return sum("isError" not in client.call("up_echo").result for _ in range(3))

    assert [calls("198.51.100.7"), calls("2001:db8::1"), calls("198.51.100.7")] == [2, 2, 0]
    assert f.metric("mcp_link_sent_total", result="ok") > 0


def test_messages_find_the_replica_that_has_the_stream(
    fleet: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    """HTTP+SSE: the stream is at one replica, and its POSTs come to another."""
    f = fleet(legacy_up.url)
    client = clients(SseClient(f.gateways[0].base))
    client.endpoint = urljoin(f.gateways[1].base, client.reference)
    client.initialize()
    assert json.loads(client.call("up_echo", {"n": 1})["result"]["content"][0]["text"]) == {"n": 1}
    assert client.post(b"{").status == 400
    asked = client.start("tools/call", {"name": "up_echo", "arguments": {}})
    assert client.answer(asked)["result"]
    assert f.metric("mcp_link_sent_total", result="ok") >= 4
    forged = urljoin(f.gateways[1].base, client.reference[:-2] + "AA")
    assert http(forged, "POST", {"Content-Type": "application/json"}, b"{}").status == 404
    f.kill(0)
    assert client.post(b"{}").status == 404, "its stream has ended"


def test_modern_upstreams_need_no_owner(fleet: Any, modern_up: ModernServer) -> None:
    f = fleet(modern_up.url, 2)
    client = f.client()
    for n in range(6):
        assert client.call("up_echo", {"n": n}).text == json.dumps({"n": n})


def test_while_the_store_is_away_replicas_that_know_each_other_go_on(
    fleet: Any, legacy_up: LegacyServer, redis: RedisServer
) -> None:
    f = fleet(legacy_up.url)
    client = f.client(0)
    client.call("up_echo")
    other = f.at(1, client)
    assert other.call("up_echo", {"n": 1}).text == '{"n": 1}'
    redis.kill()
    assert other.call("up_echo", {"n": 2}).text == '{"n": 2}'


def test_while_the_store_is_away_no_second_session_begins_at_a_server(
    fleet: Any, legacy_up: LegacyServer, redis: RedisServer
) -> None:
    f = fleet(legacy_up.url)
    client = f.client(0)
    client.call("up_echo")
    redis.kill()
    f.kill(0)
    begun = len(legacy_up.bodies("initialize"))
    other = f.at(0, client)
    assert other.request("ping").result == {}
    refused = other.call("up_echo")
    assert refused.status == 503 and refused.response.header("retry-after")
    assert len(legacy_up.bodies("initialize")) == begun
    redis.start()
    poll(lambda: other.call("up_echo").status == 200, why="the store's return")


def test_a_retry_finds_its_parked_call_at_another_replica(
    fleet: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    f = fleet(legacy_up.url)
    caps = {"elicitation": {"form": {}}}
    one, other = (clients(Modern(g.url, caps=caps)) for g in f.gateways)
    said = {"action": "accept", "content": {"which": "x"}}
    for asker, answerer in ((one, other), (other, one)):
        reply = asker.call("up_ask")
        answers = dict.fromkeys(reply.asked, said)
        assert json.loads(answerer.retry("up_ask", {}, reply, answers).text) == [said]
    assert f.metric("mcp_parked_calls") == 0


def test_a_retry_whose_replica_is_gone_says_that_the_call_may_be_repeated(
    fleet: Any, legacy_up: LegacyServer, clients: Any
) -> None:
    f = fleet(legacy_up.url)
    caps = {"elicitation": {"form": {}}}
    one, other = (clients(Modern(g.url, caps=caps)) for g in f.gateways)
    reply = one.call("up_ask")
    f.kill(0)
    refused = other.retry("up_ask", {}, reply, dict.fromkeys(reply.asked, {"action": "decline"}))
    assert refused.code == -32602
    assert refused.error["data"] == {"reason": "owner_gone", "mayHaveHadEffects": True}


def test_a_drained_replica_gives_its_idle_sessions_away(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    """While a call still runs at it, and without an error for anybody."""
    gate = Gate()

    async def work(ctx: Any, arguments: Any) -> Any:
        await gate.wait()
        return text("worked")

    f = fleet(legacy_up.url, timeouts={"lameDuck": "0s", "drain": "20s"})
    idle, busy = f.client(0), f.client(0)
    idle.call("up_echo")
    busy.call("up_echo")
    legacy_up.service.handlers["echo"] = work
    pending = busy.open("tools/call", {"name": "up_echo"})
    assert gate.entered.wait(10)
    first = f.gateways[0]
    first.signal(signal.SIGTERM)
    first.wait_log("drain.begun")
    legacy_up.service.handlers["echo"] = lambda ctx, arguments: _answer()
    begun = len(legacy_up.bodies("initialize"))
    elsewhere = f.at(1, idle)
    poll(lambda: elsewhere.call("up_echo").text == "back")
    assert elsewhere.call("up_echo").text == "back"
    assert len(legacy_up.bodies("initialize")) == begun, "it keeps the server's session"
    gate.open()
    assert pending.finish().text == "worked"
    assert first.wait() == 0
    f.gateways.remove(first)
    assert f.at(0, busy).call("up_echo").text == "back"
    assert len(legacy_up.bodies("initialize")) == begun


def test_clients_keep_their_sessions_while_replicas_are_killed(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    f = fleet(legacy_up.url, 3)
    sessions = [f.client() for _ in range(10)]
    for client in sessions:
        assert client.call("up_echo", {"n": 0}).text == '{"n": 0}'
    for _ in range(2):
        f.kill(0)
        f.gateways.append(f.start(f.config))
        for n, client in enumerate(sessions):
            assert client.call("up_echo", {"n": n}).text == json.dumps({"n": n})
    assert f.metric("mcp_sessions_active") >= 10


def test_a_change_that_a_server_tells_one_replica_reaches_clients_of_all(
    fleet: Any, legacy_up: LegacyServer
) -> None:
    f = fleet(legacy_up.url)
    first, second = f.client(0), f.client(1)
    for client in (first, second):
        client.call("up_echo")
    stream = second.listen()
    assert stream.next().data == b""
    poll(lambda: sum(1 for s in legacy_up.sessions.values() if s.get) >= 4, why="GET streams")
    legacy_up.service.tool("grown")
    mine = next(s for s in legacy_up.sessions.values() if s.get and len(s.ids) == 1)
    legacy_up.tell(mine, "notifications/tools/list_changed")
    told = next(e for e in iter(stream.next, None) if e.data).json()
    assert told["method"] == "notifications/tools/list_changed"
    for client in (first, second):
        poll(lambda c=client: "up_grown" in [t["name"] for t in c.all("tools")])
