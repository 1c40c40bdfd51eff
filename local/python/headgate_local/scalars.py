"""Values of plain types: what JSON is taken for each, as pydantic's lax mode takes it.

A check is called with a decoded JSON value and whether only the exact type will do (how a union
looks for its best member); it returns the Python value or raises Invalid."""

from __future__ import annotations

import datetime as dt
import ipaddress
import pathlib
import re
import uuid
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

Check = Callable[[Any, bool], Any]
Path = tuple[str | int, ...]


class Invalid(Exception):
    """What is wrong with a value: places and reasons. Never the value itself."""

    def __init__(self, reason: str = "", problems: list[tuple[Path, str]] | None = None) -> None:
        self.problems: list[tuple[Path, str]] = problems if problems is not None else [((), reason)]
        super().__init__(reason)

    def __str__(self) -> str:
        return "\n".join(
            f"{'.'.join(map(str, path))}: {reason}" if path else reason
            for path, reason in self.problems
        )

    def under(self, step: str | int) -> list[tuple[Path, str]]:
        return [((step, *path), reason) for path, reason in self.problems]


def take_any(value: Any, strict: bool) -> Any:
    return value


def take_none(value: Any, strict: bool) -> None:
    if value is not None:
        raise Invalid("must be null")


def take_str(value: Any, strict: bool) -> str:
    if isinstance(value, str):
        return value
    raise Invalid("must be a string")


INTEGER = re.compile(r"[+-]?[0-9]+(?:_[0-9]+)*(?:\.0+)?")


def take_int(value: Any, strict: bool) -> int:
    if type(value) is int:
        return value
    if not strict:
        if isinstance(value, (bool, int)):
            return int(value)
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
            return int(value)
        if isinstance(value, str):
            text = value.strip()
            if len(text) <= 4300 and INTEGER.fullmatch(text):
                return int(text.partition(".")[0])
    raise Invalid("must be an integer")


def take_float(value: Any, strict: bool) -> float:
    if type(value) is float:
        return value
    if type(value) is int or (not strict and isinstance(value, (bool, int))):
        try:
            return float(value)
        except OverflowError:
            raise Invalid("is too large for a number") from None
    if not strict and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    raise Invalid("must be a number")


BOOLEANS = dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True) | dict.fromkeys(
    ("false", "f", "no", "n", "off", "0"), False
)


def take_bool(value: Any, strict: bool) -> bool:
    if isinstance(value, bool):
        return value
    if not strict:
        if isinstance(value, (int, float)) and value in (0, 1):
            return bool(value)
        if isinstance(value, str) and value.lower() in BOOLEANS:
            return BOOLEANS[value.lower()]
    raise Invalid("must be true or false")


def take_bytes(value: Any, strict: bool) -> bytes:
    if isinstance(value, bytes):
        return value
    if not strict and isinstance(value, str):
        return value.encode("utf-8", "replace")
    raise Invalid("must be a string")


def take_complex(value: Any, strict: bool) -> complex:
    if isinstance(value, (int, float)):
        return complex(value)
    if not strict and isinstance(value, str):
        try:
            return complex(value)
        except ValueError:
            pass
    raise Invalid("must be a complex number, such as 1+2j")


def take_decimal(value: Any, strict: bool) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if not strict and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = Decimal(str(value).strip())
        except InvalidOperation:
            raise Invalid("must be a decimal number") from None
        if number.is_finite():
            return number
    raise Invalid("must be a decimal number")


def from_text(kind: Callable[[Any], Any], exact: type, name: str, source: Any = str) -> Check:
    """A check for a type that is made from its text, or from what else `source` names."""

    def take(value: Any, strict: bool) -> Any:
        if isinstance(value, exact):
            return value
        if not strict and isinstance(value, source):
            try:
                return kind(int(value) if isinstance(value, bool) else value)
            except (ValueError, re.error):
                pass
        raise Invalid(f"must be {name}")

    return take


SECONDS = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
# Numbers above this are milliseconds, not seconds (pydantic's watershed).
WATERSHED = 2e10
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def moment(value: Any) -> dt.datetime | None:
    """A point in time from seconds or milliseconds; None when it is no number or out of range."""
    if isinstance(value, str) and SECONDS.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        seconds = value / 1000 if abs(value) > WATERSHED else value
        return EPOCH + dt.timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        return None


def take_datetime(value: Any, strict: bool) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    if not strict:
        if isinstance(value, str):
            try:
                return dt.datetime.fromisoformat(value.strip())
            except ValueError:
                pass
        made = moment(value)
        if made is not None:
            return made
    raise Invalid("must be a date and time, such as 2026-01-31T12:00:00Z")


