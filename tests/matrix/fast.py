"""PyPI's fastmcp: its client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from features import CONTENT, PLAN, TARGET, Connected, Peer, run, said


async def elicited(message: str, response_type: Any, params: Any, context: Any) -> Any:
    return CONTENT


async def sampled(messages: Any, params: Any, context: Any) -> str:
    return "sampled by the client"


class Fast(Peer):
    client: Client[Any]

    async def hear(self, message: Any) -> None:
        inner = getattr(message, "root", message)
        if method := getattr(inner, "method", None):
            self.changes.append(method)

    async def tools(self) -> list[str]:
        return [t.name for t in await self.client.list_tools()]

    async def call(self, name: str, args: Any, on_progress: Any = None) -> tuple[bool, str]:
        result = await self.client.call_tool(
            name, args, progress_handler=on_progress, raise_on_error=False
        )
        return bool(result.is_error), said(result)

    async def subscribe(self, wanted: dict[str, Any]) -> None:
        if "uri" in wanted:
            await self.client.session.subscribe_resource(wanted["uri"])


@asynccontextmanager
async def connect() -> Connected:
    peer = Fast()
    transports: dict[str, Any] = {
        "stdio": lambda: StdioTransport(TARGET["command"], TARGET["args"]),
        "sse": lambda: SSETransport(TARGET["url"]),
        "http": lambda: StreamableHttpTransport(TARGET["url"]),
    }
    client: Client[Any] = Client(
        transports[TARGET["transport"]](),
        mode=PLAN.get("mode", "auto"),
        elicitation_handler=elicited,
        sampling_handler=sampled,
        message_handler=peer.hear,
        roots=[],
    )
    async with client as peer.client:
        yield peer


run(connect)
