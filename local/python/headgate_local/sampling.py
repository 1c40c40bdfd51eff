"""Asking the client's model: one question, or a conversation in which it calls tools of the
asker."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import results, signatures
from .composites import Json
from .errors import ToolError, told
from .plain import plain, text_of
from .scalars import Invalid
from .shapes import Builder

if TYPE_CHECKING:
    from .context import Context

ROUNDS = 100
FINAL = "final_response"


@dataclass
class SamplingResult:
    text: str | None
    result: Any
    history: list[Json]


@dataclass
class ToolCall:
    id: str
    name: str
    input: Json


@dataclass
class SampleStep:
    response: Json
    history: list[Json]
    tool_calls: list[ToolCall] = field(default_factory=list)
    text: str | None = None

    @property
    def is_tool_use(self) -> bool:
        return bool(self.tool_calls)


def _messages(messages: Any) -> list[Json]:
    if isinstance(messages, str) or not isinstance(messages, (list, tuple)):
        messages = [messages]
    out = []
    for each in messages:
        if isinstance(each, dict) and "role" in each:
            out.append(plain(each))
        elif hasattr(each, "role"):
            content = each.content
            if isinstance(content, (list, tuple)):
                made: Any = [block for one in content for block in results.blocks(one)]
            else:
                made = plain(content) if isinstance(content, dict) else results.blocks(content)[0]
            out.append({"role": each.role, "content": made})
        else:
            out.append({"role": "user", "content": results.blocks(each)[0]})
    return out


def _preferences(said: Any) -> Json | None:
    if said is None:
        return None
    if isinstance(said, str):
        said = [said]
    if isinstance(said, (list, tuple)):
        return {"hints": [{"name": str(each)} for each in said]}
    made = plain(said)
    return made if isinstance(made, dict) else None


async def step(
    ctx: Context,
    messages: Any,
    *,
    system_prompt: str | None = None,
    temperature: float | None = None,
    max_tokens: int = 512,
    model_preferences: Any = None,
    tools: Any = None,
    tool_choice: Any = None,
    **unused: Any,
) -> SampleStep:
    """One request to the model. Raises ToolError when the client has none, or refuses."""
    ctx.require("sampling", "to ask a model")
    history = _messages(messages)
    params: Json = {"messages": history, "maxTokens": max_tokens}
    if system_prompt is not None:
        params["systemPrompt"] = system_prompt
    if temperature is not None:
        params["temperature"] = temperature
    preferences = _preferences(model_preferences)
    if preferences is not None:
        params["modelPreferences"] = preferences
    offered = _offered(tools)
    if offered:
        sampling = ctx._server.peer.capabilities.get("sampling")
        if not (isinstance(sampling, dict) and "tools" in sampling):
            raise ToolError("The client is not able to offer tools to its model (sampling.tools)")
        params["tools"] = [each.definition for each in offered.values()]
        if tool_choice is not None:
            choice = {"mode": tool_choice} if isinstance(tool_choice, str) else plain(tool_choice)
            params["toolChoice"] = choice
    response = await ctx.ask("sampling/createMessage", params)
    content = response.get("content")
    parts = content if isinstance(content, list) else [content] if content else []
    texts = [each["text"] for each in parts if each.get("type") == "text"]
    calls = [
        ToolCall(each["id"], each["name"], each.get("input") or {})
        for each in parts
        if each.get("type") == "tool_use"
    ]
    said = {"role": response.get("role", "assistant"), "content": content}
    text = "\n".join(texts) if texts else None
    return SampleStep(response, [*history, said], calls, text)


@dataclass
class Offered:
    """A function that the model may call."""

    definition: Json
    signature: signatures.Signature
    function: Callable[..., Any]


def _offered(tools: Any) -> dict[str, Offered]:
    if isinstance(tools, dict):
        return tools
    out: dict[str, Offered] = {}
    for each in tools or ():
        function = getattr(each, "fn", each)
        signature = signatures.read(function)
        definition = {
            "name": function.__name__,
            "description": inspect.getdoc(function) or "",
            "inputSchema": signature.schema,
        }
        out[function.__name__] = Offered(definition, signature, function)
    return out


def _final(result_type: Any) -> tuple[Offered, Callable[[Json], Any]]:
    """A tool that does not exist, whose arguments are the result that is wanted."""
    builder = Builder()
    shape = builder.shape(result_type)
    is_object = shape.schema.get("type") == "object"
    schema = shape.schema
    if not is_object:
        schema = {"type": "object", "properties": {"value": schema}, "required": ["value"]}
    definition = {
        "name": FINAL,
        "description": "Call this with the final answer, and only then.",
        "inputSchema": builder.finish(schema),
    }
    signature = signatures.Signature(schema, [], [], {}, {}, False)

    def make(given: Json) -> Any:
        return shape.check(given if is_object else given.get("value"), False)

    return Offered(definition, signature, lambda: None), make


async def sample(
    ctx: Context,
    messages: Any,
    *,
    tools: Any = None,
    result_type: Any = None,
    mask_error_details: bool | None = None,
    tool_concurrency: int | None = None,
    **options: Any,
) -> SamplingResult:
    """Asks until the model calls no more tools (100 rounds at most). With `result_type` the model
    has to give a value of that type, which is `.result`; `.text` is the last text."""
    offered = _offered(tools)
    make = None
    if result_type is not None and result_type is not str:
        offered[FINAL], make = _final(result_type)
    if mask_error_details is None:
        mask_error_details = ctx._server.workspace.options.mask_errors
    history = messages
    for _ in range(ROUNDS):
        choice = "required" if make and not tools else None
        made = await step(ctx, history, tools=offered, tool_choice=choice, **options)
        if not made.is_tool_use:
            if make is not None:
                raise ToolError(f"The model gave no {FINAL}")
            return SamplingResult(made.text, made.text or "", made.history)
        answers = []
        for call in made.tool_calls:
            if call.name == FINAL and make is not None:
                try:
                    value = make(call.input)
                except Invalid as e:
                    answers.append(_answer(call, f"Invalid: {e}", True))
                    continue
                return SamplingResult(text_of(plain(value)), value, made.history)
            answers.append(await _run(offered, call, mask_error_details))
        history = [*made.history, {"role": "user", "content": answers}]
    raise ToolError(f"The model did not finish in {ROUNDS} rounds")


def _answer(call: ToolCall, text: str, is_error: bool) -> Json:
    content = [{"type": "text", "text": text}]
    out: Json = {"type": "tool_result", "toolUseId": call.id, "content": content}
    return out | ({"isError": True} if is_error else {})


async def _run(offered: dict[str, Offered], call: ToolCall, masked: bool) -> Json:
    tool = offered.get(call.name)
    if tool is None:
        return _answer(call, f"Unknown tool: {call.name}", True)
    try:
        value = tool.function(**tool.signature.bind(call.input))
        if inspect.isawaitable(value):
            value = await value
        content = results.blocks(value)
    except Invalid as e:
        return _answer(call, str(e), True)
    except Exception as e:
        return _answer(call, told(e, f"tool '{call.name}'", masked), True)
    return {"type": "tool_result", "toolUseId": call.id, "content": content}
