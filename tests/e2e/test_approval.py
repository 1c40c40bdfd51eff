"""Calls that a person must accept."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import run_cli
from mcpclient import Legacy, Modern
from mockcore import text
from mocks import ModernServer, Service
from redisproc import RedisServer

ERAS = {"modern": Modern, "legacy": Legacy}
FORM = {"elicitation": {"form": {}}}


async def _echo(_ctx: Any, arguments: Any) -> Any:
    return text(json.dumps(arguments, sort_keys=True))


@pytest.fixture
def guarded(start_gateway: Any, mocks: Any) -> Any:
    """guarded(**mount) → a gateway before a server with a tool that destroys and one that does not,
    and the server."""

    def make(env: dict[str, str] | None = None, policy: Any = None, **mount: Any) -> Any:
        made = Service()
        made.tool("boom", _echo, annotations={"destructiveHint": True})
        made.tool("fine", _echo, annotations={"destructiveHint": False})
        up = mocks(ModernServer(made))
        config: dict[str, Any] = {"upstreams": {"up": {"url": up.url} | mount}}
        if policy:
            config["policy"] = {"rules": policy}
        return start_gateway(config, env=env), up

    return make


@pytest.mark.parametrize("era", ERAS)
def test_only_true_approves_where_nobody_can_be_asked(guarded: Any, clients: Any, era: str) -> None:
    gateway, up = guarded(trustAnnotations=True)
    client = clients(ERAS[era](gateway.url))
    for value in (None, False, "true", "false", 1, [True], {"a": True}):
        arguments = {"x": 1} | ({} if value is None else {"human_approved": value})
        reply = client.call("up_boom", arguments)
        assert reply.error["data"]["reason"] == "forbidden", value
        assert "human_approved" in reply.error["message"]
    assert not up.bodies("tools/call")
    given = {"x": 1, "human_approved": True, "approval_reason": "because"}
    assert client.call("up_boom", given).text == '{"x": 1}'
    assert client.call("up_fine", given).text == json.dumps(given, sort_keys=True)


def test_annotations_ask_for_approval_only_when_trusted(guarded: Any, clients: Any) -> None:
    gateway, _ = guarded()
    assert clients(Modern(gateway.url)).call("up_boom", {}).text == "{}"
    gateway, _ = guarded(
        env={"MCP_REQUIRE_HUMAN_APPROVAL_FOR_DESTRUCTIVE": "false"}, trustAnnotations=True
    )
    assert clients(Modern(gateway.url)).call("up_boom", {}).text == "{}"


def test_a_legacy_client_is_asked(guarded: Any, clients: Any) -> None:
    gateway, up = guarded(trustAnnotations=True)
    asked: list[Any] = []
    answers: list[Any] = [
        {"action": "accept", "content": {"approve": True}},
        {"action": "accept", "content": {"approve": False}},
        {"action": "accept", "content": {"approve": "true"}},
        {"action": "decline"},
        {"action": "cancel"},
    ]

    def answer(method: str, params: Any) -> Any:
        asked.append((method, params["message"]))
        return answers[len(asked) - 1]

    client = clients(Legacy(gateway.url, caps={"elicitation": {}}, answer=answer))
    assert client.call("up_boom", {"path": "/x"}).text == '{"path": "/x"}'
    assert asked[0][0] == "elicitation/create"
    assert "up_boom" in asked[0][1]
    assert '"/x"' in asked[0][1]
    for _ in answers[1:]:
        # An own word does not count where the user can be asked.
        reply = client.call("up_boom", {"human_approved": True})
        assert reply.error["data"]["reason"] == "forbidden"
    assert len(up.bodies("tools/call")) == 1
    assert len(asked) == len(answers)


def test_a_modern_client_is_asked_and_comes_back(guarded: Any, clients: Any) -> None:
    gateway, up = guarded(trustAnnotations=True)
    client = clients(Modern(gateway.url, caps=FORM))
    asked = client.call("up_boom", {"path": "/x"}).result
    assert asked["resultType"] == "input_required"
    ((key, question),) = asked["inputRequests"].items()
    assert question["method"] == "elicitation/create"
    assert "up_boom" in question["params"]["message"]

    def retry(answer: Any, arguments: Any, state: str) -> Any:
        params = {"inputResponses": {key: answer}, "requestState": state}
        return client.call("up_boom", arguments, params=params)

    yes = {"action": "accept", "content": {"approve": True}}
    state = asked["requestState"]
    assert retry(yes, {"path": "/etc"}, state).code == -32602
    assert not up.bodies("tools/call")
    done = retry(yes, {"path": "/x"}, state)
    assert done.text == '{"path": "/x"}'
    again = retry(yes, {"path": "/x"}, state)
    assert "error" in again.message
    assert len(up.bodies("tools/call")) == 1
    asked = client.call("up_boom", {}).result
    ((key, question),) = asked["inputRequests"].items()
    refused = retry({"action": "decline"}, {}, asked["requestState"])
    assert refused.error["data"]["reason"] == "forbidden"
    assert len(up.bodies("tools/call")) == 1


def test_a_rule_can_ask_for_approval_and_can_waive_it(guarded: Any, clients: Any) -> None:
    rules = [
        {"names": ["up_boom"], "args": {"/dry": True}, "effect": "allow"},
        {"names": ["up_fine"], "args": {"/big": {"range": [100, 1000]}}, "effect": "approve"},
    ]
    gateway, _ = guarded(policy=rules, trustAnnotations=True)
    client = clients(Modern(gateway.url))
    assert client.call("up_boom", {"dry": True}).text == '{"dry": true}'
    assert "error" in client.call("up_boom", {"dry": 1}).message
    assert client.call("up_fine", {"big": 99}).text == '{"big": 99}'
    assert "error" in client.call("up_fine", {"big": 100}).message
    assert client.call("up_fine", {"big": 100, "human_approved": True}).text == '{"big": 100}'


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@pytest.mark.parametrize("era", ERAS)
def test_an_approvers_word_is_good_for_one_call_among_replicas(
    start_gateway: Any, mocks: Any, clients: Any, redis: RedisServer, tmp_path: Path, era: str
) -> None:
    made = Service()
    made.tool("boom", _echo)
    up = mocks(ModernServer(made))
    config = {
        "upstreams": {"up": {"url": up.url}},
        "sealKeys": [base64.b64encode(secrets.token_bytes(32)).decode()],
        "store": redis.url,
        "auth": {"tokens": [{"token": t, "clientId": t} for t in "ab"]},
        "policy": {"rules": [{"names": ["up_boom"], "effect": "approve"}]},
    }
    gateways = [start_gateway(config) for _ in range(2)]
    (tmp_path / "who.json").write_text('{"client": "a", "subject": "a"}')
    (tmp_path / "args.json").write_text('{"x": 1, "y": [2]}')

    def mint() -> str:
        files = [str(tmp_path / "who.json"), "up_boom", str(tmp_path / "args.json")]
        done = run_cli("approve", "--config", str(gateways[0].file), "--for", *files)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def call(gateway: Any, word: str, who: str = "a", x: Any = 1) -> Any:
        headers = {"Authorization": f"Bearer {who}"}
        client = clients(ERAS[era](gateway.url, headers=headers, caps=FORM))
        meta = {"dev.headgate/approval": word}
        if era == "modern":
            meta |= client.meta()
        arguments = {"y": [2], "x": x}
        return client.request(
            "tools/call", {"name": "up_boom", "arguments": arguments, "_meta": meta}
        )

    word = mint()
    for reply in (
        call(gateways[0], word, who="b"),
        call(gateways[0], word, x=2),
        call(gateways[0], word[:-4] + "AAAA"),
    ):
        assert "the approval is not for this call" in reply.error["message"]
    assert not up.bodies("tools/call")
    assert call(gateways[0], word).text == '{"x": 1, "y": [2]}'
    for gateway in (*gateways, gateways[0]):
        assert "was used before" in call(gateway, word).error["message"]
    (sent,) = up.bodies("tools/call")
    assert "dev.headgate/approval" not in str(sent) and word not in str(sent)
    word = mint()
    redis.kill()
    assert "the store is away" in call(gateways[1], word).error["message"]
