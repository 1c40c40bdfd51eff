"""Several tools in a file; TOOLS says which functions they are."""

from typing import Annotated, Literal

from fastmcp.exceptions import ToolError
from pydantic import Field

TOOLS = ["add", "divide", "mean"]
__tags__ = ["math"]


def add(a: int, b: int) -> int:
    """Adds two whole numbers."""
    return a + b


def divide(a: float, b: float, rounding: Literal["none", "down"] = "none") -> float:
    """Divides a by b."""
    if b == 0:
        raise ToolError("b must not be 0")
    return a // b if rounding == "down" else a / b


def mean(values: Annotated[list[float], Field(min_length=1, description="At least one")]) -> float:
    """The arithmetic mean."""
    return total(values) / len(values)


def total(values: list[float]) -> float:
    """No tool: TOOLS does not name it."""
    return sum(values)
