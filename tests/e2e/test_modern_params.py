"""Mcp-Param-* headers: what a tool's schema mirrors into headers is checked and made anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import header_value
from mockcore import demo, text
from wire import poll

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "in": {"type": "object", "properties": {"x": {"type": "string", "x-mcp-header": "Deep"}}},
        "other": {"type": "string"},
    },
}


@pytest.fixture
def modern(pair: Callable[..., Any]) -> Any:
    async def where(ctx: Any, arguments: Any) -> Any:
        return text("there")

    service = demo()
    service.tool("where", where, inputSchema=SCHEMA)
    bad = {"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "not a token"}}}
    service.tool("bad", where, inputSchema=bad)
    out = pair("modern", "modern", service=service)
    out.client.all("tools")
    return out


GOOD: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"region": "eu"}, {"Mcp-Param-Region": "eu"}),
    ({"region": "Düsseldorf"}, {"Mcp-Param-Region": header_value("Düsseldorf")}),
    ({"region": " eu "}, {"Mcp-Param-Region": header_value(" eu ")}),
    ({"region": "=?base64?eA==?="}, {"Mcp-Param-Region": header_value("=?base64?eA==?=")}),
    ({"count": 42}, {"Mcp-Param-Count": "42"}),
    ({"dry": True}, {"Mcp-Param-Dry": "true"}),
    ({"in": {"x": "deep"}}, {"Mcp-Param-Deep": "deep"}),
    ({"other": "x", "region": None}, {}),
    ({}, {}),
]


@pytest.mark.parametrize("arguments,headers", GOOD)
def test_mirrored_values_are_checked_and_sent_on(
    modern: Any, arguments: dict[str, Any], headers: dict[str, str]
) -> None:
    assert modern.client.call("up_where", arguments, headers=headers).text == "there"
    sent = modern.upstream.posts("tools/call")[-1]
    have = {n: v for n, v in sent.headers if n.startswith("mcp-param-")}
    assert have == {n.lower(): v for n, v in headers.items()}


BAD: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"region": "eu"}, {}),
    ({"region": "eu"}, {"Mcp-Param-Region": "us"}),
    ({"region": "eu"}, {"Mcp-Param-Region": "EU"}),
    ({"region": "eu"}, {"Mcp-Param-Region": "=?base64?!!?="}),
    ({"region": "eu"}, {"Mcp-Param-Region": "=?base64?ZXU?="}),
    ({}, {"Mcp-Param-Region": "eu"}),
    ({"count": 42}, {"Mcp-Param-Count": "43"}),
    ({"count": 42}, {"Mcp-Param-Count": "x"}),
    ({"dry": True}, {"Mcp-Param-Dry": "True"}),
    ({"in": {"x": "deep"}}, {}),
]


@pytest.mark.parametrize("arguments,headers", BAD)
def test_mismatches_are_refused(
    modern: Any, arguments: dict[str, Any], headers: dict[str, str]
) -> None:
    reply = modern.client.call("up_where", arguments, headers=headers)
    assert (reply.status, reply.code) == (400, -32020)
    assert not modern.upstream.service.calls()


def test_integers_compare_as_numbers(modern: Any) -> None:
    headers = {"Mcp-Param-Count": "42.0"}
    assert modern.client.call("up_where", {"count": 42}, headers=headers).text == "there"


def test_unannotated_ones_are_no_error(modern: Any) -> None:
    headers = {"Mcp-Param-Else": "x"}
    assert modern.client.call("up_where", {}, headers=headers).text == "there"


def test_tools_with_an_invalid_annotation_are_left_out(modern: Any) -> None:
    names = [t["name"] for t in modern.client.all("tools")]
    assert "up_where" in names and "up_bad" not in names
    poll(lambda: "x-mcp-header" in modern.gateway.logs, why="a warning that names the reason")
