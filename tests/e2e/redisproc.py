"""A real redis-server for a test, on a port that the kernel gave; it ends with the test."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import BinaryIO

from wire import poll


class RedisServer:
    def __init__(self, *options: str) -> None:
        """Options as on its command line."""
        self.options = options
        self.folder = Path(tempfile.mkdtemp(prefix="headgate-redis-"))
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(
            ["redis-server", *arguments, "--dir", str(self.folder), *self.options],
            stdout=subprocess.DEVNULL,
        )
        poll(lambda: self.say("PING") == b"+PONG", why="redis-server to answer")

    def _ask(self, words: tuple[str, ...]) -> BinaryIO:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
            parts = "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
            s.sendall(f"*{len(words)}\r\n{parts}".encode())
            s.shutdown(socket.SHUT_WR)
            return s.makefile("rb")

    def say(self, *words: str) -> bytes:
        """The first line of the answer to a command; empty while there is none."""
        with contextlib.suppress(OSError), self._ask(words) as answer:
            return answer.readline().strip()
        return b""

    def whole(self, *words: str) -> bytes:
        """All of the answer to a command."""
        with self._ask(words) as answer:
            return answer.read()

    def lines(self, *words: str) -> list[str]:
        """What an array of texts holds that a command answers with."""
        with self._ask(words) as answer:
            count = int(answer.readline()[1:])
            return [answer.readline().decode().strip() for _ in range(2 * count)][1::2]

    def pause(self) -> None:
        """It keeps its connections and says nothing any more."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
