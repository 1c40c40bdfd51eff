"""From a type annotation to a JSON schema and a check of values, in one walk over the annotation.

Covers all types that need no package; models of pydantic, 1 or 2, are handed to it (foreign.py).
Schemas are written inline; only a type that contains itself gets an entry in `$defs`."""

from __future__ import annotations

import collections
import collections.abc as abc
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from . import foreign
from .composites import (
    UNIQUE,
    Json,
    Member,
    Shape,
    closed_check,
    default_of,
    documented,
    enumeration,
    fixed_check,
    list_check,
    literal,
    mapping_check,
    object_check,
    object_shape,
    union_check,
    with_default,
)
from .constraints import MISSING, Rules, is_field
from .scalars import SCALARS, Check, take_any, take_str


class SchemaError(Exception):
    """An annotation that has no JSON schema; says which and why."""


LISTS: dict[Any, Callable[[Any], Any]] = {
    list: list,
    collections.deque: collections.deque,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    abc.Set: frozenset,
    abc.MutableSet: set,
    **dict.fromkeys(
        (abc.Sequence, abc.MutableSequence, abc.Collection, abc.Container, abc.Iterable,
         abc.Iterator, abc.Generator, abc.Reversible, abc.AsyncIterator, abc.AsyncIterable,
         abc.AsyncGenerator),
        list,
    ),
}  # fmt: skip
MAPPINGS: dict[Any, Callable[[Any], Any]] = {
    dict: dict,
    abc.Mapping: dict,
    abc.MutableMapping: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.defaultdict: dict,
    collections.Counter: collections.Counter,
}


