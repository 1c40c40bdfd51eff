"""From what a function returned to a result of the protocol."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, get_args

from . import content as c
from .composites import Json
from .errors import PromptError, ResourceError, ToolError
from .plain import NotPlain, base64_of, plain, text_of
from .shapes import Builder, SchemaError

WRAP = "x-fastmcp-wrap-result"
WRAPPED_META = {"fastmcp": {"wrap_result": True}}
# Classes that a result is made of; a return annotation that names one has no schema.
SPELLED = ("ToolResult", "Image", "Audio", "File", "TextContent", "ImageContent", "AudioContent",
           "EmbeddedResource", "ResourceLink", "ContentBlock", "CallToolResult")  # fmt: skip


def _is_ours(hint: Any) -> bool:
    module = str(getattr(hint, "__module__", ""))
    return getattr(hint, "__name__", "") in SPELLED and module.startswith(
        ("headgate_local", "fastmcp", "mcp")
    )


def has_content(hint: Any) -> bool:
    return _is_ours(hint) or any(has_content(each) for each in get_args(hint))


def output_schema(hint: Any, problems: list[str]) -> Json | None:
    """The schema of structured content, or None. Why there is none for an odd type goes to
    `problems`."""
    if hint in (Any, None, type(None), ..., typing.NoReturn, bytes) or has_content(hint):
        return None
    builder = Builder(output=True)
    try:
        schema = builder.shape(hint).schema
    except SchemaError as e:
        problems.append(f"no output schema: {e}")
        return None
    root = builder.finish(schema)
    if root.get("type") == "object":
        return root
    out: Json = {"type": "object", "properties": {"result": schema}, "required": ["result"]}
    out[WRAP] = True
    return builder.finish(out)


# ---- Tools -----------------------------------------------------------------------------------


def block_of(value: Any) -> Json | None:
    """A content block that the value is, as JSON; None when it is plain."""
    if isinstance(value, c.Block):
        return value.to_json_value()
    if isinstance(value, c.Media):
        return value.block().to_json_value()
    kind = type(value)
    if kind.__module__.startswith(("mcp.", "mcp_types", "fastmcp.")):
        for method in ("to_image_content", "to_audio_content", "to_resource_content"):
            if hasattr(value, method):
                return block_of(getattr(value, method)())
        if hasattr(value, "model_dump") and hasattr(value, "type"):
            out: Json = value.model_dump(mode="json", by_alias=True, exclude_none=True)
            return out
    return None


def blocks(value: Any) -> list[Json]:
    """The content blocks that stand for a value."""
    if value is None:
        return []
    if isinstance(value, str):
        return [{"type": "text", "text": str(value)}]
    one = block_of(value)
    if one is not None:
        return [one]
    if isinstance(value, (list, tuple)):
        found = [block_of(each) for each in value]
        if any(found):
            mixed: list[Json] = []
            for each, block in zip(value, found):
                mixed += [block] if block is not None else blocks(each)
            return mixed
    if isinstance(value, (list, tuple, set, frozenset)) and not value:
        return []
    return [{"type": "text", "text": _text(value)}]


def _text(value: Any) -> str:
    try:
        return text_of(value)
    except NotPlain as e:
        if isinstance(value, (bytes, bytearray)):
            raise ToolError(str(e)) from None
        return str(value)


def converter(schema: Json | None) -> Callable[[Any], Json]:
    """What turns a tool's value into a result, for its output schema."""
    if schema is None:
        return unannotated
    return wrapped if schema.get(WRAP) else promised


def unannotated(value: Any) -> Json:
    if type(value) is str:
        return {"content": [{"type": "text", "text": value}], "isError": False}
    made = explicit(value)
    if made is not None:
        return made
    result: Json = {"content": blocks(value)}
    structured = as_object(value)
    if structured is not None:
        result["structuredContent"] = structured
    result["isError"] = False
    return result


def wrapped(value: Any) -> Json:
    """The result of a tool whose schema says `{"result": …}`."""
    if type(value) is str:
        content = [{"type": "text", "text": value}]
        structured: Any = value
    else:
        made = explicit(value)
        if made is not None:
            return made
        content = blocks(value)
        if isinstance(value, (list, tuple)) and any(block_of(each) for each in value):
            return {"content": content, "isError": False}
        try:
            structured = plain(value)
        except NotPlain:
            return {"content": content, "isError": False}
    return {
        "content": content,
        "structuredContent": {"result": structured},
        "isError": False,
        "_meta": WRAPPED_META,
    }


