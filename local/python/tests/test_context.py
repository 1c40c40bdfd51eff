"""What a tool can do through its context, and what the gateway says in `_meta`."""

from __future__ import annotations

from typing import Any

import pytest

STATE = {"experimental": {"dev.headgate/state": {}}}
CALLER = {
    "dev.headgate/caller": {
        "session": "s1", "client": "c1", "principal": "p1", "tenant": "t1", "deadlineMs": 60000
    }
}  # fmt: skip

TOOLS = {
    "tools/ctx.py": """
        import asyncio
        import contextvars
        import logging
        from dataclasses import dataclass
        from enum import Enum
        from typing import Annotated, Literal, Optional

        from fastmcp import Context
        from fastmcp.dependencies import CurrentContext, Depends, get_access_token, get_context
        from fastmcp.server.elicitation import AcceptedElicitation, DeclinedElicitation
        from pydantic import Field

        async def log_all(ctx: Context):
            await ctx.debug("d")
            await ctx.info("i", logger_name="mine", extra={"a": 1})
            await ctx.warning("w")
            await ctx.error("e")
            await ctx.log("a", level="alert")

        def who(ctx: Context) -> dict:
            return {
                "session": ctx.session_id, "client": ctx.client_id, "principal": ctx.principal,
                "tenant": ctx.tenant, "request": ctx.request_id,
                "token": get_access_token().client_id if ctx.principal else None,
            }

        async def set_it(key: str, value: str, ctx: Context):
            await ctx.set_state(key, {"value": value})

        async def get_it(key: str, ctx: Context) -> dict:
            return {"found": await ctx.get_state(key)}

        async def drop_it(key: str, ctx: Context):
            await ctx.delete_state(key)

        async def set_odd(ctx: Context) -> str:
            await ctx.set_state("odd", object(), serializable=False)
            kept = type(await ctx.get_state("odd")).__name__
            try:
                await ctx.set_state("odd", object())
            except TypeError as e:
                return f"{kept}: {e}"

        async def no_context() -> str:
            return get_context().request_id

        def no_context_sync() -> str:
            return get_context().request_id

        class Color(Enum):
            RED = "red"
            BLUE = "blue"

        @dataclass
        class Form:
            name: Annotated[str, Field(min_length=1, description="Yours")]
            age: int = 18
            color: Color = Color.RED
            size: Literal["s", "m"] = "m"
            note: Optional[str] = None

        KINDS = {
            "nothing": None, "text": str, "number": int, "flag": bool, "literal": Literal["a", "b"],
            "enum": Color, "choice": ["x", "y"], "many": [["x", "y"]],
            "titled": {"lo": {"title": "Low"}, "hi": {"title": "High"}}, "form": Form,
            "nested": dict[str, Form], "array": list[int],
        }

        async def ask(kind: str, ctx: Context) -> str:
            answer = await ctx.elicit("Say", KINDS[kind])
            match answer:
                case AcceptedElicitation(data=data):
                    return repr(data)
                case DeclinedElicitation():
                    return "declined"
            return answer.action

        async def ask_model(ctx: Context) -> str:
            made = await ctx.sample(
                ["hello", "again"], system_prompt="be brief", temperature=0.5, max_tokens=7,
                model_preferences=["fast-model"],
            )
            return f"{made.text} after {len(made.history)}"

        async def ask_model_with_tools(ctx: Context) -> str:
            def add(a: int, b: int) -> int:
                "Adds."
                return a + b
            async def fail():
                raise ValueError("no")
            made = await ctx.sample("1+2?", tools=[add, fail])
            return made.text

        async def ask_model_for_form(ctx: Context) -> str:
            made = await ctx.sample("who?", result_type=Form)
            return repr(made.result)

        async def ask_roots(ctx: Context) -> list[str]:
            return [each.uri for each in await ctx.list_roots()]

        async def lists(ctx: Context) -> dict:
            return {
                "resources": [str(each.uri) for each in await ctx.list_resources()],
                "prompts": [each.name for each in await ctx.list_prompts()],
                "prompt": (await ctx.get_prompt("p", {"a": "1"})).messages[0].content.text,
                "read": (await ctx.read_resource("r://1")).contents[0].content,
            }

        async def show(names: list[str], ctx: Context):
            await ctx.enable_components(names=set(names), components={"tool"})

        async def hide(names: list[str], ctx: Context):
            await ctx.disable_components(names=set(names), components={"tool"})

        async def log_python() -> str:
            logging.getLogger("mine").warning("careful %s", 1)
            return "logged"
    """,
    "resources/r.py": "RESOURCE_URI = 'r://{n}'\nasync def r(n: int): return f'number {n}'",
    "prompts/p.py": "def p(a: int) -> str: return f'prompt {a}'",
}


