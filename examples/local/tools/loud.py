"""A file can import its siblings and, for what only it provides, read resources of the
workspace."""

from fastmcp import Context
from helpers import shout


async def read_aloud(uri: str, ctx: Context) -> str:
    """Reads a resource of this workspace, loudly."""
    found = await ctx.read_resource(uri)
    return shout(str(found).strip())
