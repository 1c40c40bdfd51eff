"""pydantic, when it is installed: models and types of its own are handed to it, version 1 or 2.

Nothing here imports it: a workspace that does not use pydantic does not pay for it."""

from __future__ import annotations

import copy
import sys
from typing import Any

from .scalars import Check, Invalid

Json = dict[str, Any]


def installed() -> Any:
    """The pydantic that the user's files have imported; None when it is our stand-in."""
    module: Any = sys.modules.get("pydantic")
    return None if module is None or "__headgate__" in vars(module) else module


def version() -> str | None:
    found = getattr(installed(), "VERSION", None)
    return str(found) if found else None


def is_model(hint: Any) -> bool:
    return isinstance(hint, type) and (
        hasattr(hint, "__pydantic_validator__") or hasattr(hint, "__fields__")
        and callable(getattr(hint, "schema", None)) and hasattr(hint, "parse_obj")
    )  # fmt: skip


def knows(hint: Any) -> bool:
    """Whether pydantic made the type, or was told how to treat it."""
    return any(
        hasattr(hint, name)
        for name in ("__get_pydantic_core_schema__", "__get_validators__", "__pydantic_validator__")
    ) or str(getattr(hint, "__module__", "")).startswith("pydantic")


def model(hint: Any, output: bool) -> tuple[Json, Check]:
    found = shape(hint, output)
    assert found is not None
    return found


def shape(hint: Any, output: bool) -> tuple[Json, Check] | None:
    """Schema and check of anything that pydantic understands; None without pydantic 2, except
    models of 1."""
    pydantic = installed()
    if hasattr(hint, "parse_obj") and not hasattr(hint, "__pydantic_validator__"):
        return _first(hint)
    if not hasattr(pydantic, "TypeAdapter"):
        return None
    try:
        adapter = pydantic.TypeAdapter(hint)
        schema = adapter.json_schema(mode="serialization" if output else "validation")
    except Exception as e:
        from .shapes import SchemaError

        raise SchemaError(str(e).split("\n", 1)[0]) from None

    def check(value: Any, strict: bool) -> Any:
        try:
            return adapter.validate_python(value, strict=strict and not isinstance(value, dict))
        except pydantic.ValidationError as e:
            raise _problems(e.errors(include_url=False, include_context=False)) from None

    return tidy(schema), check


def _first(hint: Any) -> tuple[Json, Check]:
    """A model of version 1."""
    # Version 1 keeps what it gives out.
    schema = copy.deepcopy(hint.schema())
    _nullable(schema, hint)
    for name, owner in _models(hint, {}).items():
        _nullable(schema.get("definitions", {}).get(name, {}), owner)

    def check(value: Any, strict: bool) -> Any:
        try:
            return hint.parse_obj(value)
        except ValueError as e:
            errors = getattr(e, "errors", None)
            if errors is None:
                raise
            raise _problems(errors()) from None

    return tidy(schema), check


def _models(hint: Any, found: dict[str, Any]) -> dict[str, Any]:
    """The models of version 1 in a model, by name."""
    if found.setdefault(hint.__name__, hint) is hint:
        for field in hint.__fields__.values():
            if is_model(field.type_) and field.type_.__name__ not in found:
                _models(field.type_, found)
    return found


def _nullable(schema: Json, owner: Any) -> None:
    """Optional fields say that null will do, which version 1 does not."""
    members = schema.get("properties", {})
    for field in owner.__fields__.values():
        member = members.get(field.alias)
        if member is not None and field.allow_none and "anyOf" not in member:
            outer = {k: member.pop(k) for k in ("description", "default") if k in member}
            members[field.alias] = {"anyOf": [dict(member), {"type": "null"}], **outer}
            if not field.required:
                members[field.alias].setdefault("default", None)


def _problems(errors: list[Any]) -> Invalid:
    return Invalid(problems=[(tuple(each["loc"]), str(each["msg"])) for each in errors])


def tidy(schema: Json) -> Json:
    """The schema without titles, with what it refers to written inline unless it contains
    itself."""
    defs = schema.pop("$defs", None) or schema.pop("definitions", None) or {}
    prefix = ("#/$defs/", "#/definitions/")
    kept: Json = {}

    def walk(node: Any, open_: tuple[str, ...], members: bool = False) -> Any:
        if isinstance(node, list):
            return [walk(each, open_) for each in node]
        if not isinstance(node, dict):
            return node
        ref = node.get("$ref")
        if isinstance(ref, str) and ref.startswith(prefix) and not members:
            name = ref.rpartition("/")[2]
            rest = {k: walk(v, open_) for k, v in node.items() if k != "$ref"}
            if name in open_:
                kept.setdefault(name, None)
                return {"$ref": f"#/$defs/{name}", **rest}
            return {**walk(defs[name], (*open_, name)), **rest}
        if isinstance(node.get("allOf"), list) and len(node["allOf"]) == 1 and not members:
            rest = {k: v for k, v in node.items() if k != "allOf"}
            return {**walk(node["allOf"][0], open_), **walk(rest, open_)}
        return {
            key: walk(value, open_, key in ("properties", "patternProperties"))
            if key not in ("default", "examples", "const", "enum")
            else value
            for key, value in node.items()
            if members or not (key == "title" and isinstance(value, str) or key == "discriminator")
        }

    root = str(schema.get("$ref", "")).rpartition("/")[2]
    out: Json = walk(schema, ())
    for name in list(kept):
        kept[name] = walk(defs[name], (name,))
    if root in kept:
        out = {"$ref": f"#/$defs/{root}"}
    if kept:
        out["$defs"] = kept
    return out