def test_logs_carry_their_call_and_respect_the_level(serve: Any) -> None:
    client = serve(TOOLS)
    client.call("log_all")
    notes = [client.note()["params"] for _ in range(5)]
    assert [each["level"] for each in notes] == ["debug", "info", "warning", "error", "alert"]
    assert notes[1]["logger"] == "mine"
    assert notes[1]["data"] == {"msg": "i", "extra": {"a": 1}}
    assert notes[0]["_meta"] == {"dev.headgate/request": client.number}
    client.request("logging/setLevel", level="error")
    client.call("log_all")
    assert [client.note()["params"]["level"] for _ in range(2)] == ["error", "alert"]


def test_the_caller_is_what_the_gateway_says(shared: Any) -> None:
    client = shared(TOOLS)
    said = client.call("who", CALLER)["structuredContent"]
    assert said == {
        "session": "s1", "client": "c1", "principal": "p1", "tenant": "t1",
        "request": str(client.number), "token": "p1",
    }  # fmt: skip
    alone = client.call("who")["structuredContent"]
    assert alone["session"] and alone["principal"] is None


def test_state_is_kept_by_the_peer_that_says_so(serve: Any) -> None:
    client = serve(TOOLS, capabilities=STATE)
    kept: dict[tuple[str, str], Any] = {}

    def get(params: Any) -> Any:
        key = params["session"], params["key"]
        return {"result": {"value": kept[key]} if key in kept else {}}

    def put(params: Any) -> Any:
        kept[params["session"], params["key"]] = params["value"]
        return {"result": {}}

    def delete(params: Any) -> Any:
        kept.pop((params["session"], params["key"]), None)
        return {"result": {}}

    client.asks = {
        "dev.headgate/state/get": get,
        "dev.headgate/state/set": put,
        "dev.headgate/state/delete": delete,
    }
    client.call("set_it", CALLER, key="k", value="v")
    assert kept == {("s1", "k"): {"value": "v"}}
    assert client.asked[0]["params"]["_meta"] == {"dev.headgate/request": client.number}
    assert client.call("get_it", CALLER, key="k")["structuredContent"]["found"] == {"value": "v"}
    assert client.call("get_it", key="k")["structuredContent"]["found"] is None
    client.call("drop_it", CALLER, key="k")
    assert kept == {}


def test_state_without_such_a_peer_is_kept_by_session_in_the_process(serve: Any) -> None:
    client = serve(TOOLS)
    client.call("set_it", CALLER, key="k", value="v")
    assert client.call("get_it", CALLER, key="k")["structuredContent"]["found"] == {"value": "v"}
    assert client.call("get_it", key="k")["structuredContent"]["found"] is None
    assert client.asked == []


def test_what_is_no_json_is_kept_for_the_call_only(shared: Any) -> None:
    client = shared(TOOLS)
    assert client.text("set_odd").startswith("object: the value of 'odd' is no JSON")
    assert client.call("get_it", key="odd")["structuredContent"]["found"] is None


def test_the_context_is_found_without_a_parameter(shared: Any) -> None:
    client = shared(TOOLS)
    assert client.text("no_context_sync") == str(client.number)
    assert client.text("no_context") == str(client.number)


