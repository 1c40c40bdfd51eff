"""A schema and its check agree: what the schema allows is taken, and what is not taken is refused
in words."""

from __future__ import annotations

import json
import pathlib
import random
from collections.abc import Iterator
from typing import Any

import pytest
from headgate_local import signatures
from headgate_local.scalars import Invalid
from jsonschema import Draft202012Validator

CORPUS = pathlib.Path(__file__).parent / "corpus"
WORDS = ["", "a", "b", "x", "y", "red", "green", "low", "only", "1", "5", "null", "title", "name"]
KEYS = ["a", "b", "c", "x", "y", "red", "title", "year", "value", "children", "item", "name", "at"]

# Of these a schema says less: texts that are numbers, what a set can hold, numbers as names.
LOOSE = {"complex_number", "decimal_number", "decimal_default", "set_bare", "dict_int_keys"}


def value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(8 if depth < 4 else 6)
    if kind == 0:
        return chance.choice([None, True, False])
    if kind in (1, 2):
        return chance.choice([0, 1, -1, 2, 5, 7, 2**63, 10**30, chance.randrange(-9, 99)])
    if kind == 3:
        return chance.choice([0.5, -1.5, 1.0, 1e300, 1e20, float("inf")])
    if kind in (4, 5):
        return chance.choice(WORDS)
    if kind == 6:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(KEYS): value(chance, depth + 1) for _ in range(chance.randrange(4))}


@pytest.fixture(scope="module")
def parameters() -> list[tuple[str, signatures.Parameter, Any]]:
    """The parameters of the corpus, each with the schema that stands for it alone."""
    import sys

    from headgate_local import imports

    path, modules = list(sys.path), dict(sys.modules)
    sys.path.insert(0, str(CORPUS))
    imports.prepare("shim", ())
    try:
        import probe

        return list(found(probe))
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - set(modules):
            del sys.modules[name]


def found(probe: Any) -> Iterator[tuple[str, signatures.Parameter, Any]]:
    for name, function in probe.functions(str(CORPUS / "native.py")):
        signature = signatures.read(function)
        for each in signature.parameters:
            defs = {"$defs": signature.schema["$defs"]} if "$defs" in signature.schema else {}
            yield name, each, {**each.schema, **defs}


def test_what_the_schema_allows_is_taken_and_refusals_are_in_words(parameters: Any) -> None:
    chance = random.Random(20260731)
    taken = 0
    for name, parameter, schema in parameters:
        says = Draft202012Validator(schema)
        judged = '"format"' not in json.dumps(schema) and name not in LOOSE
        for _ in range(150):
            given = value(chance)
            try:
                parameter.check(given, False)
                taken += 1
            except Invalid as e:
                assert str(e)
                exact = not any(big in json.dumps(given) for big in ("e+", "Infinity"))
                assert not (judged and exact and says.is_valid(given)), (name, given, str(e))
    assert taken > 1000
