"""Sampling: asks the client's model."""

from fastmcp import Context


async def summarize(text: str, ctx: Context) -> str:
    """Has the client's model summarize a text."""
    answer = await ctx.sample(f"Summarize in one sentence:\n\n{text}", max_tokens=200)
    return answer.text or ""
