"""A real redis-server for a test, on a port that the kernel gave; it ends with the test."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

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
        poll(self._answers, why="redis-server to answer")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(b"PING\r\n")
            return s.recv(16).startswith(b"+PONG")
        return False

    def say(self, line: str) -> bytes:
        """All that it answers to a line."""
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(line.encode() + b"\r\n")
            s.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: s.recv(65536), b""))

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
