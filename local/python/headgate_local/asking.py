"""What is asked of the user: from a response type to a flat form, and from its answer to a
value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_origin

from .composites import Json
from .errors import ToolError
from .scalars import Invalid
from .shapes import Builder, SchemaError

T = TypeVar("T")


@dataclass
class AcceptedElicitation(Generic[T]):
    data: T
    action: Literal["accept"] = "accept"


@dataclass
class DeclinedElicitation:
    action: Literal["decline"] = "decline"


@dataclass
class CancelledElicitation:
    action: Literal["cancel"] = "cancel"


@dataclass
class Root:
    uri: str
    name: str | None = None


class Listed:
    """A definition or a result as an object with the members of its JSON, in the spelling of JSON
    or Python."""

    def __init__(self, value: Json) -> None:
        self._value = value

    def __getattr__(self, name: str) -> Any:
        head, *rest = name.split("_")
        for spelled in (name, head + "".join(each.capitalize() for each in rest)):
            if spelled in self._value:
                return _listed(self._value[spelled])
        if name.startswith("_"):
            raise AttributeError(name)
        return None

    def model_dump(self, **options: Any) -> Json:
        return self._value

    def __repr__(self) -> str:
        return f"<{self._value.get('name') or self._value.get('uri') or 'object'}>"


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return Listed(value)
    return [_listed(each) for each in value] if isinstance(value, list) else value


@dataclass
class Form:
    """A schema to show, and what makes the value of what was filled in."""

    schema: Json
    make: Callable[[Any], Any]


PRIMITIVE = ("string", "number", "integer", "boolean")


def form(response_type: Any) -> Form:
    """Raises TypeError for a type that no form can show: nested objects, plain arrays."""
    if response_type is None:
        return Form({"type": "object", "properties": {}}, _nothing)
    if isinstance(response_type, dict):
        return _scalar(_titled(response_type), _one_of(list(response_type)))
    if isinstance(response_type, (list, tuple)) and not get_origin(response_type):
        return _choice(list(response_type))
    try:
        shape = Builder().shape(response_type)
    except SchemaError as e:
        raise TypeError(f"elicit: {e}") from None
    schema = shape.schema
    if schema.get("type") == "object" and "properties" in schema:
        for name, member in schema["properties"].items():
            schema["properties"][name] = _flat(member, f"the field {name!r}")
        schema.pop("additionalProperties", None)
        return Form(schema, lambda content: shape.check(content, False))
    return _scalar(_flat(schema, "the type"), lambda value: shape.check(value, False))


def _scalar(schema: Json, make: Callable[[Any], Any]) -> Form:
    def unwrap(content: Any) -> Any:
        if not isinstance(content, dict) or "value" not in content:
            raise Invalid("there is no value")
        return make(content["value"])

    whole = {"type": "object", "properties": {"value": schema}, "required": ["value"]}
    return Form(whole, unwrap)


def _choice(options: list[Any]) -> Form:
    """["a", "b"] is a choice of one; [["a", "b"]] of several; [{"a": {"title": …}}] of several with
    titles."""
    if len(options) == 1 and isinstance(options[0], (list, tuple, dict)):
        inner = options[0]
        names = list(inner)
        items = {"anyOf": _titled(inner)["oneOf"]} if isinstance(inner, dict) else _texts(names)
        pick = _one_of(names)
        return _scalar({"type": "array", "items": items}, lambda value: [pick(v) for v in value])
    return _scalar(_texts(options), _one_of(options))


def _texts(options: list[Any]) -> Json:
    if not options or not all(isinstance(each, str) for each in options):
        raise TypeError("elicit: choices are texts, at least one")
    return {"type": "string", "enum": options}


def _titled(options: dict[Any, Any]) -> Json:
    return {
        "type": "string",
        "oneOf": [
            {"const": name, "title": said.get("title", name) if isinstance(said, dict) else said}
            for name, said in options.items()
        ],
    }


def _one_of(names: list[Any]) -> Callable[[Any], Any]:
    def pick(value: Any) -> Any:
        if value not in names:
            raise Invalid(f"must be one of {', '.join(map(str, names))}")
        return value

    return pick


def _flat(schema: Json, what: str) -> Json:
    """The schema of one field, as a form may have it."""
    members = schema.get("anyOf")
    if members:
        rest = [each for each in members if each.get("type") != "null"]
        if len(rest) == 1:
            outer = {k: v for k, v in schema.items() if k != "anyOf" and v is not None}
            return _flat({**rest[0], **outer}, what)
    if "const" in schema:
        schema = {**schema, "enum": [schema["const"]]}
        del schema["const"]
    if "enum" in schema and all(isinstance(each, str) for each in schema["enum"]):
        return {"type": "string", **schema}
    if schema.get("type") == "array" and "enum" in schema.get("items", {}):
        return schema
    if schema.get("type") in PRIMITIVE and "enum" not in schema:
        return schema
    raise TypeError(f"elicit: {what} is neither a text, a number, a boolean nor a choice of texts")


def _nothing(content: Any) -> Json:
    if content:
        raise Invalid("nothing was asked for")
    return {}


def answer(asked: Form, result: Json) -> Any:
    """The outcome of `elicitation/create`. Raises ToolError for an answer that does not fit the
    form."""
    action = result.get("action")
    if action == "decline":
        return DeclinedElicitation()
    if action == "cancel":
        return CancelledElicitation()
    if action != "accept":
        raise ToolError(f"The client answered the question with the action {action!r}")
    try:
        return AcceptedElicitation(asked.make(result.get("content") or {}))
    except Invalid as e:
        raise ToolError(f"The answer to the question does not fit: {e}") from None
