"""A mock MCP server on stdin and stdout, of either era; its arguments say what it is. Records every
line it reads, and every breach of the protocol as a line that begins with "!"."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from typing import Any

from mockcore import Context, InputRequired, RpcError, demo, text
from wire import dump

META = "io.modelcontextprotocol/"
MODERN = "2026-07-28"
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
JSONRPC = {"jsonrpc": "2.0"}


class Pipe:
    """The server: one per process."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.era = options, options.era
        self.service = demo(options.name)
        self.version = ""
        self.ready = self.spoilt = False
        self.level: str | None = None
        self.subscribed: set[str] = set()
        self.asked: dict[int, asyncio.Future[Any]] = {}
        self.running: dict[str, Context] = {}
        self.listens: dict[str, Any] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self._tools()

    def _tools(self) -> None:
        add = self.service.tool
        add("pid", self._pid)
        add("exit", self._exit)
        add("garbage", self._garbage)
        add("stderr", self._stderr)
        add("spawn", self._spawn)
        add("env", self._env)
        add("hold", self._hold)
        add("touch_lists", self._touch_lists)
        add("update", self._update)

    async def _pid(self, ctx: Context, arguments: Any) -> Any:
        return text(str(os.getpid()))

    async def _exit(self, ctx: Context, arguments: Any) -> Any:
        os._exit(int((arguments or {}).get("code", 3)))

    async def _garbage(self, ctx: Context, arguments: Any) -> Any:
        self.write((arguments or {}).get("line", "this is not JSON").encode())
        return text("after garbage")

    async def _stderr(self, ctx: Context, arguments: Any) -> Any:
        print(arguments["line"], file=sys.stderr, flush=True)
        return text("said")

    async def _spawn(self, ctx: Context, arguments: Any) -> Any:
        """A grandchild that outlives its parent unless somebody ends it."""
        child = subprocess.Popen(
            ["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        return text(str(child.pid))

    async def _env(self, ctx: Context, arguments: Any) -> Any:
        return text(json.dumps({"env": dict(os.environ), "cwd": os.getcwd()}))

    async def _hold(self, ctx: Context, arguments: Any) -> Any:
        """Waits until the file is there, or until it is cancelled."""
        path = arguments["path"]
        with open(path + ".in", "w"):
            pass
        while not os.path.exists(path):
            if ctx.cancelled.is_set():
                with open(path + ".cancelled", "w"):
                    pass
                await asyncio.sleep(3600)
            await asyncio.sleep(0.005)
        return text("let go")

    async def _touch_lists(self, ctx: Context, arguments: Any) -> Any:
        self.service.tool(arguments["tool"], _new_tool)
        self.tell("notifications/tools/list_changed", {})
        return text("changed")

    async def _update(self, ctx: Context, arguments: Any) -> Any:
        self.tell("notifications/resources/updated", {"uri": arguments["uri"]})
        return text("updated")

    def tell(self, method: str, params: dict[str, Any]) -> None:
        if self.era == "legacy":
            if "uri" not in params or params["uri"] in self.subscribed:
                self.send(JSONRPC | {"method": method, "params": params})
            return
        for id_, wanted in self.listens.values():
            kind = method.split("/")[1] + "ListChanged"
            if wanted.get(kind) or params.get("uri") in wanted.get("resourceSubscriptions", []):
                tagged = params | {"_meta": {f"{META}subscriptionId": id_}}
                self.send(JSONRPC | {"method": method, "params": tagged})

    def write(self, line: bytes) -> None:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    def send(self, message: Any) -> None:
        self.write(dump(message))

    def record(self, line: str) -> None:
        with open(self.options.record, "a") as f:
            f.write(line.rstrip("\n") + "\n")

    async def run(self) -> None:
        self.record(f"# pid {os.getpid()}")
        reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await reader.readline():
            self.record(line.decode())
            self.take(json.loads(line))
        self.record(f"# end {os.getpid()}")

    def take(self, message: dict[str, Any]) -> None:
        if message.get("jsonrpc") != "2.0":
            self.record(f"! not JSON-RPC: {message}")
        method = message.get("method")
        if method is None:
            self._answered(message)
        elif "id" not in message:
            self._told(message)
        else:
            task = asyncio.ensure_future(self._request(message))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _answered(self, message: dict[str, Any]) -> None:
        future = self.asked.pop(message["id"], None)
        if future is None or self.era == "modern":
            self.record(f"! an answer to nothing: {message}")
        elif "error" in message:
            future.set_exception(RpcError(message["error"]["code"], message["error"]["message"]))
        else:
            future.set_result(message["result"])

    def _told(self, message: dict[str, Any]) -> None:
        if message["method"] == "notifications/initialized":
            self.ready = True
        elif message["method"] == "notifications/cancelled":
            key = json.dumps(message["params"].get("requestId"))
            self.listens.pop(key, None)
            if key in self.running:
                self.running[key].cancelled.set()

    async def _request(self, message: dict[str, Any]) -> None:
        method, key = message["method"], json.dumps(message["id"])
        params = message.get("params") or {}
        ctx = Context(self.era, method, params, self._emit, self._ask, self)
        self.running[key] = ctx
        try:
            result = await self._serve(ctx, message)
            if result is not None and not ctx.cancelled.is_set():
                self.send(JSONRPC | {"id": message["id"], "result": self._shape(method, result)})
        except RpcError as e:
            self.send(JSONRPC | {"id": message["id"], "error": e.body()})
        finally:
            self.running.pop(key, None)

    async def _serve(self, ctx: Context, message: dict[str, Any]) -> Any:
        serve = self._legacy if self.era == "legacy" else self._modern
        own = serve(ctx, message)
        return await self.service.serve(ctx) if own is False else own

    def _legacy(self, ctx: Context, message: dict[str, Any]) -> Any:
        """The session's own methods; False: it is one of the service's."""
        method, params = ctx.method, ctx.params
        if method == "initialize" and self.spoilt:
            os._exit(1)
        if method == "initialize":
            asked = params["protocolVersion"]
            self.version = asked if asked in LEGACY else LEGACY[-1]
            return {
                "protocolVersion": self.version,
                "capabilities": self.service.capabilities,
                "serverInfo": {"name": self.options.name, "version": "1"},
            }
        if method == "server/discover":
            if self.options.exit_on_probe:
                os._exit(1)
            if self.options.hang_on_probe:
                time.sleep(3600)
            self.spoilt = self.options.spoilt_by_probe
            raise RpcError(-32601, "Method not found")
        if not self.ready:
            self.record(f"! {method} before initialized")
        if method == "logging/setLevel":
            self.level = params["level"]
        elif method == "resources/subscribe":
            self.subscribed.add(params["uri"])
        elif method == "resources/unsubscribe":
            self.subscribed.discard(params["uri"])
        elif method != "ping":
            return False
        self.service.seen.append((method, params))
        return {}

    def _modern(self, ctx: Context, message: dict[str, Any]) -> Any:
        meta = ctx.meta
        if meta.get(f"{META}protocolVersion") != MODERN or f"{META}clientCapabilities" not in meta:
            self.record(f"! modern _meta is missing: {message}")
        if ctx.method == "server/discover":
            return {"supportedVersions": [MODERN], "capabilities": self.service.capabilities}
        if ctx.method == "subscriptions/listen":
            wanted = ctx.params.get("notifications") or {}
            self.listens[json.dumps(message["id"])] = (message["id"], wanted)
            tagged = {"notifications": wanted, "_meta": {f"{META}subscriptionId": message["id"]}}
            method = "notifications/subscriptions/acknowledged"
            self.send(JSONRPC | {"method": method, "params": tagged})
            return None
        if ctx.method in ("initialize", "ping", "logging/setLevel", "resources/subscribe"):
            self.record(f"! {ctx.method} to a modern server")
        return False

    def _shape(self, method: str, result: Any) -> Any:
        if self.era == "legacy":
            return result
        if isinstance(result, InputRequired):
            out = {"resultType": "input_required", "inputRequests": result.requests}
            return out | ({"requestState": result.state} if result.state is not None else {})
        cache = {} if method == "tools/call" else {"ttlMs": 0, "cacheScope": "private"}
        info = {f"{META}serverInfo": {"name": self.options.name, "version": "1"}}
        return {"resultType": "complete"} | cache | result | {"_meta": info}

    async def _emit(self, note: dict[str, Any]) -> None:
        self.send(note)

    async def _ask(self, method: str, params: Any = None, **more: Any) -> Any:
        id_ = len(self.asked)
        while id_ in self.asked:
            id_ += 1
        self.asked[id_] = asyncio.get_running_loop().create_future()
        self.send(JSONRPC | {"id": id_, "method": method, "params": params or {}})
        return await self.asked[id_]


async def _new_tool(ctx: Context, arguments: Any) -> Any:
    return text("new")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", choices=("legacy", "modern"), default="legacy")
    parser.add_argument("--name", default="stdio")
    parser.add_argument("--record", required=True)
    for does in ("--exit-on-probe", "--hang-on-probe", "--spoilt-by-probe"):
        parser.add_argument(does, action="store_true")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Pipe(parser.parse_args()).run())


if __name__ == "__main__":
    main()
