"""Mcp-Param-* headers: what a tool's schema mirrors into headers is checked and made anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import Client, Legacy, Modern, header_value
from mockcore import RpcError, demo, text
from mocks import ModernServer, failure
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


class Changed(ModernServer):
    """Its tool's schema mirrors an argument since the gateway looked."""

    wants = "mcp-param-zone"
    refused = 0

    def __init__(self) -> None:
        async def where(ctx: Any, arguments: Any) -> Any:
            return text("there")

        super().__init__(demo())
        self.schema: dict[str, Any] = {"type": "object", "properties": {"z": {"type": "string"}}}
        self.service.tool("where", where, inputSchema=self.schema)

    async def post(self, message: dict[str, Any], request: Any, conn: Any) -> None:
        if message.get("method") == "tools/call" and not request.header(self.wants):
            self.refused += 1
            await conn.json(failure(message["id"], RpcError(-32020, "no such header")), 400)
        else:
            await super().post(message, request, conn)


@pytest.fixture(params=[Legacy, Modern], ids=["legacy", "modern"])
def before_changed(
    request: pytest.FixtureRequest,
    start_gateway: Callable[..., Any],
    mocks: Callable[..., Any],
    clients: Callable[[Client], Any],
) -> tuple[Any, Changed]:
    server = mocks(Changed())
    gateway = start_gateway({"upstreams": {"up": {"url": server.url}}})
    client = clients(request.param(gateway.url))
    client.all("tools")
    return client, server


def test_a_schema_that_changed_is_read_again_and_the_call_sent_once_more(
    before_changed: tuple[Any, Changed],
) -> None:
    client, server = before_changed
    server.schema["properties"]["z"]["x-mcp-header"] = "Zone"
    lists = len(server.posts("tools/list"))
    assert client.call("up_where", {"z": "eu"}).text == "there"
    assert server.refused == 1 and len(server.posts("tools/list")) == lists + 1
    assert server.posts("tools/call")[-1].header("mcp-param-zone") == "eu"
    assert len(server.service.calls()) == 1


def test_a_server_that_is_never_content_is_asked_twice(before_changed: tuple[Any, Changed]) -> None:
    client, server = before_changed
    error = client.call("up_where", {"z": "eu"}).error
    assert error["code"] == -32603 and error["data"]["reason"] == "bad_upstream"
    assert server.refused == 2
    assert client.call("up_where", {"z": "eu"}).code == -32603
