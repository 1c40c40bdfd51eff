"""PyPI's mcp 2.x: both eras."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import mcp_types as types
from features import CONTENT, PLAN, TARGET, Connected, Peer, run, said
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client


async def elicited(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=CONTENT)


async def sampled(context: Any, params: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="sampled by the client")
    return types.CreateMessageResult(role="assistant", content=content, model="matrix")


async def rooted(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[])


METHODS = {
    "ToolListChangedNotification": "notifications/tools/list_changed",
    "ResourceUpdatedNotification": "notifications/resources/updated",
    "ToolsListChanged": "notifications/tools/list_changed",
    "ResourceUpdated": "notifications/resources/updated",
}


class Mcp2(Peer):
    client: Client
    stack: AsyncExitStack

    async def hear(self, message: Any) -> None:
        inner = getattr(message, "root", message)
        method = getattr(inner, "method", None) or METHODS.get(type(inner).__name__)
        if method:
            self.changes.append(method)

    async def tools(self) -> list[str]:
        return [t.name for t in (await self.client.list_tools()).tools]

    async def call(self, name: str, args: Any, on_progress: Any = None) -> tuple[bool, str]:
        result = await self.client.call_tool(name, args, progress_callback=on_progress)
        return bool(result.is_error), said(result)

    async def subscribe(self, wanted: dict[str, Any]) -> None:
        if self.client.protocol_version < "2026":
            if "uri" in wanted:
                await self.client.subscribe_resource(wanted["uri"])
            return
        asked = (
            {"resource_subscriptions": [wanted["uri"]]}
            if "uri" in wanted
            else {"tools_list_changed": True}
        )
        events = await self.stack.enter_async_context(self.client.listen(**asked))
        self.reader = asyncio.ensure_future(self._read(events))

    async def _read(self, events: Any) -> None:
        async for event in events:
            await self.hear(event)


@asynccontextmanager
async def connect() -> Connected:
    peer = Mcp2()
    server: Any = TARGET.get("url")
    if TARGET["transport"] == "stdio":
        params = StdioServerParameters(command=TARGET["command"], args=TARGET["args"])
        server = stdio_client(params)
    elif TARGET["transport"] == "sse":
        server = sse_client(TARGET["url"])
    async with AsyncExitStack() as peer.stack:
        client = Client(
            server,
            mode=PLAN.get("mode", "auto"),
            elicitation_callback=elicited,
            sampling_callback=sampled,
            list_roots_callback=rooted,
            message_handler=peer.hear,
        )
        peer.client = await peer.stack.enter_async_context(client)
        yield peer


run(connect)
