"""Elicitation: asks the user, with a form made from a type."""

from dataclasses import dataclass
from typing import Literal

from fastmcp import Context


@dataclass
class Booking:
    guests: int
    room: Literal["single", "double"] = "double"
    breakfast: bool = False


async def book(city: str, ctx: Context) -> str:
    """Books a room, after asking how many guests there are."""
    answer = await ctx.elicit(f"A room in {city}", Booking)
    if answer.action != "accept":
        return f"not booked: {answer.action}"
    sure = await ctx.elicit("Book it now?", ["yes", "no"])
    if sure.action != "accept" or sure.data == "no":
        return "not booked"
    wanted = answer.data
    return f"booked a {wanted.room} room in {city} for {wanted.guests}"
