"""Prompts: each public function of the file. Clients send texts; they are read as the types say."""

from typing import Annotated, Literal

from fastmcp.prompts import Message
from fastmcp.utilities.types import Image
from mcp.types import EmbeddedResource, TextResourceContents
from pydantic import Field


def review(
    code: Annotated[str, Field(description="What is reviewed")],
    language: Literal["c", "python", "rust"] = "python",
    rules: list[str] | None = None,
) -> str:
    """Asks for a code review."""
    wanted = "; ".join(rules or ["clarity"])
    return f"Review this {language} code for {wanted}:\n\n{code}"


def conversation(topic: str) -> list[Message]:
    """Starts a conversation with an answer already given."""
    return [
        Message(f"Let us talk about {topic}."),
        Message("Gladly. Where do we start?", role="assistant"),
    ]


async def look_at(note: str = "what is this?") -> list:
    """A picture, a file, and a question."""
    text = TextResourceContents(uri="notes://1", text="a note", mimeType="text/plain")
    return [
        Message(Image(data=b"\x89PNG", format="png")),
        Message(EmbeddedResource(type="resource", resource=text)),
        note,
    ]