def take_date(value: Any, strict: bool) -> dt.date:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    if not strict:
        if isinstance(value, str):
            try:
                return dt.date.fromisoformat(value.strip())
            except ValueError:
                pass
        try:
            made = take_datetime(value, False)
        except Invalid:
            made = None
        if made is not None and made.time() == dt.time():
            return made.date()
    raise Invalid("must be a date, such as 2026-01-31")


def take_time(value: Any, strict: bool) -> dt.time:
    if isinstance(value, dt.time):
        return value
    if not strict:
        if isinstance(value, str) and ":" in value:
            try:
                return dt.time.fromisoformat(value.strip())
            except ValueError:
                pass
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 86400:
            return (EPOCH + dt.timedelta(seconds=value)).timetz()
    raise Invalid("must be a time, such as 12:30:00")


DURATION = re.compile(
    r"([+-])?P(?:(\d+(?:\.\d+)?)Y)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)W)?(?:(\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?",
    re.IGNORECASE,
)
CLOCK = re.compile(r"([+-])?(?:(\d+) ?d(?:ays?)?,? ?)?(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?")
PARTS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")
DAYS = {"years": 365.0, "months": 30.0}


def duration(text: str) -> dt.timedelta | None:
    """ISO 8601 (a year is 365 days, a month 30) or [D days] H:MM[:SS]."""
    found = DURATION.fullmatch(text)
    if found is not None and any(found.groups()[1:]):
        amounts = dict(zip(PARTS, (float(part or 0) for part in found.groups()[1:])))
        days = sum(amounts.pop(part) * length for part, length in DAYS.items())
        whole = dt.timedelta(**amounts) + dt.timedelta(days=days)
    else:
        found = CLOCK.fullmatch(text)
        if found is None:
            return None
        day, hour, minute, second = (float(part or 0) for part in found.groups()[1:])
        whole = dt.timedelta(days=day, hours=hour, minutes=minute, seconds=second)
    return -whole if found.group(1) == "-" else whole


def take_timedelta(value: Any, strict: bool) -> dt.timedelta:
    if isinstance(value, dt.timedelta):
        return value
    if not strict:
        try:
            if isinstance(value, str):
                made = duration(value.strip())
                if made is not None:
                    return made
            elif isinstance(value, (int, float)):
                return dt.timedelta(seconds=value)
        except (ValueError, OverflowError):
            pass
    raise Invalid("must be a duration, such as PT1H30M, 01:30:00 or seconds")


def text_schema(format_: str) -> dict[str, Any]:
    return {"type": "string", "format": format_}


# A plain type: its schema, and its check.
SCALARS: dict[Any, tuple[dict[str, Any], Check]] = {
    str: ({"type": "string"}, take_str),
    int: ({"type": "integer"}, take_int),
    float: ({"type": "number"}, take_float),
    bool: ({"type": "boolean"}, take_bool),
    type(None): ({"type": "null"}, take_none),
    bytes: (text_schema("binary"), take_bytes),
    complex: ({"type": "string"}, take_complex),
    dt.datetime: (text_schema("date-time"), take_datetime),
    dt.date: (text_schema("date"), take_date),
    dt.time: (text_schema("time"), take_time),
    dt.timedelta: (text_schema("duration"), take_timedelta),
    Decimal: ({"anyOf": [{"type": "number"}, {"type": "string"}]}, take_decimal),
    uuid.UUID: (text_schema("uuid"), from_text(uuid.UUID, uuid.UUID, "a UUID")),
    re.Pattern: (text_schema("regex"), from_text(re.compile, re.Pattern, "a regular expression")),
}
for path_kind in (pathlib.Path, pathlib.PurePath, pathlib.PosixPath, pathlib.PurePosixPath):
    SCALARS[path_kind] = (text_schema("path"), from_text(path_kind, path_kind, "a path"))
for address_kind, address_format in (
    (ipaddress.IPv4Address, "ipv4"),
    (ipaddress.IPv6Address, "ipv6"),
    (ipaddress.IPv4Network, "ipv4network"),
    (ipaddress.IPv6Network, "ipv6network"),
    (ipaddress.IPv4Interface, "ipv4interface"),
    (ipaddress.IPv6Interface, "ipv6interface"),
):
    SCALARS[address_kind] = (
        text_schema(address_format),
        from_text(address_kind, address_kind, f"an address ({address_format})", (str, int)),
    )
