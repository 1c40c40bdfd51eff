"""The context: logs to the client, and how far the call is."""

import asyncio

from fastmcp import Context


async def count(to: int, ctx: Context) -> str:
    """Counts, and reports each step."""
    await ctx.info(f"counting to {to}")
    for i in range(1, to + 1):
        await ctx.report_progress(i, to, f"{i} of {to}")
        await asyncio.sleep(0.02)  # the work
    return f"counted to {to}"


def whoami(ctx: Context) -> dict:
    """Says what a tool knows of its caller. A plain function can read the context's properties."""
    return {"request": ctx.request_id, "session": ctx.session_id, "client": ctx.client_id}
