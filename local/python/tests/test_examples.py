"""Every file of examples/local does what it says, through the clients of both official SDKs over
stdio."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from conftest import PROGRAM, REPOSITORY, ROOT

EXAMPLES = REPOSITORY / "examples" / "local"
CLIENTS = {
    "python": [sys.executable, str(ROOT / "tests" / "sdk.py")],
    "typescript": ["node", str(REPOSITORY / "tests" / "e2e" / "clients" / "stdio.mjs")],
}
HOURS = "knowledge://guides/Opening%20hours%20%5B2026%5D.csv"
REVIEW = {"code": "x = 1", "language": "rust", "rules": '["speed", "style"]'}
ANSWERS = {"guests": 2, "room": "single", "breakfast": True, "value": "yes"}

# What the clients do, in this order, over one connection. The tests look at the outcomes.
STEPS: dict[str, list[Any]] = {
    "tools": ["tools"],
    "resources": ["resources"],
    "templates": ["templates"],
    "greet": ["call", "greet", {"name": "Ada"}],
    "greet loudly": ["call", "greet", {"name": "Ada", "excited": True}],
    "add": ["call", "add", {"a": 1, "b": 2}],
    "mean": ["call", "mean", {"values": [1, 2.5, 4]}],
    "mean of nothing": ["call", "mean", {"values": []}],
    "divide": ["call", "divide", {"a": 7, "b": 2, "rounding": "down"}],
    "divide by 0": ["call", "divide", {"a": 1, "b": 0}],
    "count": ["call", "count", {"to": 3}],
    "whoami": ["call", "whoami"],
    "summarize": ["call", "summarize", {"text": "a long text"}],
    "book": ["call", "book", {"city": "Bern"}],
    "note a": ["call", "note", {"text": "a"}],
    "note b": ["call", "note", {"text": "b"}],
    "notes": ["call", "notes"],
    "forget": ["call", "forget"],
    "notes after": ["call", "notes"],
    "forecast": ["call", "forecast", {"city": "Bern", "day": "2026-01-31", "days": 2}],
    "today": ["call", "today", {"city": "Bern"}],
    "pixel": ["call", "pixel"],
    "report": ["call", "report"],
    "measured": ["call", "measured", {"length": 1.5}],
    "15 KB": ["call", "report_size", {"kilobytes": 15}],
    "17 KB": ["call", "report_size", {"kilobytes": 17}],
    "query": ["call", "query", {"sql": "select 1"}],
    "connections": ["call", "connections"],
    "read aloud": ["call", "read_aloud", {"uri": "config://settings"}],
    "settings": ["read", "config://settings"],
    "items": ["read", "inventory://items"],
    "logo": ["read", "inventory://logo"],
    "both": ["read", "inventory://both"],
    "unknown": ["read", "inventory://nothing"],
    "profile": ["read", "users://7/profile"],
    "wrong profile": ["read", "users://seven/profile"],
    "file": ["read", "files://a/b%20c.txt"],
    "file outside": ["read", "files://a/..%2f..%2fetc/passwd"],
    "search": ["read", "search://cats?limit=3&order=old"],
    "overview": ["read", "knowledge://overview.md"],
    "hours": ["read", HOURS],
    "review": ["prompt", "review", REVIEW],
    "review of nothing": ["prompt", "review"],
    "conversation": ["prompt", "conversation", {"topic": "cats"}],
    "look at": ["prompt", "look_at"],
}


def run(sdk: str, steps: list[list[Any]], elicit: Any) -> list[Any]:
    """Runs steps with one of the SDKs; gives what each step's answer was, or its error."""
    plan = {
        "command": PROGRAM[0],
        "args": [*PROGRAM[1:], "--workspace", str(EXAMPLES)],
        "env": {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        "elicit": elicit,
        "steps": steps,
    }
    done = subprocess.run([*CLIENTS[sdk], json.dumps(plan)], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return [each.get("ok", each) for each in json.loads(done.stdout)]


@pytest.fixture(scope="module", params=CLIENTS)
def outcome(request: Any) -> dict[str, Any]:
    return dict(zip(STEPS, run(request.param, list(STEPS.values()), ANSWERS)))


def text(result: Any) -> str:
    assert not result.get("isError"), result
    return str(result["content"][0]["text"])


def test_plain_tools(outcome: Any) -> None:
    said = [text(outcome[each]) for each in ("greet", "greet loudly", "add", "mean", "divide")]
    assert said == ["Hello, Ada.", "Hello, Ada!", "3", "2.5", "3.0"]
    assert outcome["mean of nothing"]["isError"] and outcome["divide by 0"]["isError"]
    assert outcome["divide by 0"]["content"][0]["text"] == "b must not be 0"


def test_what_is_no_tool_is_not_listed(outcome: Any) -> None:
    assert {"greet", "add", "query"} <= set(outcome["tools"])
    assert not {"total", "shout", "_connection"} & set(outcome["tools"])


def test_progress_and_the_caller(outcome: Any) -> None:
    assert text(outcome["count"]) == "counted to 3"
    assert outcome["count"]["progress"] == [1, 2, 3]
    assert outcome["whoami"]["structuredContent"]["session"]


def test_sampling(outcome: Any) -> None:
    assert text(outcome["summarize"]) == "sampled"


def test_elicitation_with_a_form_and_a_choice(outcome: Any) -> None:
    assert text(outcome["book"]) == "booked a single room in Bern for 2"


@pytest.mark.parametrize("sdk", CLIENTS)
def test_an_answer_that_does_not_fit_the_form_is_an_error(sdk: str) -> None:
    [result] = run(sdk, [STEPS["book"]], {"guests": 2, "room": "suite"})
    assert "room" in json.dumps(result)
    assert result.get("isError") or "error" in result


def test_session_state(outcome: Any) -> None:
    said = [
        outcome[each]["structuredContent"]["result"]
        for each in ("note a", "note b", "notes", "forget", "notes after")
    ]
    assert said == [1, 2, ["a", "b"], "forgotten", []]


def test_structured_results_fit_their_schema(outcome: Any) -> None:
    """The SDKs validate them."""
    place = {"name": "Bern", "country": "nowhere"}
    first = {"place": place, "day": "2026-01-31", "celsius": 20.5, "rain": False}
    days = outcome["forecast"]["structuredContent"]["result"]
    assert days[0] == first
    assert days[1]["day"] == "2026-02-01"
    assert outcome["today"]["structuredContent"] == first


def test_pictures_files_and_results_in_full(outcome: Any) -> None:
    assert outcome["pixel"]["content"][0]["mimeType"] == "image/png"
    report, measured = outcome["report"], outcome["measured"]
    assert [each["type"] for each in report["content"]] == ["text", "image", "resource"]
    assert report["content"][2]["resource"]["text"] == "a,b\n1,2\n"
    assert measured["structuredContent"] == {"metres": 1.5, "centimetres": 150}
    assert measured["_meta"]["example.org/unit"] == "m"


def test_limits_of_output(outcome: Any) -> None:
    assert len(text(outcome["15 KB"])) == 15 * 1024
    assert outcome["17 KB"]["isError"]
    assert "limit is 16 KB" in outcome["17 KB"]["content"][0]["text"]


def test_dependencies_are_opened_and_closed(outcome: Any) -> None:
    assert text(outcome["query"]).startswith("connection 1 in request ")
    assert text(outcome["connections"]) == "0"


def test_a_tool_reads_resources_and_imports_siblings(outcome: Any) -> None:
    assert text(outcome["read aloud"]) == '{"THEME":"DARK","RETRIES":3}!'


def test_resources(outcome: Any) -> None:
    settings, items = outcome["settings"]["contents"][0], outcome["items"]["contents"][0]
    assert json.loads(settings["text"]) == {"theme": "dark", "retries": 3}
    assert settings["mimeType"] == "application/json"
    assert json.loads(items["text"])[0]["sku"] == "a1"
    assert base64.b64decode(outcome["logo"]["contents"][0]["blob"]).startswith(b"\x89PNG")
    assert outcome["both"]["contents"][1]["mimeType"] == "application/octet-stream"
    assert outcome["unknown"]["code"] == -32002


def test_templates(outcome: Any) -> None:
    assert "users://{id}/profile" in outcome["templates"]
    assert json.loads(outcome["profile"]["contents"][0]["text"])["name"] == "user 7"
    assert outcome["wrong profile"]["code"] == -32602
    assert "integer" in outcome["wrong profile"]["error"]
    assert outcome["file"]["contents"][0]["text"] == "the contents of a/b c.txt"
    assert outcome["file outside"]["code"] == -32602
    assert outcome["search"]["contents"][0]["text"] == "3 old things about cats"


def test_knowledge_with_any_name(outcome: Any) -> None:
    assert HOURS in outcome["resources"]
    assert outcome["overview"]["contents"][0]["mimeType"] == "text/markdown"
    hours = outcome["hours"]["contents"][0]
    assert (hours["mimeType"], hours["text"]) == ("text/csv", "day,opens\nmonday,9\n")


def test_prompts(outcome: Any) -> None:
    asked = "Review this rust code for speed; style:\n\nx = 1"
    assert outcome["review"]["messages"][0]["content"]["text"] == asked
    roles = [each["role"] for each in outcome["conversation"]["messages"]]
    assert roles == ["user", "assistant"]
    kinds = [each["content"]["type"] for each in outcome["look at"]["messages"]]
    assert kinds == ["image", "resource", "text"]
    missing = outcome["review of nothing"]
    assert missing["code"] == -32602 and "code: is required" in missing["error"]
