"""What `Field(…)` and the objects of `annotated_types` say of a value: read by shape, not by class,
so that those of pydantic 1, pydantic 2, annotated_types and our own stand-in are all understood."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .scalars import Check, Invalid

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "…"})()

# Our name, then the member of an object that may say it.
NUMBERS = ("gt", "ge", "lt", "le", "multiple_of")
SIZES = ("min_length", "max_length")
SCHEMA_NAMES = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
}


@dataclass
class Rules:
    """What was said of one value, from all its metadata together."""

    description: str | None = None
    title: str | None = None
    alias: str | None = None
    default: Any = MISSING
    default_factory: Any = None
    examples: Any = None
    extra: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    strict: bool = False
    deprecated: bool = False
    unknown: list[Any] = field(default_factory=list)

    def add(self, said: Any) -> None:
        """Takes in one object of Annotated metadata, or a Field(…) used as a default."""
        if isinstance(said, str) or said is None:
            return
        before = self._snapshot()
        for each in (said, *getattr(said, "metadata", ())):
            self._limits(each)
        if is_field(said):
            self._field(said)
            if getattr(said, "discriminator", None):
                self.unknown.append(said)
        elif before == self._snapshot() and not is_plain(said):
            self.unknown.append(said)

    def _snapshot(self) -> tuple[Any, ...]:
        return (dict(self.limits), self.strict)

    def _limits(self, said: Any) -> None:
        for name in (*NUMBERS, *SIZES):
            value = getattr(said, name, None)
            if value is not None and not callable(value):
                self.limits[name] = value
        if getattr(said, "strict", None) is True:
            self.strict = True
        pattern = getattr(said, "pattern", None) or getattr(said, "regex", None)
        if isinstance(pattern, re.Pattern):
            pattern = pattern.pattern
        if isinstance(pattern, str):
            self.limits["pattern"] = pattern

    def _field(self, said: Any) -> None:
        for name in ("description", "title", "examples"):
            value = getattr(said, name, None)
            if value is not None:
                setattr(self, name, value)
        self.alias = (
            getattr(said, "validation_alias", None) or getattr(said, "alias", None) or self.alias
        )
        self.deprecated = bool(getattr(said, "deprecated", False))
        default = getattr(said, "default", MISSING)
        if not is_undefined(default):
            self.default = default
        self.default_factory = getattr(said, "default_factory", None)
        extra = getattr(said, "json_schema_extra", None) or getattr(said, "extra", None)
        if isinstance(extra, dict):
            self.extra.update(extra)

    def write(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema with what was said; the one given is not changed."""
        out = dict(schema)
        sizes = (
            ("minItems", "maxItems") if out.get("type") == "array" else ("minLength", "maxLength")
        )
        if out.get("type") == "object":
            sizes = ("minProperties", "maxProperties")
        target = out
        limits = dict(self.limits)
        if "anyOf" in out and limits:
            out["anyOf"] = [dict(member) for member in out["anyOf"]]
            target = next((m for m in out["anyOf"] if m.get("type") != "null"), out)
            if target.get("type") == "array":
                sizes = ("minItems", "maxItems")
        for name, value in limits.items():
            key = SCHEMA_NAMES.get(name) or sizes[SIZES.index(name)]
            target[key] = value
        for key in ("description", "title", "examples"):
            value = getattr(self, key)
            if value is not None:
                out[key] = value
        if self.deprecated:
            out["deprecated"] = True
        out.update(self.extra)
        return out

    def guard(self, check: Check) -> Check:
        """The check, followed by the limits."""
        tests = [LIMITS[name](value) for name, value in self.limits.items()]
        if self.strict:
            inner = check

            def check(value: Any, strict: bool) -> Any:
                return inner(value, True)

        if not tests:
            return check

        def limited(value: Any, strict: bool) -> Any:
            made = check(value, strict)
            if made is not None:
                for holds, reason in tests:
                    if not holds(made):
                        raise Invalid(reason)
            return made

        return limited


def is_field(said: Any) -> bool:
    return type(said).__name__ in ("FieldInfo", "ModelField") and hasattr(said, "default")


def is_undefined(value: Any) -> bool:
    return value is MISSING or value is ... or type(value).__name__.endswith("UndefinedType")


def is_plain(said: Any) -> bool:
    """Metadata that has nothing to do with values."""
    module = type(said).__module__
    return not module.startswith(("pydantic", "annotated_types", "typing_extensions"))


def _matches(pattern: str) -> Any:
    compiled = re.compile(pattern)
    return (lambda v: compiled.search(v) is not None), f"must match {pattern}"


def _multiple(step: Any) -> Any:
    def holds(value: Any) -> bool:
        rest = value % step
        return bool(
            rest == 0 or abs(rest - step) < 1e-9 * abs(step) or abs(rest) < 1e-9 * abs(step)
        )

    return holds, f"must be a multiple of {step}"


LIMITS: dict[str, Any] = {
    "gt": lambda n: ((lambda v: v > n), f"must be greater than {n}"),
    "ge": lambda n: ((lambda v: v >= n), f"must be at least {n}"),
    "lt": lambda n: ((lambda v: v < n), f"must be less than {n}"),
    "le": lambda n: ((lambda v: v <= n), f"must be at most {n}"),
    "multiple_of": _multiple,
    "min_length": lambda n: (
        (lambda v: len(v) >= n),
        f"must have at least {n} items or characters",
    ),
    "max_length": lambda n: ((lambda v: len(v) <= n), f"must have at most {n} items or characters"),
    "pattern": _matches,
}
