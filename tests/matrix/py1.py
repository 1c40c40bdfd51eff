"""PyPI's mcp 1.x: the handshake era."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from features import CONTENT, TARGET, Connected, Peer, run, said
from mcp import ClientSession, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


async def elicited(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=CONTENT)


async def sampled(context: Any, params: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="sampled by the client")
    return types.CreateMessageResult(role="assistant", content=content, model="matrix")


async def rooted(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[])


class Mcp1(Peer):
    session: ClientSession

    async def hear(self, message: Any) -> None:
        if isinstance(message, types.ServerNotification):
            self.changes.append(message.root.method)

    async def tools(self) -> list[str]:
        return [t.name for t in (await self.session.list_tools()).tools]

    async def call(self, name: str, args: Any, on_progress: Any = None) -> tuple[bool, str]:
        result = await self.session.call_tool(name, args, progress_callback=on_progress)
        return bool(result.isError), said(result)

    async def subscribe(self, wanted: dict[str, Any]) -> None:
        if "uri" in wanted:
            await self.session.subscribe_resource(wanted["uri"])


@asynccontextmanager
async def connect() -> Connected:
    peer = Mcp1()
    async with AsyncExitStack() as stack:
        if TARGET["transport"] == "stdio":
            params = StdioServerParameters(command=TARGET["command"], args=TARGET["args"])
            streams = await stack.enter_async_context(stdio_client(params))
        elif TARGET["transport"] == "sse":
            streams = await stack.enter_async_context(sse_client(TARGET["url"]))
        else:
            streams = await stack.enter_async_context(streamablehttp_client(TARGET["url"]))
        session = ClientSession(
            streams[0],
            streams[1],
            sampling_callback=sampled,
            elicitation_callback=elicited,
            list_roots_callback=rooted,
            message_handler=peer.hear,
        )
        peer.session = await stack.enter_async_context(session)
        await peer.session.initialize()
        yield peer


run(connect)