ELICIT = {"elicitation": {}}


@pytest.mark.parametrize(
    "kind, content, expected",
    [
        ("nothing", {}, "{}"),
        ("text", {"value": "x"}, "'x'"),
        ("number", {"value": 5.0}, "5"),
        ("flag", {"value": True}, "True"),
        ("literal", {"value": "b"}, "'b'"),
        ("enum", {"value": "blue"}, "<Color.BLUE: 'blue'>"),
        ("choice", {"value": "y"}, "'y'"),
        ("many", {"value": ["x", "y"]}, "['x', 'y']"),
        ("titled", {"value": "hi"}, "'hi'"),
        (
            "form",
            {"name": "Ada", "color": "blue"},
            "Form(name='Ada', age=18, color=<Color.BLUE: 'blue'>, size='m', note=None)",
        ),
    ],
)
def test_questions_to_the_user(shared: Any, kind: str, content: Any, expected: str) -> None:
    client = shared(TOOLS, ELICIT)
    client.asks = {
        "elicitation/create": lambda params: {"result": {"action": "accept", "content": content}}
    }
    assert client.text("ask", kind=kind) == expected
    asked = client.asked[0]["params"]
    assert asked["message"] == "Say" and asked["requestedSchema"]["type"] == "object"
    for each in asked["requestedSchema"]["properties"].values():
        assert each["type"] in ("string", "integer", "number", "boolean", "array")


def test_the_form_of_a_question(serve: Any) -> None:
    client = serve(TOOLS, capabilities=ELICIT)
    client.asks = {"elicitation/create": lambda params: {"result": {"action": "decline"}}}
    assert client.text("ask", kind="form") == "declined"
    assert client.asked[0]["params"]["requestedSchema"] == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "description": "Yours"},
            "age": {"type": "integer", "default": 18},
            "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
            "size": {"type": "string", "enum": ["s", "m"], "default": "m"},
            "note": {"type": "string"},
        },
        "required": ["name"],
    }
    client.text("ask", kind="titled")
    titled = client.asked[1]["params"]["requestedSchema"]["properties"]["value"]
    assert titled["oneOf"] == [{"const": "lo", "title": "Low"}, {"const": "hi", "title": "High"}]


@pytest.mark.parametrize("kind", ["nested", "array"])
def test_what_no_form_can_show_is_refused(shared: Any, kind: str) -> None:
    assert "elicit" in shared(TOOLS, ELICIT).error("ask", kind=kind)


def test_an_answer_that_does_not_fit_is_an_error(serve: Any) -> None:
    client = serve(TOOLS, capabilities=ELICIT)
    client.asks = {
        "elicitation/create": lambda params: {
            "result": {"action": "accept", "content": {"name": "", "age": "old"}}
        }
    }
    text = client.error("ask", kind="form")
    assert "name: must have at least 1" in text and "age: must be an integer" in text


def test_a_client_without_the_capability_is_not_asked(shared: Any) -> None:
    client = shared(TOOLS)
    assert "lacks elicitation" in client.error("ask", kind="text")
    assert "lacks sampling" in client.error("ask_model")
    assert "lacks roots" in client.error("ask_roots")


def test_a_refusal_of_the_client_is_an_error_of_the_tool(serve: Any) -> None:
    client = serve(TOOLS, capabilities=ELICIT)
    client.asks = {"elicitation/create": lambda p: {"error": {"code": -1, "message": "busy"}}}
    assert client.error("ask", kind="text") == "The client refused elicitation/create: busy"


def test_questions_to_the_model(serve: Any) -> None:
    client = serve(TOOLS, capabilities={"sampling": {}})
    content = {"type": "text", "text": "hi"}
    client.asks = {
        "sampling/createMessage": lambda p: {
            "result": {"role": "assistant", "content": content, "model": "m"}
        }
    }
    assert client.text("ask_model") == "hi after 3"
    params = client.asked[0]["params"]
    assert params.pop("_meta") == {"dev.headgate/request": client.number}
    assert params == {
        "messages": [
            {"role": "user", "content": {"type": "text", "text": "hello"}},
            {"role": "user", "content": {"type": "text", "text": "again"}},
        ],
        "systemPrompt": "be brief",
        "temperature": 0.5,
        "maxTokens": 7,
        "modelPreferences": {"hints": [{"name": "fast-model"}]},
    }


