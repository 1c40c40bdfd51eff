"""Newline-delimited JSON over two descriptors, blocking or not, pipes or a socket."""

from __future__ import annotations

import json
import os
import select
import threading
from typing import Any, NoReturn

from . import logs

# A message larger than this ends the connection: what has no end cannot be kept.
LONGEST = 64 * 1024 * 1024
CHUNK = 256 * 1024


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


decode = json.JSONDecoder(parse_constant=_refuse).decode


class Wire:
    def __init__(self, reader: int, writer: int) -> None:
        self.reader, self.writer = reader, writer
        self.rest: list[bytes] = []
        self.held = 0
        self.lock = threading.Lock()
        self.broken = False

    def read(self) -> list[bytes] | None:
        """The complete lines that have come, waiting for bytes; none may be complete yet. None at
        the end."""
        try:
            data = os.read(self.reader, CHUNK)
        except BlockingIOError:
            select.select([self.reader], [], [])
            return []
        except OSError:
            return None
        if self.held + len(data) > LONGEST:
            logs.line("error", f"a message is longer than {LONGEST} bytes", "headgate")
            return None
        if not data:
            return None
        if not data.endswith(b"\n"):
            head, newline, tail = data.rpartition(b"\n")
            if not newline:
                self.rest.append(data)
                self.held += len(data)
                return []
            data, rest = head, [tail]
        else:
            rest = []
        if self.rest:
            data = b"".join(self.rest) + data
        self.rest, self.held = rest, sum(map(len, rest))
        return [line for line in data.split(b"\n") if line]

    def waiting(self) -> bool:
        """Whether there is something to read now."""
        return bool(select.select([self.reader], [], [], 0)[0])

    def write(self, data: bytes) -> None:
        """Writes whole messages, from any thread. What a closed peer cannot get is dropped."""
        with self.lock:
            if self.broken:
                return
            try:
                sent = os.write(self.writer, data)
                if sent != len(data):
                    self._rest(memoryview(data)[sent:])
            except BlockingIOError:
                self._rest(memoryview(data))
            except OSError:
                self.broken = True

    def _rest(self, view: memoryview) -> None:
        try:
            while view:
                select.select([], [self.writer], [])
                try:
                    view = view[os.write(self.writer, view) :]
                except BlockingIOError:
                    continue
        except OSError:
            self.broken = True


def parse(line: bytes) -> Any:
    """The message of a line. Raises ValueError."""
    try:
        return decode(line.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
