"""Lines on stderr, one JSON object each: what tools log and print, with the tool's name."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from .options import OptionError
from .plain import encode

# Which tool, or which file while it loads, speaks.
SPEAKER: ContextVar[str | None] = ContextVar("headgate_speaker", default=None)


def line(level: str, message: str, logger: str, **more: Any) -> None:
    """Writes one line. Never raises: a full disk or a closed stderr is not a tool's fault."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    said: dict[str, Any] = {"time": now, "level": level, "logger": logger}
    speaker = SPEAKER.get()
    if speaker is not None:
        said["tool"] = speaker
    with contextlib.suppress(OSError):
        os.write(2, encode({**said, **more, "message": message}) + b"\n")


@contextlib.contextmanager
def speaking_for(name: str) -> Iterator[None]:
    token = SPEAKER.set(name)
    try:
        yield
    finally:
        SPEAKER.reset(token)


class Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception as e:
            text = f"{record.msg} (could not be formatted: {e})"
        line(record.levelname.lower(), text, record.name)


class Printed(io.TextIOBase):
    """Stands for sys.stdout and sys.stderr: each line that is printed becomes a line of the log."""

    LONGEST = 16384
    encoding = "utf-8"
    errors = "replace"

    def __init__(self, stream: str, descriptor: int) -> None:
        self.stream, self.descriptor = stream, descriptor
        self.rest = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def write(self, text: str) -> int:
        self.rest += text
        if "\n" in self.rest or len(self.rest) > self.LONGEST:
            *lines, self.rest = self.rest.split("\n")
            for each in lines:
                self._say(each)
            while len(self.rest) > self.LONGEST:
                self._say(self.rest[: self.LONGEST])
                self.rest = self.rest[self.LONGEST :]
        return len(text)

    def finish(self) -> None:
        """Writes what has no end of line yet."""
        if self.rest:
            text, self.rest = self.rest, ""
            self._say(text)

    def _say(self, text: str) -> None:
        if text:
            line("info", text[: self.LONGEST], "tool", stream=self.stream)


OUT, ERR = Printed("stdout", 1), Printed("stderr", 2)


def install(level: str) -> None:
    """Takes over sys.stdout, sys.stderr and the root logger. Raises OptionError for an unknown
    level."""
    number = logging.getLevelName(level.upper())
    if not isinstance(number, int):
        raise OptionError(f"LOG_LEVEL={level!r}: say DEBUG, INFO, WARNING or ERROR")
    sys.stdout, sys.stderr = OUT, ERR
    root = logging.getLogger()
    root.handlers[:] = [Handler()]
    root.setLevel(number)


def finish() -> None:
    OUT.finish()
    ERR.finish()
