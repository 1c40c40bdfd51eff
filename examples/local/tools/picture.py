"""Results that are more than text: pictures, files, and content that the tool writes itself."""

import base64

from fastmcp.tools import ToolResult
from fastmcp.utilities.types import File, Image

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)


def pixel() -> Image:
    """One transparent pixel."""
    return Image(data=PIXEL, format="png")


def report() -> list[str | Image | File]:
    """A text, a picture and a file."""
    return ["a report:", pixel(), File(data=b"a,b\n1,2\n", format="csv", name="table")]


def measured(length: float) -> ToolResult:
    """Content for people, structure for programs, and metadata for the client."""
    return ToolResult(
        content=f"{length} m is {length * 100:g} cm",
        structured_content={"metres": length, "centimetres": length * 100},
        meta={"example.org/unit": "m"},
    )
