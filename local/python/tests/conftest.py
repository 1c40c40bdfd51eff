"""A workspace made of texts, and a client that speaks to the runtime in a process of its own."""

from __future__ import annotations

import json
import os
import pathlib
import queue
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parents[1]
REPOSITORY = ROOT.parents[1]
PROGRAM = ("/usr/bin/python3", "-m", "headgate_local")
sys.path.insert(0, str(ROOT))


class Answer(Exception):
    """A JSON-RPC error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code, self.data = error["code"], error.get("data")


class Client:
    """One connection: requests, and what the server sends of its own accord."""

    def __init__(self, workspace: pathlib.Path, env: dict[str, str], capabilities: Any) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, "--workspace", str(workspace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **env},
        )
        self.number = 0
        self.answers: dict[Any, queue.Queue[Any]] = {}
        self.notes: queue.Queue[Any] = queue.Queue()
        self.asks: dict[str, Callable[[Any], Any]] = {}
        self.asked: list[Any] = []
        self.errors: list[str] = []
        self.threads = [
            threading.Thread(target=each, daemon=True) for each in (self._read, self._errors)
        ]
        for each in self.threads:
            each.start()
        self.initialized = self.request(
            "initialize",
            protocolVersion="2025-11-25",
            capabilities=capabilities,
            clientInfo={"name": "tests", "version": "1"},
        )
        self.send({"method": "notifications/initialized"})

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def start(self, method: str, **params: Any) -> int:
        self.number += 1
        self.answers[self.number] = queue.Queue()
        self.send({"id": self.number, "method": method, "params": params})
        return self.number

    def wait(self, number: int) -> Any:
        message = self.answers[number].get(timeout=30)
        if message is None:
            raise EOFError("\n".join(self.errors))
        if "error" in message:
            raise Answer(message["error"])
        return message["result"]

    def request(self, method: str, **params: Any) -> Any:
        return self.wait(self.start(method, **params))

    def call(self, name: str, meta: Any = None, /, **arguments: Any) -> Any:
        more = {"_meta": meta} if meta else {}
        return self.request("tools/call", name=name, arguments=arguments, **more)

    def text(self, name: str, /, **arguments: Any) -> str:
        result = self.call(name, **arguments)
        assert not result["isError"], result
        return str(result["content"][0]["text"])

    def error(self, name: str, meta: Any = None, /, **arguments: Any) -> str:
        result = self.call(name, meta, **arguments)
        assert result["isError"], result
        return str(result["content"][0]["text"])

    def note(self) -> Any:
        return self.notes.get(timeout=30)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            if "method" not in message:
                self.answers[message["id"]].put(message)
            elif "id" in message:
                self.asked.append(message)
                answer = self.asks[message["method"]](message["params"])
                if answer is not None:
                    self.send({"id": message["id"], **answer})
            else:
                self.notes.put(message)
        for each in self.answers.values():
            each.put(None)
        self.notes.put(None)

    def _errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.decode(errors="replace"))

    def close(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        code = self.process.wait(timeout=30)
        for each in self.threads:
            each.join(timeout=30)
        return code

    def logged(self) -> list[dict[str, Any]]:
        """The lines of the log, once the process has ended."""
        self.close()
        return [json.loads(line) for line in self.errors]


def write(folder: pathlib.Path, files: dict[str, str | bytes]) -> pathlib.Path:
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        data = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
        file.write_bytes(data)
    return folder


@pytest.fixture
def workspace(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Makes a workspace of {path: text}."""

    return lambda files: write(tmp_path, files)


@pytest.fixture
def serve(workspace: Any) -> Iterator[Callable[..., Client]]:
    """Serves a workspace of {path: text}, or a folder, and gives a client of it."""
    clients: list[Client] = []

    def start(files: Any, env: Any = None, capabilities: Any = None) -> Client:
        folder = workspace(files) if isinstance(files, dict) else files
        clients.append(Client(folder, env or {}, capabilities or {}))
        return clients[-1]

    yield start
    for each in clients:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Client]]:
    """As serve, one client for all tests of a file that ask for the same: they must leave no
    traces."""
    clients: dict[str, Client] = {}

    def start(files: Any, capabilities: Any = None) -> Client:
        key = repr((files, capabilities))
        if key not in clients:
            folder = tmp_path_factory.mktemp("workspace")
            clients[key] = Client(write(folder, files), {}, capabilities or {})
        client = clients[key]
        client.asked.clear()
        return client

    yield start
    for each in clients.values():
        each.process.kill()
        each.process.wait()


@pytest.fixture
def describe(workspace: Any) -> Callable[..., Any]:
    """The report of a workspace of {path: text}, loaded in a process of its own."""

    def run(files: Any, *flags: str, **env: str) -> Any:
        folder = workspace(files) if isinstance(files, dict) else files
        done = subprocess.run(
            [
                *PROGRAM,
                "--describe",
                "--workspace",
                folder,
                *flags,
            ],
            capture_output=True,
            env={"PYTHONPATH": str(ROOT), **env},
            timeout=30,
        )
        if done.returncode == 2:
            raise ValueError(done.stderr.decode())
        return json.loads(done.stdout)

    return run
