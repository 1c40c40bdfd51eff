"""What is not the gateway's business passes byte for byte, both ways."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from mcpclient import Legacy, Modern
from mockcore import Service
from wire import Raw, span

MakePair = Callable[..., Any]
NUMBERS = [
    *("9007199254740991", "9007199254740992", "9007199254740993", "-9007199254740993"),
    *("9223372036854775807", "9223372036854775808", "18446744073709551616", "1e400", "-1e400"),
    *("-0", "0", "-0.0", "1.0", "1.00", "1E5", "1e+5", "1e-5", "0.1", "1.7976931348623157e308"),
    *("123456789012345678901234567890", "0.123456789012345678901234567890", "1e-400"),
]
STRINGS = [
    *('""', '"a"', '"\\u0000"', '"\\u2028\\u2029"', '"\u2028\u2029"', '"\\/"', '"/"', '"\\""'),
    *('"\\u00e9"', '"é"', '"\\uD83D\\uDE00"', '"😀"', '"\\b\\f\\n\\r\\t"', '"\\u007f"', '"\x7f"'),
    *('"data: x"', '"\\n\\ndata: forged\\n\\n"', '"id: 1"', '"<script>"', '"%00"', '"\\\\u0000"'),
]


def value(rng: random.Random, depth: int = 0) -> str:
    """A JSON text with odd numbers, escapes, spaces and repeated or empty names."""
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind < 4:
        return rng.choice(STRINGS)
    if kind == 4:
        return rng.choice(["true", "false", "null", "{}", "[]", "{ }", "[ ]"])
    gap = rng.choice(["", " ", "  ", "\t"])
    parts = [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 5:
        return "[" + gap + f"{gap},".join(parts) + gap + "]"
    names = rng.sample(STRINGS, len(parts))
    return (
        "{" + gap + f",{gap}".join(f"{n}{gap}:{p}" for n, p in zip(names, parts, strict=True)) + "}"
    )


def mirror() -> Service:
    """Gives back the bytes of the arguments."""
    service = Service()

    async def same(ctx: Any, arguments: Any) -> Any:
        given = span(ctx.raw, "params", "arguments") or b"null"
        return Raw(
            b'{"content":[],"structuredContent":{"v": ' + given + b'},"resultType":"complete"}'
        )

    service.tool("same", same)
    return service


def call_raw(client: Any, id_: str, arguments: str) -> Any:
    """tools/call whose id and arguments are these texts."""
    params: dict[str, Any] = {"name": "up_same", "arguments": Raw(arguments.encode())}
    return client.request("tools/call", params, id_=Raw(id_.encode()))


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("sse", [False, True], ids=["json", "sse"])
def test_ids_and_arguments_of_any_shape(pair: MakePair, era: str, sse: bool) -> None:
    both = pair(era, era, service=mirror())
    both.upstream.sse = sse
    client = both.make(keep=True)
    rng = random.Random(f"{era}{sse}")
    for n in range(500):
        id_ = rng.choice([NUMBERS[n % len(NUMBERS)], f'"\\u00e9{n}"', f"{n}", f'"{n}"'])
        arguments = "{" + f'"x" : {value(rng)}' + "}"
        reply = call_raw(client, id_, arguments)
        assert reply.span("id") == id_.encode(), arguments
        sent = span(both.upstream.posts("tools/call")[-1].body, "params", "arguments")
        assert sent == arguments.encode()
        assert reply.span("result", "structuredContent", "v") == arguments.encode()
        both.upstream.requests.clear()


SCHEMAS = [
    '{"type":"object","x-unknown":[1.0,-0,1e400],"properties":{"b":{},"a":{}}}',
    '{ "$schema" : "https://json-schema.org/draft/2020-12/schema", "type": "object",'
    ' "$defs":{"n":{"$anchor":"n","maximum":9007199254740993}}, "properties":{"x":{"$ref":"#n"}}}',
    '{"type":"object","properties":{"\\u00e9":{"const":"\\/"},"é":{"enum":[1,1.0,"1"]}},"a":{"a":{}}}',
    '{"type":"object","additionalProperties":false,"minProperties":123456789012345678901234567890}',
]


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_list_entries_keep_their_bytes(pair: MakePair, era: str) -> None:
    service = Service()
    for n, schema in enumerate(SCHEMAS):
        more = {"x-kept": Raw(b'[1.0, "\\u0041"]'), "annotations": Raw(b'{"readOnlyHint" :true}')}
        service.tool(f"t{n}", inputSchema=Raw(schema.encode()), **more)
    service.resource("demo://r", size=Raw(b"9007199254740993"), odd=Raw(b"1.0"))
    service.prompt("p", arguments=Raw(b'[{"name":"a", "required":false}]'))
    both = pair(era, era, service=service)
    tools = both.client.request("tools/list")
    for n, schema in enumerate(SCHEMAS):
        assert tools.span("result", "tools", n, "inputSchema") == schema.encode()
        assert tools.span("result", "tools", n, "x-kept") == b'[1.0, "\\u0041"]'
        assert tools.span("result", "tools", n, "annotations") == b'{"readOnlyHint" :true}'
    resources = both.client.request("resources/list")
    assert resources.span("result", "resources", 0, "size") == b"9007199254740993"
    assert resources.span("result", "resources", 0, "odd") == b"1.0"
    prompts = both.client.request("prompts/list")
    assert prompts.span("result", "prompts", 0, "arguments") == b'[{"name":"a", "required":false}]'


def test_answers_across_lines_stay_one_event(pair: MakePair) -> None:
    """Line ends between tokens and anything in strings: one event, equal JSON."""

    async def lines(ctx: Any, arguments: Any) -> Any:
        body = b'{"content":[\r\n{"type":"text",\n"text":"\\n\\ndata: x\\r\\n\\r\\nid: 1"}\n]}'
        return Raw(body)

    service = Service()
    service.tool("lines", lines)
    both = pair("legacy", "legacy", service=service)
    client = both.make(caps={"elicitation": {}})
    reply = client.call("up_lines", token="t")
    assert reply.text == "\n\ndata: x\r\n\r\nid: 1"


def test_large_answers_pass_whole(pair: MakePair) -> None:
    async def large(ctx: Any, arguments: Any) -> Any:
        return {"content": [{"type": "text", "text": "é" * arguments["n"]}]}

    service = Service()
    service.tool("large", large)
    for era, kind in (("modern", Modern), ("legacy", Legacy)):
        both = pair(era, era, service=service)
        assert isinstance(both.client, kind)
        for sse in (False, True):
            both.upstream.sse = sse
            assert both.client.call("up_large", {"n": 1_000_000}).text == "é" * 1_000_000


def test_unknown_members_of_parameters_pass(pair: MakePair) -> None:
    both = pair("modern", "modern", service=mirror())
    client: Modern = both.client
    params = {"name": "up_same", "arguments": {}, "x-extra": Raw(b"[1.0 ]")}
    params["_meta"] = client.meta() | {"vendor.example/key": Raw(b'{"a":1.0}')}
    client.request("tools/call", params)
    sent = both.upstream.posts("tools/call")[-1].body
    assert span(sent, "params", "x-extra") == b"[1.0 ]"
    assert span(sent, "params", "_meta", "vendor.example/key") == b'{"a":1.0}'
