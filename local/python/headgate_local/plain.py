"""From a Python value to what JSON can hold."""

from __future__ import annotations

import base64
import collections.abc as abc
import dataclasses
import datetime as dt
import enum
import json
import math
import pathlib
import uuid
from decimal import Decimal
from typing import Any


class NotPlain(Exception):
    """A value that has no JSON form."""


def iso_duration(value: dt.timedelta) -> str:
    """ISO 8601, as pydantic writes it."""
    sign = "-" if value < dt.timedelta() else ""
    value = abs(value)
    out = f"{sign}P"
    if value.days:
        out += f"{value.days}D"
    hours, rest = divmod(value.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    clock = f"{hours}H" * bool(hours) + f"{minutes}M" * bool(minutes)
    if seconds or value.microseconds:
        clock += f"{seconds}" + f".{value.microseconds:06d}".rstrip("0") * bool(value.microseconds)
        clock += "S"
    if clock:
        out += f"T{clock}"
    return out if out[-1] != "P" else out + "T0S"


def iso_moment(value: dt.datetime | dt.time) -> str:
    text = value.isoformat()
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def key_of(key: Any) -> str:
    if isinstance(key, str) and not isinstance(key, enum.Enum):
        return key
    made = plain(key)
    if isinstance(made, bool):
        return "true" if made else "false"
    if made is None:
        return "None"
    if isinstance(made, (dict, list)):
        raise NotPlain(f"a {type(key).__name__} cannot be the name of a member")
    return str(made)


def plain(value: Any, depth: int = 0) -> Any:
    """The value as dicts, lists, strings, numbers, booleans and None. Raises NotPlain."""
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if kind is str or kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else None
    if depth > 200:
        raise NotPlain("the value is nested too deeply, or contains itself")
    if kind is dict:
        return {key_of(k): plain(v, depth + 1) for k, v in value.items()}
    if kind is list or kind is tuple:
        return [plain(each, depth + 1) for each in value]
    return _other(value, depth)


def _other(value: Any, depth: int) -> Any:
    if isinstance(value, enum.Enum):
        return plain(value.value, depth + 1)
    for method, options in (
        ("to_json_value", {}),
        ("model_dump", {"mode": "json", "by_alias": True}),
    ):
        dump = getattr(value, method, None)
        if dump is not None and not isinstance(value, type):
            return dump(**options)
    if hasattr(value, "__fields__") and callable(getattr(value, "dict", None)):
        return plain(value.dict(by_alias=True), depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: plain(getattr(value, each.name), depth + 1)
            for each in dataclasses.fields(value)
        }
    if isinstance(value, abc.Mapping):
        return {key_of(k): plain(v, depth + 1) for k, v in value.items()}
    return _leaf(value, depth)


def _leaf(value: Any, depth: int) -> Any:
    if isinstance(value, (dt.datetime, dt.time)):
        return iso_moment(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return iso_duration(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise NotPlain(
                "the bytes are not UTF-8; return File(data=…) or Image(data=…)"
            ) from None
    if isinstance(value, (Decimal, uuid.UUID, pathlib.PurePath, complex)):
        return str(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return plain(float(value), depth)
    if isinstance(value, (abc.Set, abc.Sequence, abc.Iterator, abc.ValuesView, abc.KeysView)):
        return [plain(each, depth + 1) for each in value]
    if type(value).__module__ in ("ipaddress", "re", "fractions"):
        return getattr(value, "pattern", None) or str(value)
    raise NotPlain(f"a {type(value).__name__} has no JSON form")


ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
LOOSE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encode(value: Any) -> bytes:
    """Compact JSON of plain values; numbers that JSON lacks become null."""
    try:
        return ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        return ENCODER.encode(value).encode("utf-8", "replace")
    except (ValueError, TypeError):
        return ENCODER.encode(plain(value)).encode("utf-8", "replace")


def text_of(value: Any) -> str:
    """The JSON that stands for a value in a text block."""
    if isinstance(value, float) and not math.isfinite(value):
        return LOOSE.encode(value)
    try:
        return ENCODER.encode(value)
    except (TypeError, ValueError):
        return ENCODER.encode(plain(value))


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()
