"""Timeouts, memory, output, and a peer that sends what it should not."""

from __future__ import annotations

import json
import os
import queue
import time
from typing import Any

import pytest
from conftest import Answer

SLOW = {
    "tools/slow.py": """
        import asyncio
        import time

        __timeout__ = 0.05

        def sleeps():
            time.sleep(60)

        def spins():
            while True:
                pass

        def catches():
            while True:
                try:
                    time.sleep(60)
                except Exception:
                    pass

        async def awaits():
            await asyncio.sleep(60)

        async def clings():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
    """,
    "tools/other.py": """
        import time

        def quick() -> str:
            return "quick"

        def endless():
            time.sleep(60)
    """,
}


@pytest.mark.parametrize("name", ["sleeps", "spins", "catches", "awaits", "clings"])
def test_a_tool_ends_at_its_timeout_and_the_next_call_works(shared: Any, name: str) -> None:
    client = shared(SLOW)
    assert client.error(name) == f"The tool '{name}' did not finish within 0.05 s"
    assert client.text("quick") == "quick"


def test_sync_tools_end_at_their_timeout_when_there_is_a_loop_too(serve: Any) -> None:
    client = serve(SLOW)
    client.error("awaits")
    assert "within 0.05 s" in client.error("spins")
    assert client.text("quick") == "quick"


def test_the_deadline_of_the_caller_counts_when_it_is_sooner(serve: Any) -> None:
    client = serve(SLOW)
    meta = {"dev.headgate/caller": {"deadlineMs": 20}}
    assert "within 0.02 s" in client.error("endless", meta)


def test_a_queued_call_that_is_cancelled_never_runs(serve: Any, tmp_path: Any) -> None:
    client = serve(
        {
            "tools/q.py": """
                import os

                def hold(path: str):
                    open(path + ".in", "w").close()
                    while not os.path.exists(path):
                        pass

                def mark(path: str):
                    open(path, "w").close()
            """
        }
    )
    gate, marked = tmp_path / "gate", tmp_path / "marked"
    first = client.start("tools/call", name="hold", arguments={"path": str(gate)})
    while not gate.with_suffix(".in").exists():
        time.sleep(0.001)
    second = client.start("tools/call", name="mark", arguments={"path": str(marked)})
    client.send({"method": "notifications/cancelled", "params": {"requestId": second}})
    gate.touch()
    client.wait(first)
    client.request("ping")
    assert not marked.exists() and client.answers[second].empty()


MEMORY = {
    "tools/memory.py": """
        __max_memory_mb__ = 32

        def take(mb: int) -> int:
            return len(bytearray(mb * 1024 * 1024))

        async def take_async(mb: int) -> int:
            return len(bytearray(mb * 1024 * 1024))
    """
}


@pytest.mark.parametrize("name", ["take", "take_async"])
def test_memory_beyond_the_limit_is_an_error_and_the_limit_ends_with_the_call(
    serve: Any, name: str
) -> None:
    client = serve(MEMORY | {"tools/free.py": MEMORY["tools/memory.py"].replace("take", "free")
                             .replace("__max_memory_mb__ = 32", "")})  # fmt: skip
    assert client.text(name, mb=8) == str(8 * 1024 * 1024)
    assert "its limit of 32 MB" in client.error(name, mb=200)
    assert client.text("free", mb=200) == str(200 * 1024 * 1024)


OUTPUT = {
    "tools/out.py": """
        __max_output_size_kb__ = 10
        from fastmcp.tools import ToolResult
        from fastmcp.utilities.types import Image

        def text(n: int): return "x" * n
        def typed(n: int) -> str: return "x" * n
        def object(n: int) -> dict: return {"x": "x" * n}
        def array(n: int) -> list: return ["x" * n]
        def image(n: int): return Image(data=b"x" * n)
        def result(n: int): return ToolResult(content="x", structured_content={"x": "x" * n})
    """
}


@pytest.mark.parametrize("name", ["text", "typed", "object", "array", "image", "result"])
def test_output_beyond_the_limit_is_an_error_whatever_its_type(shared: Any, name: str) -> None:
    client = shared(OUTPUT)
    assert not client.call(name, n=7000)["isError"]
    assert "its limit is 10 KB" in client.error(name, n=11000)


