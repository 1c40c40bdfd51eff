"""The test doubles against each other: a test suite that cannot fail proves nothing."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcpclient import LEGACY_VERSIONS, Legacy, Modern
from mockcore import ASKS
from mockhttp import Gate
from mocks import LegacyServer, ModernServer
from wire import EventParser, Raw, dump, poll, span


def test_raw_parts_keep_their_bytes() -> None:
    raw = Raw(b'{"a": 1.0, "b":[1e400 ,  12345678901234567890123456789012]}')
    out = dump({"x": [raw], "y": "\\u0001"})
    assert raw in out and span(out, "x", 0) == raw and span(out, "x", 0, "a") == b"1.0"
    assert span(out, "x", 0, "b", 1) == b"12345678901234567890123456789012"
    assert span(out, "nothing") is None


def test_event_parser_takes_any_line_end_and_split() -> None:
    text = b": hi\r\nevent: message\r\ndata: {\r\ndata: }\r\n\r\nid: 7\ndata:\n\ndata:x\n\n"
    for at in range(len(text)):
        parser = EventParser()
        events = parser.feed(text[:at]) + parser.feed(text[at:])
        assert [e.data for e in events] == [b"{\n}", b"", b"x"] and events[1].id == "7"


@pytest.mark.parametrize("version", LEGACY_VERSIONS)
def test_legacy_client_and_server(legacy_up: LegacyServer, version: str) -> None:
    client = Legacy(legacy_up.url, version=version)
    assert client.version == version
    assert [t["name"] for t in client.all("tools")][:2] == ["echo", "structured"]
    reply = client.call("progress", token="t")
    assert [p["progress"] for p in reply.sent("notifications/progress")] == [1, 2, 3]
    assert client.delete().status == 200
    assert client.request("ping").status == 404


def test_legacy_server_asks(legacy_up: LegacyServer) -> None:
    client = Legacy(legacy_up.url, answer=lambda method, params: {"told": method})
    reply = client.call("ask", {"kinds": list(ASKS)})
    assert [t["told"] for t in json.loads(reply.text)] == [m for m, _ in ASKS.values()]


def test_legacy_notifications_come_on_the_get_stream(legacy_up: LegacyServer) -> None:
    client = Legacy(legacy_up.url)
    stream = client.listen()
    poll(lambda: legacy_up.notify("notifications/tools/list_changed"))
    assert stream.until("notifications/tools/list_changed")


def test_modern_client_and_server(modern_up: ModernServer) -> None:
    client = Modern(modern_up.url, keep=True)
    assert client.request("server/discover").result["supportedVersions"] == ["2026-07-28"]
    assert client.call("echo", {"a": 1}).text == '{"a": 1}'
    reply = client.call("progress", token=7)
    assert [p["progressToken"] for p in reply.sent("notifications/progress")] == [7, 7, 7]
    assert reply.order[-1] == "answer"
    first = client.call("ask").result
    assert first["resultType"] == "input_required"
    more = {"inputResponses": {"q": {"which": "x"}}, "requestState": first["requestState"]}
    assert json.loads(client.call("ask", params=more).text) == [{"which": "x"}]


def test_modern_listen(modern_up: ModernServer) -> None:
    client = Modern(modern_up.url)
    stream = client.listen({"toolsListChanged": True}, id_="mine")
    assert stream.next().json()["method"] == "notifications/subscriptions/acknowledged"
    poll(lambda: modern_up.notify("notifications/tools/list_changed"))
    note = stream.until("notifications/tools/list_changed")
    assert note["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "mine"}
    stream.close()


def test_modern_server_notes_breaches(mocks: Callable[..., Any]) -> None:
    server = mocks(ModernServer())
    server.lenient = True
    client = Modern(server.url)
    assert client.call("echo", headers={"Mcp-Name": "other"}).code == -32020
    assert client.request("ping").status == 404
    assert len(server.violations) == 2


def test_pages_and_gates(legacy_up: LegacyServer) -> None:
    legacy_up.service.page_size = 3
    legacy_up.service.empty_cursor = True
    gate = Gate()

    async def held(ctx: Any, arguments: Any) -> Any:
        await gate.wait()
        return {"content": []}

    legacy_up.service.tool("held", held)
    client = Legacy(legacy_up.url)
    assert [t["name"] for t in client.all("tools")][-1] == "held"
    pending = client.open("tools/call", {"name": "held"})
    assert gate.entered.wait(10)
    threading.Thread(target=gate.open).start()
    assert pending.finish().result == {"content": []}


class Piped:
    """A client of stdio_server.py."""

    def __init__(self, mount: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [mount["command"], *mount["args"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def send(self, **message: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(dump({"jsonrpc": "2.0"} | message) + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def close(self) -> int:
        self.process.communicate(timeout=20)
        return self.process.returncode


def test_legacy_server_on_pipes(stdio: Callable[..., Any]) -> None:
    mock = stdio("io", "legacy")
    pipe = Piped(mock.mount())
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}}
    pipe.send(id=0, method="initialize", params=hello)
    assert pipe.read()["result"]["protocolVersion"] == "2025-06-18"
    pipe.send(method="notifications/initialized")
    pipe.send(id=1, method="tools/call", params={"name": "ask"})
    asked = pipe.read()
    assert asked["method"] == "elicitation/create"
    pipe.send(id=asked["id"], result={"action": "cancel"})
    assert json.loads(pipe.read()["result"]["content"][0]["text"]) == [{"action": "cancel"}]
    pipe.send(id=2, method="tools/call", params={"name": "touch_lists", "arguments": {"tool": "n"}})
    assert pipe.read()["method"] == "notifications/tools/list_changed"
    assert pipe.close() == 0 and mock.messages("tools/call") and len(mock.pids()) == 1


def test_modern_server_on_pipes(stdio: Callable[..., Any], tmp_path: Path) -> None:
    pipe = Piped(stdio("io", "modern").mount())
    meta = Modern("http://127.0.0.1:1").meta()
    pipe.send(id=0, method="server/discover", params={"_meta": meta})
    assert pipe.read()["result"]["supportedVersions"] == ["2026-07-28"]
    wanted = {"_meta": meta, "notifications": {"toolsListChanged": True}}
    pipe.send(id="L", method="subscriptions/listen", params=wanted)
    assert pipe.read()["method"] == "notifications/subscriptions/acknowledged"
    flag = tmp_path / "flag"
    held = {"name": "hold", "arguments": {"path": str(flag)}, "_meta": meta}
    pipe.send(id=5, method="tools/call", params=held)
    poll(lambda: Path(f"{flag}.in").exists())
    pipe.send(method="notifications/cancelled", params={"requestId": 5})
    poll(lambda: Path(f"{flag}.cancelled").exists())
    touch = {"name": "touch_lists", "arguments": {"tool": "n"}, "_meta": meta}
    pipe.send(id=6, method="tools/call", params=touch)
    tag = pipe.read()["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"]
    assert tag == "L" and pipe.read()["result"]["resultType"] == "complete"
    assert pipe.close() == 0
