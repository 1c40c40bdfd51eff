"""What a mock MCP server serves, whatever its era and transport: lists, and tools in Python."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
LIST_KEYS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}


class RpcError(Exception):
    """A JSON-RPC error that a handler answers with."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.data = code, data

    def body(self) -> dict[str, Any]:
        out = {"code": self.code, "message": str(self)}
        return out | ({"data": self.data} if self.data is not None else {})


@dataclass
class InputRequired:
    """What a modern handler returns to ask the client."""

    requests: dict[str, Any]
    state: str | None = None


@dataclass
class Context:
    """One request being served."""

    era: str
    method: str
    params: dict[str, Any]
    emit: Callable[[dict[str, Any]], Awaitable[None]]
    ask_client: Callable[..., Awaitable[Any]] | None = None
    session: Any = None
    raw: bytes = b""  # the request as it came
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def meta(self) -> dict[str, Any]:
        return self.params.get("_meta") or {}

    @property
    def responses(self) -> dict[str, Any] | None:
        return self.params.get("inputResponses")

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        await self.emit({"jsonrpc": "2.0", "method": method, "params": params})

    async def progress(self, value: float, total: float | None = None, message: str = "") -> None:
        if "progressToken" not in self.meta:
            return
        params: dict[str, Any] = {"progressToken": self.meta["progressToken"], "progress": value}
        params |= {"total": total} if total is not None else {}
        params |= {"message": message} if message else {}
        await self.notify("notifications/progress", params)

    async def log(self, level: str, data: Any) -> None:
        """Says it only to those who asked for that level."""
        wanted = self.meta.get("io.modelcontextprotocol/logLevel")
        if self.era == "legacy":
            wanted = getattr(self.session, "level", None) or "info"
        if wanted and LEVELS.index(level) >= LEVELS.index(wanted):
            await self.notify("notifications/message", {"level": level, "data": data})

    async def ask(self, method: str, params: dict[str, Any] | None = None, **more: Any) -> Any:
        """Asks the client during the call (legacy)."""
        assert self.ask_client
        return await self.ask_client(method, params, **more)


Handler = Callable[[Context, Any], Awaitable[Any]]


def text(value: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}]}


