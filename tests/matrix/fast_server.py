"""A server of PyPI's fastmcp over HTTP, on the port given. It serves both eras."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import mcp_types
from fastmcp import Context, FastMCP

mcp = FastMCP("matrix-fast")
state = {"cancelled": False, "tools": 0}


@dataclass
class Person:
    name: str


@mcp.tool
async def echo(message: str) -> str:
    return f"echo: {message}"


@mcp.tool
async def steps(steps: int, ctx: Context) -> str:
    for n in range(1, steps + 1):
        await ctx.report_progress(n, steps)
        await asyncio.sleep(0.03)
    return "done"


@mcp.tool
async def hold() -> str:
    try:
        await asyncio.sleep(20)
    except BaseException:
        state["cancelled"] = True
        raise
    return "held"


@mcp.tool
async def was_cancelled() -> str:
    was, state["cancelled"] = state["cancelled"], False
    return str(was).lower()


@mcp.tool
async def ask(ctx: Context) -> str:
    answer = await ctx.elicit("Who?", response_type=Person)
    return f"hello {answer.data.name}" if answer.action == "accept" else answer.action


@mcp.tool
async def touch(ctx: Context) -> str:
    state["tools"] += 1

    async def fresh() -> str:
        return "fresh"

    mcp.tool(fresh, name=f"fresh_{state['tools']}")
    await ctx.send_notification(mcp_types.ToolListChangedNotification())
    return "touched"


mcp.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), path="/mcp", show_banner=False)
