"""A function's parameters: the schema that a client sees, and a fast way from JSON to a call."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Union, get_args, get_origin

from . import docstrings
from .composites import Json, default_of
from .constraints import MISSING, Rules, is_field
from .dependencies import Dependency, is_dependency
from .scalars import Check, Invalid
from .shapes import Builder, SchemaError

EXACT = (str, int, bool)


@dataclass(slots=True)
class Parameter:
    """One parameter that a client gives. `exact`: a JSON value of this type needs no check."""

    name: str
    key: str
    check: Check
    exact: type | None
    required: bool
    schema: Json
    description: str | None
    text: bool


@dataclass
class Signature:
    schema: Json
    parameters: list[Parameter]
    contexts: list[str]
    dependencies: dict[str, Dependency]
    fill: dict[str, Callable[[], Any]]
    is_async: bool
    names: frozenset[str] = frozenset()
    hints: dict[str, Any] = field(default_factory=dict)

    @property
    def needs_loop(self) -> bool:
        return self.is_async or any(each.needs_loop for each in self.dependencies.values())

    def bind(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The call's keyword arguments. Raises Invalid with all that is wrong."""
        out: dict[str, Any] = {}
        problems: list[Any] = []
        given = 0
        for each in self.parameters:
            name = each.name
            if name in arguments:
                given += 1
                value = arguments[name]
                if type(value) is each.exact:
                    out[each.key] = value
                    continue
                try:
                    out[each.key] = each.check(value, False)
                except Invalid as e:
                    problems += e.under(name)
            elif each.required:
                problems.append(((name,), "is required"))
        if given != len(arguments):
            problems += [((n,), "is not expected") for n in arguments if n not in self.names]
        if problems:
            raise Invalid(problems=problems)
        for key, make in self.fill.items():
            if key not in out:
                out[key] = make()
        return out


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations, evaluated. Raises SchemaError when one names what is not there."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as e:
        raise SchemaError(f"an annotation cannot be evaluated: {e}") from None
    except (TypeError, SyntaxError, AttributeError) as e:
        raise SchemaError(f"an annotation is not a type: {e}") from None


def is_context(hint: Any) -> bool:
    """Whether a parameter so annotated gets the call's context."""
    if get_origin(hint) is typing.Annotated:
        return is_context(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return any(is_context(each) for each in get_args(hint))
    module = str(getattr(hint, "__module__", ""))
    return getattr(hint, "__name__", None) == "Context" and module.startswith(
        ("fastmcp", "headgate_local", "mcp.server")
    )


def read(function: Callable[..., Any]) -> Signature:
    """Raises SchemaError for a signature that cannot be served."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError) as e:
        raise SchemaError(f"the signature cannot be read: {e}") from None
    hints = type_hints(function)
    described = docstrings.parameters(function.__doc__)
    builder = Builder()
    out = Signature({}, [], [], {}, {}, inspect.iscoroutinefunction(function), hints=hints)
    for name, each in signature.parameters.items():
        _refuse(name, each)
        hint = hints.get(name, Any)
        if is_context(hint):
            out.contexts.append(name)
        elif is_dependency(each.default):
            out.dependencies[name] = each.default
        elif is_dependency(marker := _marker(hint)):
            out.dependencies[name] = marker
        else:
            out.parameters.append(_parameter(builder, name, hint, each.default, described, out))
    properties = {each.name: each.schema for each in out.parameters}
    schema: Json = {"type": "object", "properties": properties}
    required = [each.name for each in out.parameters if each.required]
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    out.schema = builder.finish(schema)
    out.names = frozenset(properties)
    return out


def _marker(hint: Any) -> Any:
    """A dependency given as `Annotated[X, Depends(f)]`."""
    if get_origin(hint) is typing.Annotated:
        return next((each for each in get_args(hint)[1:] if is_dependency(each)), None)
    return None


def _refuse(name: str, each: inspect.Parameter) -> None:
    if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
        stars = "*" if each.kind is each.VAR_POSITIONAL else "**"
        raise SchemaError(f"{stars}{name} cannot be described to a client; name the parameters")
    if each.kind is each.POSITIONAL_ONLY:
        raise SchemaError(f"{name!r} is positional only; remove the / from the signature")
    if name in ("self", "cls") and each.annotation is each.empty:
        raise SchemaError(f"{name!r} as a parameter: a tool is a function, not a method")


def _parameter(
    builder: Builder, name: str, hint: Any, default: Any, described: dict[str, str], out: Signature
) -> Parameter:
    try:
        shape = builder.shape(hint)
    except SchemaError as e:
        raise SchemaError(f"parameter {name!r}: {e}") from None
    rules = Rules()
    for each in get_args(hint)[1:] if get_origin(hint) is typing.Annotated else ():
        rules.add(each)
    if is_field(default):
        own = Rules()
        own.add(default)
        rules.add(default)
        shape.schema, shape.check = own.write(shape.schema), own.guard(shape.check)
        default = own.default
    elif default is inspect.Parameter.empty:
        default = rules.default
    if default is MISSING and rules.default_factory is not None:
        out.fill[name] = rules.default_factory
    elif default is not MISSING and rules.default is default:
        value = default
        out.fill[name] = lambda: value
    schema = dict(shape.schema)
    if default is not MISSING:
        schema |= default_of(default)
    if name in described and rules.description is None:
        schema["description"] = described[name]
    required = default is MISSING and rules.default_factory is None
    exact = hint if hint in EXACT and not is_field(default) and not rules.limits else None
    public = rules.alias if isinstance(rules.alias, str) else name
    bare = get_args(hint)[0] if get_origin(hint) is typing.Annotated else hint
    text = bare is str or bare is Any
    return Parameter(
        public, name, shape.check, exact, required, schema, schema.get("description"), text
    )
