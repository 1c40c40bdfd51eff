from typing import Any

from headgate_local.content import (
    Annotations,
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    Icon,
    ImageContent,
    ModelHint,
    ModelPreferences,
    ResourceLink,
    SamplingMessage,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from headgate_local.content import Block as ContentBlock
from headgate_local.content import Message as PromptMessage
from headgate_local.stubs import missing

__all__ = [
    "Annotations",
    "AudioContent",
    "BlobResourceContents",
    "ContentBlock",
    "EmbeddedResource",
    "Icon",
    "ImageContent",
    "ModelHint",
    "ModelPreferences",
    "PromptMessage",
    "ResourceLink",
    "SamplingMessage",
    "TextContent",
    "TextResourceContents",
    "ToolAnnotations",
]


def __getattr__(name: str) -> Any:
    return missing("mcp.types", name)