class Builder:
    """One walk. `output` asks for the schema of what a value is written as, not taken from."""

    def __init__(self, output: bool = False) -> None:
        self.output = output
        self.defs: Json = {}
        self.building: dict[Any, list[Any]] = {}

    def finish(self, schema: Json) -> Json:
        """The schema with the definitions that it refers to."""
        if not self.defs:
            return schema
        if set(schema) == {"$ref"}:
            schema = dict(self.defs[schema["$ref"].rpartition("/")[2]])
        return {**schema, "$defs": self.defs}

    def shape(self, hint: Any, env: dict[Any, Any] | None = None) -> Shape:
        env = env or {}
        if hint is Any or hint is object or hint is inspect.Parameter.empty or hint is abc.Hashable:
            return Shape({}, take_any)
        if hint is None:
            hint = type(None)
        try:
            scalar = SCALARS.get(hint)
        except TypeError:
            scalar = None
        if scalar is not None:
            schema, check = scalar
            if self.output and "anyOf" in schema:
                schema = schema["anyOf"][1]
            return Shape(dict(schema), check)
        return self._special(hint, env) or self._class(hint, env)

    def _special(self, hint: Any, env: dict[Any, Any]) -> Shape | None:
        """Forms of typing, and generic aliases."""
        if isinstance(hint, (str, typing.ForwardRef)):
            text = hint if isinstance(hint, str) else hint.__forward_arg__
            raise SchemaError(f"the annotation {text!r} names something that is not defined")
        if isinstance(hint, typing.TypeVar):
            return self._variable(hint, env)
        if hint is typing.LiteralString:
            return Shape({"type": "string"}, take_str)
        origin = get_origin(hint)
        if hasattr(hint, "__supertype__"):
            return self.shape(hint.__supertype__, env)
        if type(hint).__name__ == "TypeAliasType":
            return self.shape(hint.__value__, env)
        if type(origin).__name__ == "TypeAliasType":
            bound = dict(zip(origin.__type_params__, get_args(hint)))
            return self.shape(origin.__value__, env | bound)
        if origin is typing.Annotated:
            return self._annotated(hint, env)
        if origin is Literal or type(origin).__name__ == "LiteralGenericAlias":
            return literal(get_args(hint))
        if origin is Union or origin is types.UnionType:
            return self._union(list(get_args(hint)), env)
        if origin is not None and getattr(origin, "_name", None) in (
            "Required", "NotRequired", "Final", "ClassVar", "ReadOnly"
        ):  # fmt: skip
            return self.shape(get_args(hint)[0], env)
        if origin in LISTS or hint in LISTS:
            return self._list(hint, origin or hint, get_args(hint), env)
        if origin in MAPPINGS or hint in MAPPINGS:
            return self._mapping(origin or hint, get_args(hint), env)
        if isinstance(origin, type) and not foreign.is_model(hint):
            bound = dict(zip(getattr(origin, "__parameters__", ()), get_args(hint)))
            return self._class(origin, env | bound, hint)
        return None

    def _variable(self, hint: typing.TypeVar, env: dict[Any, Any]) -> Shape:
        if hint in env and env[hint] is not hint:
            return self.shape(env[hint], env)
        if hint.__constraints__:
            return self._union(list(hint.__constraints__), env)
        return self.shape(hint.__bound__ or Any, env)

    def _annotated(self, hint: Any, env: dict[Any, Any]) -> Shape:
        inner, *said = get_args(hint)
        texts = [each for each in said if isinstance(each, str)]
        rules = Rules()
        for each in said:
            rules.add(each)
        if rules.unknown:
            whole = foreign.shape(hint, self.output)
            if whole is not None:
                return self._hoisted(*whole)
        if rules.description is None and len(texts) == len(said) == 1:
            rules.description = texts[0]
        base = self.shape(inner, env)
        return Shape(rules.write(base.schema), rules.guard(base.check), base.weight)

    def _union(self, members: list[Any], env: dict[Any, Any]) -> Shape:
        members = [each for each in members if each is not type(None)] + [
            each for each in members if each is type(None)
        ]
        shapes = [self.shape(each, env) for each in members]
        schemas: list[Json] = []
        for each in shapes:
            if each.schema not in schemas:
                schemas.append(each.schema)
        schema: Json = {"anyOf": schemas} if len(schemas) > 1 else schemas[0]
        return Shape(schema, union_check(shapes))

    def _list(self, hint: Any, kind: Any, args: tuple[Any, ...], env: dict[Any, Any]) -> Shape:
        make = LISTS[kind]
        if hint == tuple[()] or kind is tuple and args and args[1:] != (...,):
            return self._fixed([self.shape(each, env) for each in args], len(args), tuple)
        item = self.shape(args[0], env) if args else Shape({}, take_any)
        schema: Json = {"type": "array", "items": item.schema}
        if make in UNIQUE:
            schema["uniqueItems"] = True
        return Shape(schema, list_check(item.check, make))

    def _fixed(self, items: list[Shape], least: int, make: Callable[[Any], Any]) -> Shape:
        schema: Json = {"type": "array", "minItems": least, "maxItems": len(items)}
        if items:
            schema["prefixItems"] = [each.schema for each in items]
        return Shape(schema, fixed_check([each.check for each in items], least, make))

    def _mapping(self, kind: Any, args: tuple[Any, ...], env: dict[Any, Any]) -> Shape:
        if kind is collections.Counter and len(args) == 1:
            args = (args[0], int)
        key = self.shape(args[0], env) if args else Shape({}, take_any)
        value = self.shape(args[1], env) if args else Shape({}, take_any)
        schema: Json = {"type": "object", "additionalProperties": value.schema or True}
        pattern = key.schema.get("pattern")
        if pattern:
            schema = {"type": "object", "patternProperties": {pattern: value.schema}}
        elif "enum" in key.schema or "const" in key.schema:
            names = dict(key.schema)
            if get_origin(args[0]) is Literal:
                names.pop("type", None)
            schema["propertyNames"] = names
        make = MAPPINGS[kind]
        if kind is collections.defaultdict:
            factory = args[1] if len(args) > 1 and callable(args[1]) else None

            def make(items: Any) -> Any:
                return collections.defaultdict(factory, items)

        return Shape(schema, mapping_check(key.check, value.check, make))

    def _class(self, hint: Any, env: dict[Any, Any], alias: Any = None) -> Shape:
        if foreign.is_model(hint) or foreign.is_model(alias):
            return self._hoisted(*foreign.model(alias or hint, self.output))
        if not isinstance(hint, type):
            return self._delegated(hint)
        if issubclass(hint, enum.Enum):
            return enumeration(hint)
        if typing.is_typeddict(hint) or hasattr(hint, "__required_keys__"):
            return self._recursive(alias or hint, lambda: self._typed_dict(hint, env))
        if issubclass(hint, tuple) and hasattr(hint, "_fields"):
            return self._recursive(alias or hint, lambda: self._named_tuple(hint, env))
        if dataclasses.is_dataclass(hint):
            return self._recursive(alias or hint, lambda: self._dataclass(hint, env))
        fields = getattr(hint, "__headgate_fields__", None)
        if fields is not None:
            return self._recursive(alias or hint, lambda: self._stand_in(hint, fields(), env))
        return self._delegated(hint)

    def _hoisted(self, schema: Json, check: Check) -> Shape:
        """A schema of pydantic, whose definitions belong to the whole."""
        self.defs |= schema.pop("$defs", {})
        return Shape(schema, check)

    def _delegated(self, hint: Any) -> Shape:
        """What we do not know: a type of pydantic, or a subclass of a plain type, or nothing."""
        if foreign.knows(hint):
            whole = foreign.shape(hint, self.output)
            if whole is not None:
                return self._hoisted(*whole)
        for plain in (str, int, float, bytes):
            if isinstance(hint, type) and issubclass(hint, plain) and self.output:
                return self.shape(plain)
        name = getattr(hint, "__name__", None) or str(hint)
        raise SchemaError(f"the type {name} has no JSON schema")

    def _recursive(self, key: Any, build: Callable[[], Shape]) -> Shape:
        """Builds a type of the user's, which may contain itself."""
        if key in self.building:
            cell = self.building[key]
            cell[1] = True
            ref = {"$ref": f"#/$defs/{cell[2]}"}
            return Shape(ref, lambda value, strict: cell[0].check(value, strict))
        cell = self.building[key] = [None, False, self._name(key)]
        try:
            shape = cell[0] = build()
        finally:
            del self.building[key]
        if cell[1]:
            self.defs[cell[2]] = shape.schema
            return Shape({"$ref": f"#/$defs/{cell[2]}"}, shape.check, shape.weight)
        return shape

    def _name(self, key: Any) -> str:
        name = getattr(key, "__name__", "Type")
        used = set(self.defs) | {cell[2] for cell in self.building.values()}
        number, out = 2, name
        while out in used:
            out, number = f"{name}{number}", number + 1
        return str(out)

    def _fields(self, owner: type, env: dict[Any, Any]) -> dict[str, Any]:
        try:
            return typing.get_type_hints(owner, include_extras=True)
        except NameError as e:
            raise SchemaError(f"{owner.__name__}: {e}") from None

    def _typed_dict(self, hint: Any, env: dict[Any, Any]) -> Shape:
        hints = self._fields(hint, env)
        required = hint.__required_keys__
        optional: set[str] = set()
        for name, each in hints.items():
            wrapper = getattr(get_origin(each), "_name", None)
            if wrapper == "Required":
                required = required | {name}
            elif wrapper == "NotRequired":
                optional.add(name)
        fields = [
            Member(name, name, self.shape(each, env), name in required - optional)
            for name, each in hints.items()
        ]
        return object_shape(hint, fields, dict, documented(hint))

    def _named_tuple(self, hint: Any, env: dict[Any, Any]) -> Shape:
        hints = self._fields(hint, env)
        defaults = hint._field_defaults
        items = []
        for name in hint._fields:
            shape = self.shape(hints.get(name, Any), env)
            if name in defaults:
                shape.schema = {**shape.schema, **default_of(defaults[name])}
            items.append(shape)
        least = len(hint._fields) - len(defaults)
        fixed = self._fixed(items, least, lambda values: hint(*values))
        members = [
            Member(name, name, item, name not in defaults)
            for name, item in zip(hint._fields, items)
        ]
        by_name = object_check(members, lambda values: hint(**values))

        def check(value: Any, strict: bool) -> Any:
            if isinstance(value, dict):
                return by_name(value, strict)
            return fixed.check(value, strict)

        return Shape(fixed.schema, check)

    def _dataclass(self, hint: Any, env: dict[Any, Any]) -> Shape:
        hints = self._fields(hint, env)
        members = []
        for each in dataclasses.fields(hint):
            if not each.init and not self.output:
                continue
            shape = self.shape(hints[each.name], env)
            default = MISSING if each.default is dataclasses.MISSING else each.default
            factory = each.default_factory is not dataclasses.MISSING
            if is_field(default):
                rules = Rules()
                rules.add(default)
                shape = Shape(rules.write(shape.schema), rules.guard(shape.check))
                default = rules.default
            if each.metadata.get("description"):
                shape.schema = {**shape.schema, "description": each.metadata["description"]}
            members.append(with_default(each.name, each.name, shape, default, factory))
        return object_shape(hint, members, lambda values: hint(**values), documented(hint))

    def _stand_in(self, hint: Any, fields: dict[str, Any], env: dict[Any, Any]) -> Shape:
        """A model of our own pydantic stand-in."""
        hints = self._fields(hint, env)
        members = []
        for name, info in fields.items():
            rules = Rules()
            rules.add(info)
            base = self.shape(hints[name], env)
            shape = Shape(rules.write(base.schema), rules.guard(base.check), base.weight)
            factory = rules.default_factory is not None
            public = rules.alias or name
            members.append(with_default(public, name, shape, rules.default, factory))
        whole = object_shape(hint, members, hint.__headgate_make__, documented(hint))
        if hint.__headgate_extra__() == "forbid":
            whole.schema["additionalProperties"] = False
            whole.check = closed_check(whole.check, {each.name for each in members})
        return whole
