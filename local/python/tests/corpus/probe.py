"""What both sides of the comparison share: the values that are tried, and how an outcome is
written."""

from __future__ import annotations

import importlib.util
import inspect
import json
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

VALUES = json.loads((pathlib.Path(__file__).parent / "values.json").read_text())


def functions(path: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions of a file, which is loaded under one name on both sides."""
    spec = importlib.util.spec_from_file_location("corpus", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["corpus"] = module
    spec.loader.exec_module(module)
    for name, function in vars(module).items():
        if inspect.isfunction(function) and function.__module__ == "corpus":
            yield name, function


def outcomes(take: Callable[[Any], Any]) -> list[str | None]:
    """For each value: what it became, or None when it was refused."""
    out: list[str | None] = []
    for value in VALUES:
        try:
            out.append(shown(take(value)))
        except Exception as e:
            if type(e).__name__ not in ("ValidationError", "Invalid"):
                raise
            out.append(None)
    return out


def shown(value: Any) -> str:
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}({sorted(map(repr, value))})"
    if type(value).__name__ == "datetime":
        return f"datetime {value.isoformat()}"
    if type(value).__name__ == "time":
        return f"time {value.isoformat()}"
    return repr(value).replace("TzInfo(0)", "datetime.timezone.utc")
