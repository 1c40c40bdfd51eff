"""Several resources in a file."""

from fastmcp.resources import ResourceContent

RESOURCES = {"inventory://items": "items", "inventory://logo": "logo", "inventory://both": "both"}


async def items() -> list:
    """What is in stock."""
    return [{"sku": "a1", "count": 3}]


def logo() -> bytes:
    """A picture, as bytes."""
    return b"\x89PNG\r\n\x1a\n"


def both() -> list[ResourceContent]:
    """Two parts in one answer."""
    return [
        ResourceContent("plain", "text/plain"),
        ResourceContent(b"\x00\x01", "application/octet-stream", meta={"part": 2}),
    ]
