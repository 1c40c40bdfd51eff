"""The parts of a schema, and the checks, of values that are made of others: unions, arrays,
objects, enumerations."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from .constraints import MISSING
from .plain import NotPlain, plain
from .scalars import Check, Invalid, take_any

Json = dict[str, Any]
# Kinds of arrays that hold a value once.
UNIQUE = (set, frozenset)


@dataclass
class Shape:
    """What is known of one annotation. `weight` tells a union how well an object fits."""

    schema: Json
    check: Check
    weight: Callable[[Any], int] | None = None


@dataclass(slots=True)
class Member:
    """A member of an object: its name in JSON and in Python."""

    name: str
    key: str
    shape: Shape
    required: bool


def with_default(name: str, key: str, shape: Shape, default: Any, factory: bool) -> Member:
    """A member that may have a default, or a function that makes one (whose value is not shown)."""
    if default is not MISSING:
        shape.schema = {**shape.schema, **default_of(default)}
    return Member(name, key, shape, default is MISSING and not factory)


def object_shape(owner: Any, members: list[Member], make: Any, description: str | None) -> Shape:
    schema: Json = {
        "type": "object",
        "properties": {each.name: each.shape.schema for each in members},
    }
    required = [each.name for each in members if each.required]
    if required:
        schema["required"] = required
    if description:
        schema["description"] = description
    names = {each.name for each in members}

    def weight(value: Any) -> int:
        return len(names.intersection(value)) if isinstance(value, dict) else 0

    instance = owner if make is not dict else ()
    return Shape(schema, object_check(members, make, instance), weight)


def documented(owner: Any) -> str | None:
    """The docstring that somebody wrote: not the one that dataclasses and NamedTuple write."""
    text = owner.__dict__.get("__doc__")
    if not text or text.startswith((f"{owner.__name__}(", "dict() ->", "dict(")):
        return None
    return inspect.cleandoc(text)


def default_of(value: Any) -> Json:
    """`default` as JSON, or nothing when the value has no JSON form."""
    try:
        return {"default": plain(value)}
    except NotPlain:
        return {}


def typed(values: list[Any]) -> Json:
    """The one JSON type of all the values, if there is one."""
    kinds = {type(value) for value in values}
    names = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    if len(kinds) == 1:
        name = names.get(kinds.pop())
        return {"type": name} if name else {}
    return {}


def literal(args: tuple[Any, ...]) -> Shape:
    flat: list[Any] = []
    for each in args:
        flat += get_args(each) if get_origin(each) is Literal else [each]
    values = [each.value if isinstance(each, enum.Enum) else each for each in flat]
    schema = {"const": values[0]} if len(values) == 1 else {"enum": values}
    schema |= typed(values)
    listed = ", ".join(repr(each) for each in values)

    def check(value: Any, strict: bool) -> Any:
        for each, original in zip(values, flat):
            if value == each and (type(value) is type(each) or not strict):
                return original
        raise Invalid(f"must be one of {listed}" if len(values) > 1 else f"must be {listed}")

    return Shape(schema, check)


def enumeration(kind: type[enum.Enum]) -> Shape:
    values = [each.value for each in kind]
    try:
        table = {value: member for value, member in zip(values, kind)}
    except TypeError:
        table = {}
    schema: Json = {"enum": [default_of(v).get("default", str(v)) for v in values]} | typed(values)
    text = kind.__dict__.get("__doc__")
    if text and text != "An enumeration.":
        schema["description"] = inspect.cleandoc(text)
    listed = ", ".join(repr(each) for each in values)
    whole = issubclass(kind, int)

    def check(value: Any, strict: bool) -> Any:
        if isinstance(value, kind):
            return value
        if not strict:
            try:
                if value in table:
                    return table[value]
                if whole and isinstance(value, str) and int(value) in table:
                    return table[int(value)]
                return kind(value)
            except (TypeError, ValueError):
                pass
        raise Invalid(f"must be one of {listed}")

    return Shape(schema, check)


def union_check(shapes: list[Shape]) -> Check:
    """Tries exact types first, the fullest object before others, and then what can be made to
    fit."""

    def check(value: Any, strict: bool) -> Any:
        best: tuple[int, Any] | None = None
        for shape in shapes:
            try:
                made = shape.check(value, True)
            except Invalid:
                continue
            weight = shape.weight(value) if shape.weight else 0
            if shape.weight is None:
                return made
            if best is None or weight > best[0]:
                best = (weight, made)
        if best is not None:
            return best[1]
        problems: list[Any] = []
        if not strict:
            for shape in shapes:
                try:
                    made = shape.check(value, False)
                except Invalid as e:
                    problems += e.problems
                    continue
                weight = shape.weight(value) if shape.weight else 0
                if shape.weight is None:
                    return made
                if best is None or weight > best[0]:
                    best = (weight, made)
            if best is not None:
                return best[1]
        raise either(problems)

    return check


def either(problems: list[Any]) -> Invalid:
    """One problem that offers all the alternatives, when they are of the value itself."""
    if problems and all(not path for path, _ in problems):
        reasons = list(dict.fromkeys(reason for _, reason in problems))
        return Invalid(", or ".join(reasons))
    return Invalid(problems=problems) if problems else Invalid("has none of the types allowed")


def list_check(item: Check, make: Callable[[Any], Any]) -> Check:
    accepts = (list, tuple) if make not in UNIQUE else (list, tuple, set, frozenset)

    def check(value: Any, strict: bool) -> Any:
        if not isinstance(value, accepts):
            raise Invalid("must be an array")
        if item is take_any:
            try:
                return make(value)
            except TypeError:
                raise Invalid("has an item that cannot be in a set") from None
        out = []
        problems: list[Any] = []
        for i, each in enumerate(value):
            try:
                out.append(item(each, strict))
            except Invalid as e:
                problems += e.under(i)
        if problems:
            raise Invalid(problems=problems)
        return make(out)

    return check


def fixed_check(items: list[Check], least: int, make: Callable[[Any], Any]) -> Check:
    counted = f"{least}" if least == len(items) else f"{least} to {len(items)}"

    def check(value: Any, strict: bool) -> Any:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= len(items):
            raise Invalid(f"must be an array of {counted} items")
        out = []
        problems: list[Any] = []
        for i, (take, each) in enumerate(zip(items, value)):
            try:
                out.append(take(each, strict))
            except Invalid as e:
                problems += e.under(i)
        if problems:
            raise Invalid(problems=problems)
        return make(out)

    return check


def mapping_check(key: Check, value_check: Check, make: Callable[[Any], Any]) -> Check:
    def check(value: Any, strict: bool) -> Any:
        if not isinstance(value, dict):
            raise Invalid("must be an object")
        out = {}
        problems: list[Any] = []
        for name, each in value.items():
            try:
                # A name is always text: `strict` cannot be asked of it.
                out[key(name, False)] = value_check(each, strict)
            except Invalid as e:
                problems += e.under(name)
        if problems:
            raise Invalid(problems=problems)
        return make(out)

    return check


def object_check(members: list[Member], make: Any, instance: Any = ()) -> Check:
    def check(value: Any, strict: bool) -> Any:
        if instance and isinstance(value, instance):
            return value
        if not isinstance(value, dict):
            raise Invalid("must be an object")
        out = {}
        problems: list[Any] = []
        for each in members:
            if each.name in value:
                try:
                    out[each.key] = each.shape.check(value[each.name], strict)
                except Invalid as e:
                    problems += e.under(each.name)
            elif each.required:
                problems.append(((each.name,), "is required"))
        if problems:
            raise Invalid(problems=problems)
        try:
            return make(out)
        except (TypeError, ValueError) as e:
            raise Invalid(str(e) or type(e).__name__) from None

    return check


def closed_check(inner: Check, known: set[str]) -> Check:
    """A check of objects that have no members but those that are known."""

    def check(value: Any, strict: bool) -> Any:
        if isinstance(value, dict) and not known.issuperset(value):
            raise Invalid(
                problems=[((key,), "is not expected") for key in value if key not in known]
            )
        return inner(value, strict)

    return check
