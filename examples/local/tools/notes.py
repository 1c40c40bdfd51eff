"""Session state: kept between the calls of one client, on whichever worker or replica they run."""

from fastmcp import Context


async def note(text: str, ctx: Context) -> int:
    """Keeps a note for this session and says how many there are."""
    notes = await ctx.get_state("notes") or []
    await ctx.set_state("notes", [*notes, text])
    return len(notes) + 1


async def notes(ctx: Context) -> list[str]:
    """The session's notes."""
    return await ctx.get_state("notes") or []


async def forget(ctx: Context) -> str:
    """Drops the session's notes."""
    await ctx.delete_state("notes")
    return "forgotten"