def promised(value: Any) -> Json:
    """The result of a tool whose annotation is an object."""
    made = explicit(value)
    if made is not None:
        return made
    structured = as_object(value)
    if structured is None:
        raise ToolError(
            f"The tool returned a {type(value).__name__}, but its annotation promises an object"
        )
    return {
        "content": [{"type": "text", "text": text_of(structured)}],
        "structuredContent": structured,
        "isError": False,
    }


def as_object(value: Any) -> Json | None:
    if value is None or isinstance(value, (str, int, float, list, tuple, set, c.Block, c.Media)):
        return None
    if block_of(value) is not None:
        return None
    try:
        made = plain(value)
    except NotPlain:
        return None
    return made if isinstance(made, dict) else None


def explicit(value: Any) -> Json | None:
    """The result that a ToolResult, or an SDK's CallToolResult, spells out; None when it is
    neither."""
    if isinstance(value, c.ToolResult):
        given, structured, meta = value.content, value.structured_content, value.meta
        is_error = value.is_error
    else:
        kind = type(value)
        if kind.__name__ not in ("ToolResult", "CallToolResult") or not kind.__module__.startswith(
            ("fastmcp.", "mcp.", "mcp_types")
        ):
            return None
        given, meta = value.content, getattr(value, "meta", None)
        structured = getattr(value, "structured_content", None) or getattr(
            value, "structuredContent", None
        )
        is_error = bool(getattr(value, "isError", None) or getattr(value, "is_error", False))
    out: Json = {"content": blocks(given)}
    if structured is not None:
        try:
            made = plain(structured)
        except NotPlain as e:
            raise ToolError(f"structured_content: {e}") from None
        if not isinstance(made, dict):
            raise ToolError("structured_content must be an object")
        out["structuredContent"] = made
    out["isError"] = is_error
    if meta:
        out["_meta"] = plain(meta)
    return out


# ---- Resources and prompts -------------------------------------------------------------------


def resource(value: Any, uri: str, mime: str | None) -> Json:
    """The result of `resources/read`. Plain objects and arrays are written as JSON."""
    meta = None
    if type(value).__name__ == "ResourceResult":
        value, meta = value.contents, value.meta
    if isinstance(value, (list, tuple)) and value and all(_is_part(each) for each in value):
        contents = [_part(each.content, uri, each.mime_type or mime, each.meta) for each in value]
    elif _is_part(value):
        contents = [_part(value.content, uri, value.mime_type or mime, value.meta)]
    else:
        contents = [_part(value, uri, mime, None)]
    return {"contents": contents} | ({"_meta": plain(meta)} if meta else {})


def _is_part(value: Any) -> bool:
    return type(value).__name__ == "ResourceContent" and hasattr(value, "content")


def _part(value: Any, uri: str, mime: str | None, meta: Any) -> Json:
    out: Json = {"uri": uri}
    if isinstance(value, str):
        out |= {"mimeType": mime or "text/plain", "text": value}
    elif isinstance(value, (bytes, bytearray)):
        out |= {"mimeType": mime or "application/octet-stream", "blob": base64_of(bytes(value))}
    elif value is None:
        raise ResourceError("The resource returned nothing")
    else:
        try:
            text = text_of(plain(value))
        except NotPlain as e:
            raise ResourceError(
                f"The resource returned what is no text, bytes or JSON: {e}"
            ) from None
        declared = mime if mime and mime != "text/plain" else "application/json"
        out |= {"mimeType": declared, "text": text}
    return out | ({"_meta": plain(meta)} if meta else {})


def prompt(value: Any, description: str | None) -> Json:
    """The result of `prompts/get`."""
    meta = None
    if type(value).__name__ == "PromptResult":
        description = value.description or description
        value, meta = value.messages, value.meta
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        value = [value]
    out: Json = {"messages": [_message(each) for each in value]}
    if description:
        out["description"] = description
    return out | ({"_meta": plain(meta)} if meta else {})


def _message(value: Any) -> Json:
    role = "user"
    if type(value).__name__ in ("Message", "PromptMessage", "SamplingMessage"):
        value, role = value.content, value.role
    elif isinstance(value, dict) and set(value) == {"role", "content"}:
        value, role = value["content"], value["role"]
    elif not isinstance(value, (str, c.Block, c.Media)) and block_of(value) is None:
        raise PromptError(
            f"A prompt returns text or messages; this one returned a {type(value).__name__}"
        )
    if role not in ("user", "assistant"):
        raise PromptError(f"A message's role is user or assistant, not {role!r}")
    if isinstance(value, dict) and value.get("type") in ("text", "image", "audio", "resource"):
        return {"role": role, "content": plain(value)}
    made = blocks(value)
    if len(made) != 1:
        raise PromptError("A message has one content block")
    return {"role": role, "content": made[0]}
