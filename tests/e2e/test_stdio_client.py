"""`headgate stdio`: one client on stdin and stdout, in both eras."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import BIN, REPORTS, STOP_TIMEOUT, environment
from mcpclient import META, MODERN_VERSION
from mocks import LegacyServer, ModernServer
from wire import TIMEOUT, dump, poll

Mocks = Callable[..., Any]
JSONRPC = {"jsonrpc": "2.0"}


class StdioGateway:
    """The gateway as the child of this test."""

    def __init__(self, config: Any, folder: Path, *args: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "config.json"
        file.write_text(json.dumps(config))
        self.logs, self.seen = "", queue.Queue[Any]()
        self.kept: list[Any] = []
        self.process = subprocess.Popen(
            [str(BIN), "stdio", "--config", str(file), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=folder,
        )
        for read in (self._read_out, self._read_err):
            threading.Thread(target=read, daemon=True).start()
        self.ids = iter(range(1, 1 << 30))

    def _read_out(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.seen.put(json.loads(line))
        self.seen.put(None)

    def _read_err(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.logs += line.decode("utf-8", "replace")

    def write(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, message: Any) -> None:
        self.write(dump(message) + b"\n")

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The next message that is wanted; others on the way are kept."""
        while message := self.seen.get(timeout=TIMEOUT):
            if wanted(message):
                return message
            self.kept.append(message)
        raise AssertionError(f"the output ended:\n{self.logs[-4000:]}")

    def answer(self, id_: Any) -> Any:
        return self.until(
            lambda m: isinstance(m, dict) and m.get("id") == id_ and "method" not in m
        )

    def told(self, method: str) -> Any:
        return self.until(lambda m: isinstance(m, dict) and m.get("method") == method)

    def start(self, method: str, params: Any = None, *, modern: bool = False, **meta: Any) -> Any:
        id_, params = next(self.ids), dict(params or {})
        if modern:
            meta |= {
                f"{META}protocolVersion": MODERN_VERSION,
                f"{META}clientCapabilities": {},
            }
        if meta:
            params["_meta"] = meta
        self.send(JSONRPC | {"id": id_, "method": method, "params": params})
        return id_

    def ask(self, method: str, params: Any = None, **more: Any) -> Any:
        return self.answer(self.start(method, params, **more))

    def call(self, tool: str, arguments: Any = None, **more: Any) -> Any:
        return self.ask("tools/call", {"name": tool, "arguments": arguments or {}}, **more)

    def initialize(self, version: str = "2025-11-25", caps: Any = None) -> Any:
        info = {"name": "stdio-test", "version": "1"}
        params = {"protocolVersion": version, "capabilities": caps or {}, "clientInfo": info}
        out = self.ask("initialize", params)
        self.send(JSONRPC | {"method": "notifications/initialized"})
        return out["result"]

    def end(self) -> int:
        """Closes stdin and waits for the exit."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(STOP_TIMEOUT)


@pytest.fixture
def start_stdio(tmp_path: Path) -> Iterator[Callable[..., StdioGateway]]:
    made: list[StdioGateway] = []

    def start(config: Any, *args: str) -> StdioGateway:
        made.append(StdioGateway(config, tmp_path / f"stdio{len(made)}", *args))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.terminate()
        code = one.process.wait(STOP_TIMEOUT)
        assert code == 0 and not REPORTS.search(one.logs), one.logs[-8000:]


def text(answer: Any) -> str:
    assert "result" in answer, answer
    return answer["result"]["content"][0]["text"]


@pytest.fixture(params=[LegacyServer, ModernServer])
def server(request: pytest.FixtureRequest, mocks: Mocks) -> Any:
    return mocks(request.param())


@pytest.fixture
def io(start_stdio: Callable[..., StdioGateway], server: Any) -> StdioGateway:
    return start_stdio({"upstreams": {"up": {"url": server.url}}})


def test_a_legacy_client(io: StdioGateway) -> None:
    hello = io.initialize()
    assert hello["protocolVersion"] == "2025-11-25" and hello["serverInfo"]["name"] == "headgate"
    tools = [t["name"] for t in io.ask("tools/list")["result"]["tools"]]
    assert "up_echo" in tools
    assert text(io.call("up_echo", {"a": "é\n"})) == json.dumps({"a": "é\n"})
    assert text(io.call("up_progress", progressToken="t")) == "done"
    told = [m["params"] for m in io.kept if m.get("method") == "notifications/progress"]
    assert [(p["progressToken"], p["progress"]) for p in told] == [("t", n) for n in (1, 2, 3)]
    assert io.ask("ping")["result"] == {}
    assert io.ask("no/such")["error"]["code"] == -32601
    assert io.end() == 0


def test_a_modern_client(io: StdioGateway) -> None:
    found = io.ask("server/discover", modern=True)["result"]
    assert found["supportedVersions"] == [MODERN_VERSION]
    tools = io.ask("tools/list", modern=True)["result"]
    assert tools["resultType"] == "complete" and "up_echo" in [t["name"] for t in tools["tools"]]
    assert text(io.call("up_echo", {"a": 1}, modern=True)) == '{"a": 1}'
    assert text(io.call("up_progress", modern=True, progressToken=7)) == "done"
    told = [m["params"] for m in io.kept if m.get("method") == "notifications/progress"]
    assert [(p["progressToken"], p["progress"]) for p in told] == [(7, n) for n in (1, 2, 3)]
    assert io.end() == 0


def test_both_eras_on_one_pipe(io: StdioGateway) -> None:
    io.initialize()
    assert "resultType" not in io.call("up_echo")["result"]
    assert io.call("up_echo", modern=True)["result"]["resultType"] == "complete"
    assert "resultType" not in io.call("up_echo")["result"]


def test_before_initialize_a_legacy_client_may_only_ping(io: StdioGateway) -> None:
    assert io.ask("ping")["result"] == {}
    assert io.ask("tools/list")["error"]["code"] == -32600
    io.initialize()
    assert "result" in io.ask("tools/list")
    assert io.ask("initialize", {"protocolVersion": "2025-11-25"})["error"]["code"] == -32600


def test_an_unsupported_version_is_told_what_is_supported(io: StdioGateway) -> None:
    params = {"_meta": {f"{META}protocolVersion": "2027-01-01"}}
    io.send(JSONRPC | {"id": "v", "method": "tools/list", "params": params})
    error = io.answer("v")["error"]
    assert error["code"] == -32022 and error["data"]["supported"] == [MODERN_VERSION]


def test_what_is_no_message_is_answered_and_the_next_is_served(io: StdioGateway) -> None:
    for line in (b"nonsense", b"{}", b"[]", b'{"jsonrpc":"2.0","id":1'):
        io.write(line + b"\n")
        assert io.answer(None)["error"]["code"] in (-32700, -32600)
    io.write(b"\n\r\n")
    assert "result" in io.ask("server/discover", modern=True)


def test_a_message_that_is_too_large_is_refused(
    start_stdio: Callable[..., StdioGateway], server: Any
) -> None:
    config = {"upstreams": {"up": {"url": server.url}}, "maxBodyBytes": 100_000}
    io = start_stdio(config)
    io.write(b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 300_000 + b'"}\n')
    assert io.answer(None)["error"]["code"] == -32600
    assert "result" in io.ask("server/discover", modern=True)


def test_many_calls_at_once(io: StdioGateway) -> None:
    io.initialize()
    large = "x" * 200_000
    ids = [
        io.start("tools/call", {"name": "up_echo", "arguments": {"n": n, "x": large}})
        for n in range(100)
    ]
    left = set(ids)
    while left:
        message = io.until(lambda m: m.get("id") in left)
        assert json.loads(text(message))["n"] == ids.index(message["id"])
        left.discard(message["id"])


@pytest.mark.parametrize("modern", [False, True])
def test_cancelling(io: StdioGateway, server: Any, modern: bool) -> None:
    entered, cancelled = threading.Event(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        entered.set()
        await ctx.cancelled.wait()
        cancelled.set()
        return {"content": []}

    server.service.tool("held", held)
    io.initialize()
    id_ = io.start("tools/call", {"name": "up_held", "arguments": {}}, modern=modern)
    assert entered.wait(TIMEOUT)
    io.send(JSONRPC | {"method": "notifications/cancelled", "params": {"requestId": id_}})
    assert cancelled.wait(TIMEOUT)
    assert text(io.call("up_echo", modern=modern)) == "{}"
    assert not [m for m in io.kept if m.get("id") == id_]


def test_a_modern_client_hears_of_changes(io: StdioGateway, server: Any) -> None:
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["demo://one/a"]}
    id_ = io.start("subscriptions/listen", {"notifications": wanted}, modern=True)
    ack = io.told("notifications/subscriptions/acknowledged")
    assert ack["params"]["_meta"][f"{META}subscriptionId"] == id_
    server.service.tool("fresh")
    poll(lambda: server.notify("notifications/tools/list_changed"))
    changed = io.told("notifications/tools/list_changed")
    assert changed["params"]["_meta"][f"{META}subscriptionId"] == id_
    assert text(io.call("up_echo", modern=True)) == "{}"
    io.send(JSONRPC | {"method": "notifications/cancelled", "params": {"requestId": id_}})
    server.service.tool("fresher")
    server.notify("notifications/tools/list_changed")
    poll(lambda: "up_fresher" in json.dumps(io.ask("tools/list", modern=True)))
    assert not [m for m in io.kept if m.get("method") == "notifications/tools/list_changed"]


def test_a_listen_ends_with_its_result_when_stdin_ends(io: StdioGateway) -> None:
    id_ = io.start(
        "subscriptions/listen", {"notifications": {"toolsListChanged": True}}, modern=True
    )
    io.told("notifications/subscriptions/acknowledged")
    assert io.end() == 0
    assert io.answer(id_)["result"]["resultType"] == "complete"


def test_a_legacy_client_hears_of_changes(io: StdioGateway, server: Any) -> None:
    io.initialize()
    assert io.ask("resources/subscribe", {"uri": "demo://one/a"})["result"] == {}
    server.service.tool("fresh")
    poll(lambda: server.notify("notifications/tools/list_changed"))
    io.told("notifications/tools/list_changed")
    assert "up_fresh" in json.dumps(io.ask("tools/list"))


def test_a_server_asks_its_legacy_client(
    start_stdio: Callable[..., StdioGateway], mocks: Mocks
) -> None:
    server = mocks(LegacyServer())
    io = start_stdio({"upstreams": {"up": {"url": server.url}}})
    io.initialize(caps={"elicitation": {}})
    id_ = io.start("tools/call", {"name": "up_ask", "arguments": {"kinds": ["elicitation"]}})
    asked = io.told("elicitation/create")
    result = {"action": "accept", "content": {"which": "x"}}
    io.send(JSONRPC | {"id": asked["id"], "result": result})
    assert json.loads(text(io.answer(id_))) == [result]


def test_what_runs_is_answered_after_the_end_of_stdin(io: StdioGateway, server: Any) -> None:
    entered, go_on = threading.Event(), threading.Event()

    async def held(ctx: Any, arguments: Any) -> Any:
        entered.set()
        while not go_on.is_set():
            await asyncio.sleep(0.005)
        return {"content": [{"type": "text", "text": "late"}]}

    server.service.tool("held", held)
    io.initialize()
    id_ = io.start("tools/call", {"name": "up_held", "arguments": {}})
    assert entered.wait(TIMEOUT)
    assert io.process.stdin
    io.process.stdin.close()
    poll(lambda: "drain.begun" in io.logs)
    go_on.set()
    assert text(io.answer(id_)) == "late"
    assert io.process.wait(STOP_TIMEOUT) == 0


def test_the_last_line_needs_no_newline_and_a_file_is_no_pipe(server: Any, tmp_path: Path) -> None:
    config, asked = tmp_path / "config.json", tmp_path / "asked"
    config.write_text(json.dumps({"upstreams": {"up": {"url": server.url}}}))
    asked.write_text('\n{"jsonrpc":"2.0","id":1,"method":"ping"}')
    out = tmp_path / "out"
    with asked.open() as stdin, out.open("w") as stdout:
        done = subprocess.run(
            [str(BIN), "stdio", "--config", str(config)],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            timeout=60,
            check=False,
        )
    assert done.returncode == 0 and not REPORTS.search(done.stderr), done.stderr
    assert json.loads(out.read_text()) == JSONRPC | {"id": 1, "result": {}}


def test_a_client_that_reads_no_more_ends_it(server: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"upstreams": {"up": {"url": server.url}}}))
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [str(BIN), "stdio", "--config", str(config)],
        stdin=subprocess.PIPE,
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    os.close(writing)
    os.close(reading)
    assert process.stdin and process.stderr
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(dump(JSONRPC | {"id": 1, "method": "ping"}) + b"\n")
        process.stdin.flush()
    assert process.wait(STOP_TIMEOUT) == 0
    assert not REPORTS.search(process.stderr.read().decode())


def test_it_listens_only_when_asked(start_stdio: Callable[..., StdioGateway], server: Any) -> None:
    config = {"upstreams": {"up": {"url": server.url}}, "listen": "127.0.0.1:0"}
    for args, count in (((), 0), (("--listen=127.0.0.1:0",), 1)):
        io = start_stdio(config, *args)
        io.initialize()
        assert len(listening(io.process.pid)) == count


def listening(pid: int) -> list[str]:
    """Inodes of the TCP sockets on which a process listens."""
    owned = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        link = str(fd.readlink()) if fd.is_symlink() else ""
        owned |= {link[8:-1]} if link.startswith("socket:[") else set()
    rows = [r.split() for r in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return [r[9] for r in rows if r[3] == "0A" and r[9] in owned]


def test_it_aggregates_what_other_clients_have_configured(
    start_stdio: Callable[..., StdioGateway], server: Any, stdio: Callable[..., Any]
) -> None:
    mounts = {"Files Here": stdio("io").mount(), "web": {"type": "http", "url": server.url}}
    io = start_stdio({"mcpServers": mounts, "globalShortcut": "Ctrl+Space"})
    io.initialize()
    tools = [t["name"] for t in io.ask("tools/list")["result"]["tools"]]
    assert {"files-here_echo", "web_echo"} <= set(tools)
    assert text(io.call("files-here_echo", {"a": 1})) == '{"a": 1}'