def test_odd_messages_are_answered_with_errors_and_nothing_breaks(serve: Any) -> None:
    client = serve(SLOW)
    out = client.process.stdin
    client.answers[None] = queue.Queue()
    for line in (
        b"not json",
        b"[1]",
        b"5",
        b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":[1],"method":"ping"}',
        b'{"jsonrpc":"2.0","id":{},"method":5}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"a":NaN}',
    ):
        out.write(line + b"\n")
        out.flush()
        with pytest.raises(Answer) as e:
            client.wait(None)
        assert e.value.code in (-32700, -32600)
    for harmless in (
        b"",
        b'{"jsonrpc":"2.0","id":77,"result":{}}',
        b'{"jsonrpc":"2.0","method":"notifications/unknown"}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[1]}}',
        b'{"jsonrpc":"2.0","method":"notifications/cancelled"}',
    ):
        out.write(harmless + b"\n")
    assert client.text("quick") == "quick"


@pytest.mark.parametrize(
    "method, params, code",
    [
        ("nothing", {}, -32601),
        ("tools/call", {"name": 5}, -32602),
        ("tools/call", {"name": "quick", "arguments": []}, -32602),
        ("tools/list", {"cursor": "x"}, -32602),
        ("resources/read", {}, -32602),
        ("resources/read", {"uri": "a://b"}, -32002),
        ("prompts/get", {"name": "nope"}, -32602),
        ("logging/setLevel", {"level": "loud"}, -32602),
        ("completion/complete", {"ref": 1}, -32602),
        ("completion/complete", {"ref": {"type": "ref/prompt"}, "argument": {}}, -32602),
    ],
)
def test_wrong_requests_have_the_right_code(
    shared: Any, method: str, params: Any, code: int
) -> None:
    with pytest.raises(Answer) as e:
        shared(SLOW).request(method, **params)
    assert e.value.code == code


def test_more_calls_than_can_wait_are_refused_and_those_before_are_answered(
    serve: Any, tmp_path: Any
) -> None:
    client = serve(
        {
            "tools/w.py": """
                import asyncio, os

                async def wait(path: str) -> str:
                    while not os.path.exists(path):
                        await asyncio.sleep(0.05)
                    return "done"
            """
        }
    )
    gate = tmp_path / "gate"
    params = {"name": "wait", "arguments": {"path": str(gate)}}
    numbers = [client.start("tools/call", **params) for _ in range(1000)]
    with pytest.raises(Answer, match="More than 1000 calls"):
        client.request("tools/call", **params)
    gate.touch()
    assert {client.wait(each)["content"][0]["text"] for each in numbers} == {"done"}


def test_ids_keep_their_type(serve: Any) -> None:
    client = serve(SLOW)
    for id_ in ("text", "größe", 0, -1, 2**60):
        client.answers[id_] = queue.Queue()
        client.send({"id": id_, "method": "ping"})
        assert client.wait(id_) == {}


def test_a_message_may_come_in_pieces_and_many_in_one(serve: Any) -> None:
    client = serve(SLOW)
    pipe = client.process.stdin.fileno()
    calls = b""
    for i in range(100, 150):
        client.answers[i] = queue.Queue()
        params = {"name": "quick", "arguments": {}}
        message = {"jsonrpc": "2.0", "id": i, "method": "tools/call", "params": params}
        calls += json.dumps(message).encode() + b"\r\n"
    for start in range(0, 600, 7):
        os.write(pipe, calls[start : min(start + 7, 600)])
    os.write(pipe, calls[600:])
    for i in range(100, 150):
        assert client.wait(i)["content"][0]["text"] == "quick"


def test_completion_offers_what_the_types_allow(serve: Any) -> None:
    client = serve(
        {
            "prompts/p.py": """
                from typing import Annotated, Literal, Optional
                from pydantic import Field

                def p(
                    a: Literal["red", "green", "grey"],
                    b: Optional[Literal["x"]] = None,
                    c: bool = False,
                    d: str = "",
                    e: Annotated[Literal["q"], Field(description="d")] = "q",
                ): ...
            """,
            "resources/r.py": """
                from typing import Literal
                RESOURCE_URI = "r://{kind}"
                def r(kind: Literal["one", "two"]): ...
            """,
        }
    )

    def complete(ref: Any, name: str, value: str) -> Any:
        return client.request(
            "completion/complete", ref=ref, argument={"name": name, "value": value}
        )["completion"]["values"]

    ref = {"type": "ref/prompt", "name": "p"}
    said = [
        complete(ref, name, value) for name, value in zip("aabcde", ["", "gr", "", "t", "", ""])
    ]
    assert said == [["red", "green", "grey"], ["green", "grey"], ["x"], ["true"], [], ["q"]]
    assert complete({"type": "ref/resource", "uri": "r://{kind}"}, "kind", "t") == ["two"]