def use(name: str, given: Any) -> Any:
    content = [{"type": "tool_use", "id": f"u-{name}", "name": name, "input": given}]
    return {"result": {"role": "assistant", "content": content, "model": "m"}}


def test_the_model_calls_tools_of_the_asker(serve: Any) -> None:
    client = serve(TOOLS, capabilities={"sampling": {"tools": {}}})
    script = [
        use("add", {"a": 1, "b": 2}),
        use("add", {"a": "x"}),
        use("fail", {}),
        {"result": {"role": "assistant", "content": {"type": "text", "text": "3"}, "model": "m"}},
    ]
    client.asks = {"sampling/createMessage": lambda p: script[len(client.asked) - 1]}
    assert client.text("ask_model_with_tools") == "3"
    assert client.asked[0]["params"]["tools"][0]["name"] == "add"
    answers = [each["content"][0] for each in client.asked[3]["params"]["messages"][2::2]]
    assert answers[0]["content"][0]["text"] == "3"
    assert [each.get("isError", False) for each in answers] == [False, True, True]


def test_the_model_gives_a_value_of_the_type_asked_for(serve: Any) -> None:
    client = serve(TOOLS, capabilities={"sampling": {"tools": {}}})
    script = [use("final_response", {"age": "x"}), use("final_response", {"name": "Ada"})]
    client.asks = {"sampling/createMessage": lambda p: script[len(client.asked) - 1]}
    assert client.text("ask_model_for_form").startswith("Form(name='Ada', age=18")


def test_roots(serve: Any) -> None:
    client = serve(TOOLS, capabilities={"roots": {}})
    client.asks = {"roots/list": lambda p: {"result": {"roots": [{"uri": "file:///a"}]}}}
    assert client.call("ask_roots")["structuredContent"] == {"result": ["file:///a"]}


def test_a_cancelled_call_takes_its_question_back(serve: Any) -> None:
    client = serve(TOOLS, capabilities=ELICIT)
    client.asks = {"elicitation/create": lambda params: None}
    number = client.start("tools/call", name="ask", arguments={"kind": "text"})
    while not client.asked:
        client.request("ping")
    client.send({"method": "notifications/cancelled", "params": {"requestId": number}})
    note = client.note()
    assert note["method"] == "notifications/cancelled"
    assert note["params"]["requestId"] == client.asked[0]["id"]


def test_a_tool_sees_its_own_workspace(shared: Any) -> None:
    said = shared(TOOLS).call("lists")["structuredContent"]
    assert said == {
        "resources": [],
        "prompts": ["p"],
        "prompt": "prompt 1",
        "read": "number 1",
    }


def test_components_are_hidden_from_the_session_that_asked(serve: Any) -> None:
    client = serve(TOOLS)
    client.call("hide", names=["who"])
    assert client.note()["method"] == "notifications/tools/list_changed"
    names = [each["name"] for each in client.request("tools/list")["tools"]]
    assert "who" not in names and "hide" in names
    with pytest.raises(Exception, match="Unknown tool"):
        client.call("who")
    assert client.call("who", CALLER)["structuredContent"]["session"] == "s1"
    client.call("show", names=["who"])
    assert "who" in [each["name"] for each in client.request("tools/list")["tools"]]


def test_pythons_own_logging_names_the_tool(serve: Any) -> None:
    client = serve(TOOLS)
    client.text("log_python")
    [line] = client.logged()
    assert (line["level"], line["logger"], line["tool"], line["message"]) == (
        "warning",
        "mine",
        "log_python",
        "careful 1",
    )