class Service:
    """Lists and handlers; one can stand behind servers of either era."""

    def __init__(self, name: str = "mock", *, page_size: int = 0) -> None:
        self.name, self.page_size = name, page_size
        self.lists: dict[str, list[Any]] = {key: [] for key in LIST_KEYS.values()}
        self.handlers: dict[str, Handler] = {}
        self.override: dict[str, Handler] = {}  # a method served in another way
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.empty_cursor = False  # the second page's cursor is ""
        self.cursor_loop = False  # the last page's cursor leads to itself
        self.capabilities: dict[str, Any] = {
            "tools": {"listChanged": True},
            "prompts": {"listChanged": True},
            "resources": {"listChanged": True, "subscribe": True},
            "completions": {},
            "logging": {},
        }
        self.instructions = ""

    def tool(self, name: str, handler: Handler | None = None, **fields: Any) -> None:
        entry = {"name": name, "description": f"{name} of {self.name}"}
        self.lists["tools"].append(entry | {"inputSchema": {"type": "object"}} | fields)
        if handler:
            self.handlers[name] = handler

    def prompt(self, name: str, **fields: Any) -> None:
        self.lists["prompts"].append({"name": name} | fields)

    def resource(self, uri: str, body: str = "", **fields: Any) -> None:
        self.lists["resources"].append({"uri": uri, "name": uri.rsplit("/", 1)[-1]} | fields)
        self._bodies()[uri] = body or f"{uri} of {self.name}"

    def _bodies(self) -> dict[str, str]:
        return self.__dict__.setdefault("bodies", {})

    def template(self, uri: str, **fields: Any) -> None:
        self.lists["resourceTemplates"].append({"uriTemplate": uri, "name": "template"} | fields)

    def calls(self, method: str = "tools/call") -> list[dict[str, Any]]:
        return [params for seen, params in self.seen if seen == method]

    async def serve(self, ctx: Context) -> Any:
        """The result of a request, without what the era adds to it."""
        self.seen.append((ctx.method, ctx.params))
        if ctx.method in self.override:
            return await self.override[ctx.method](ctx, ctx.params)
        if ctx.method in LIST_KEYS:
            return self._page(LIST_KEYS[ctx.method], ctx.params.get("cursor"))
        serve = {
            "tools/call": self._call,
            "prompts/get": self._prompt,
            "resources/read": self._read,
            "completion/complete": self._complete,
        }.get(ctx.method)
        if serve is None:
            raise RpcError(-32601, f"Method not found: {ctx.method}")
        return await serve(ctx)

    def _cursor(self, page: int) -> str:
        return "" if self.empty_cursor and page == 1 else f"page-{page}"

    def _page(self, key: str, cursor: str | None) -> dict[str, Any]:
        entries = self.lists[key]
        size = self.page_size or len(entries) or 1
        pages = max(1, -(-len(entries) // size))
        known = {self._cursor(n): n for n in range(1, pages)}
        if cursor is not None and cursor not in known:
            raise RpcError(-32602, "Invalid cursor")
        page = 0 if cursor is None else known[cursor]
        out: dict[str, Any] = {key: entries[page * size : (page + 1) * size]}
        if page + 1 < pages:
            out["nextCursor"] = self._cursor(page + 1)
        elif self.cursor_loop and pages > 1:
            out["nextCursor"] = self._cursor(pages - 1)
        return out

    async def _call(self, ctx: Context) -> Any:
        name = ctx.params.get("name", "")
        if name not in self.handlers:
            raise RpcError(-32602, f"Unknown tool: {name}")
        return await self.handlers[name](ctx, ctx.params.get("arguments"))

    async def _prompt(self, ctx: Context) -> Any:
        name = ctx.params.get("name")
        if name not in [p["name"] for p in self.lists["prompts"]]:
            raise RpcError(-32602, f"Unknown prompt: {name}")
        said = json.dumps(ctx.params.get("arguments") or {}, sort_keys=True)
        content = {"type": "text", "text": f"{name} of {self.name} with {said}"}
        return {"messages": [{"role": "user", "content": content}]}

    async def _read(self, ctx: Context) -> Any:
        uri = ctx.params.get("uri", "")
        body = self._bodies().get(uri)
        if body is None and uri.startswith("demo://items/"):
            body = f"item {uri.removeprefix('demo://items/')} of {self.name}"
        if body is None:
            code = -32002 if ctx.era == "legacy" else -32602
            raise RpcError(code, "Resource not found", {"uri": uri})
        return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": body}]}

    async def _complete(self, ctx: Context) -> Any:
        typed = ctx.params["argument"]["value"]
        values = [v for v in ("alpha", "alpine", "beta") if v.startswith(typed)]
        return {"completion": {"values": values, "total": len(values), "hasMore": False}}


ASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "elicitation": (
        "elicitation/create",
        {
            "message": "Which one?",
            "requestedSchema": {"type": "object", "properties": {"which": {"type": "string"}}},
        },
    ),
    "sampling": (
        "sampling/createMessage",
        {
            "messages": [{"role": "user", "content": {"type": "text", "text": "Say it"}}],
            "maxTokens": 10,
        },
    ),
    "roots": ("roots/list", {}),
}


async def _echo(ctx: Context, arguments: Any) -> Any:
    return text(json.dumps(arguments, sort_keys=True))


async def _structured(ctx: Context, arguments: Any) -> Any:
    return text(json.dumps(arguments)) | {"structuredContent": {"got": arguments}}


async def _fail(ctx: Context, arguments: Any) -> Any:
    return text("it did not work") | {"isError": True}


async def _rpc_error(ctx: Context, arguments: Any) -> Any:
    raise RpcError(1234, "own error", {"detail": [1, 2]})


async def _progress(ctx: Context, arguments: Any) -> Any:
    for step in (1, 2, 3):
        await ctx.progress(step, 3, f"step {step}")
    return text("done")


async def _logs(ctx: Context, arguments: Any) -> Any:
    for level in ("debug", "info", "error"):
        await ctx.log(level, f"a line of {level}")
    return text("logged")


async def _ask(ctx: Context, arguments: Any) -> Any:
    """Asks for each of the kinds named, one round after another, and tells what it was told."""
    kinds = (arguments or {}).get("kinds") or ["elicitation"]
    if ctx.era == "legacy":
        told = [await ctx.ask(*ASKS[kind]) for kind in kinds]
        return text(json.dumps(told, sort_keys=True))
    state = json.loads(ctx.params.get("requestState") or "[]")
    if ctx.responses is not None:
        state.append(ctx.responses["q"])
    if len(state) < len(kinds):
        method, params = ASKS[kinds[len(state)]]
        return InputRequired({"q": {"method": method, "params": params}}, json.dumps(state))
    return text(json.dumps(state, sort_keys=True))


async def _links(ctx: Context, arguments: Any) -> Any:
    uri = "demo://one/a"
    embedded = {"type": "resource", "resource": {"uri": uri, "text": "here"}}
    return {"content": [{"type": "resource_link", "uri": uri, "name": "a"}, embedded]}


def demo(name: str = "mock", **more: Any) -> Service:
    """A service with one of everything."""
    service = Service(name, **more)
    service.tool("echo", _echo, title="Echo")
    service.tool("structured", _structured)
    service.tool("fail", _fail)
    service.tool("rpc_error", _rpc_error)
    service.tool("progress", _progress)
    service.tool("logs", _logs)
    service.tool("ask", _ask)
    service.tool("links", _links)
    service.prompt("greet", arguments=[{"name": "who", "required": False}])
    service.resource("demo://one/a")
    service.resource("demo://one/b")
    service.template("demo://items/{id}")
    return service
