"""Stands for typing_extensions where it is not installed: what `typing` has already."""

import typing
from typing import Any

from headgate_local.stubs import missing

__headgate__ = True
ReadOnly = typing.Optional


def __getattr__(name: str) -> Any:
    if hasattr(typing, name):
        return getattr(typing, name)
    if name in ("override", "deprecated"):
        return _same
    return missing("typing_extensions", name)


def _same(said: Any) -> Any:
    return said if callable(said) else _same
