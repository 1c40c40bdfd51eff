"""Tools are called: arguments, results, errors, and what a tool prints."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from conftest import PROGRAM, ROOT, Answer

BASIC = {
    "tools/basic.py": """
        import asyncio
        import os
        import sys
        import time

        from fastmcp import Context
        from fastmcp.exceptions import ToolError

        def add(a: int, b: int = 2) -> int:
            '''Adds two numbers.'''
            return a + b

        async def add_later(a: int, b: int = 2) -> int:
            await asyncio.sleep(0)
            return a + b

        def loud(text: str) -> str:
            print(text)
            print(text, file=sys.stderr)
            os.write(1, b'{"raw": "to fd 1"}\\n')
            return text

        def boom():
            raise ValueError("the detail")

        def refuse():
            raise ToolError("not today")

        async def steps(n: int, ctx: Context) -> str:
            for i in range(n):
                await ctx.report_progress(i, n, f"step {i}")
            return "done"

        async def wait_for(path: str) -> str:
            open(path + ".started", "w").close()
            try:
                while not os.path.exists(path):
                    await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                open(path + ".cancelled", "w").close()
                raise
            return "let go"

        def asks_asyncio() -> int:
            async def inner():
                await asyncio.sleep(0)
                return 7
            return asyncio.run(inner())
    """
}


def test_a_sync_tool_answers_with_text_and_structure(shared: Any) -> None:
    result = shared(BASIC).call("add", a=1)
    assert result["content"] == [{"type": "text", "text": "3"}]
    assert result["structuredContent"] == {"result": 3}


def test_an_async_tool_answers_the_same(shared: Any) -> None:
    client = shared(BASIC)
    assert client.call("add_later", a=1) == client.call("add", a=1)


def test_wrong_arguments_are_all_named_and_never_echoed(shared: Any) -> None:
    text = shared(BASIC).error("add", a="hunter2", c=1)
    assert "a: must be an integer" in text and "c: is not expected" in text
    assert "hunter2" not in text


def test_an_unknown_tool_is_an_error_of_the_protocol(shared: Any) -> None:
    with pytest.raises(Answer) as e:
        shared(BASIC).call("nothing")
    assert e.value.code == -32602


def test_what_a_tool_prints_is_logged_and_never_meets_the_protocol(
    serve: Any,
) -> None:
    client = serve(BASIC)
    assert client.text("loud", text="hello") == "hello"
    client.close()
    printed = [line for line in client.errors if '"hello"' in line]
    assert [('"tool":"loud"' in line) for line in printed] == [True, True]
    assert any("to fd 1" in line for line in client.errors)


def test_an_exception_is_told_unless_details_are_masked(serve: Any) -> None:
    assert "the detail" in serve(BASIC).error("boom")
    hidden = serve(BASIC, {"MCP_MASK_ERROR_DETAILS": "true"})
    assert hidden.error("boom") == "Error calling tool 'boom'"
    assert hidden.error("refuse") == "not today"


def test_progress_is_told_only_to_who_asked(shared: Any) -> None:
    client = shared(BASIC)
    client.call("steps", n=2)
    client.call("steps", {"progressToken": "t"}, n=1)
    note = client.note()
    assert note["method"] == "notifications/progress"
    assert note["params"] == {"progressToken": "t", "progress": 0, "total": 1, "message": "step 0"}


def test_a_cancelled_call_is_cancelled_inside_and_not_answered(serve: Any, tmp_path: Any) -> None:
    client = serve(BASIC)
    path = tmp_path / "gate"
    number = client.start("tools/call", name="wait_for", arguments={"path": str(path)})
    while not path.with_suffix(".started").exists():
        client.request("ping")
    client.send({"method": "notifications/cancelled", "params": {"requestId": number}})
    while not path.with_suffix(".cancelled").exists():
        client.request("ping")
    assert client.text("add", a=1) == "3"
    assert client.answers[number].empty()


def test_async_calls_run_beside_each_other_and_beside_a_sync_one(serve: Any, tmp_path: Any) -> None:
    client = serve(BASIC)
    path = tmp_path / "gate"
    numbers = [
        client.start("tools/call", name="wait_for", arguments={"path": str(path)})
        for _ in range(20)
    ]
    assert client.text("add", a=1) == "3"
    path.touch()
    for number in numbers:
        assert client.wait(number)["content"][0]["text"] == "let go"


def test_a_sync_tool_may_run_a_loop_of_its_own(serve: Any) -> None:
    client = serve(BASIC)
    assert client.text("asks_asyncio") == "7"
    client.call("add_later", a=1)
    assert client.text("asks_asyncio") == "7"


def test_calls_before_the_end_of_input_are_answered(workspace: Any) -> None:
    params = {"name": "add", "arguments": {"a": 1}}
    calls = [
        {"jsonrpc": "2.0", "id": i, "method": "tools/call", "params": params} for i in range(5)
    ]
    done = subprocess.run(
        [*PROGRAM, "--workspace", workspace(BASIC)],
        input="".join(json.dumps(each) + "\n" for each in calls).encode(),
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [0, 1, 2, 3, 4]


def test_the_end_of_input_ends_the_process(serve: Any) -> None:
    client = serve(BASIC)
    client.call("add_later", a=1)
    assert client.close() == 0
