"""What tools, resources and prompts return beside plain values. The same classes stand in for those
of `fastmcp` and of `mcp.types`; when the real ones are installed, they are understood too
(results.py)."""

from __future__ import annotations

import mimetypes
import os
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, dataclass_transform

from .plain import base64_of, plain

Json = dict[str, Any]


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(each.capitalize() for each in rest)


class Wire:
    """A thing of the protocol: members that are None are not written. Made with the names of Python
    or JSON."""

    DISCRIMINATOR: ClassVar[str | None] = None

    def to_json_value(self) -> Json:
        out: Json = {"type": self.DISCRIMINATOR} if self.DISCRIMINATOR else {}
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if value is not None and each.name != "type":
                out["_meta" if each.name == "meta" else camel(each.name)] = plain(value)
        return out

    def model_dump(self, **options: Any) -> Json:
        return self.to_json_value()

    def model_dump_json(self, **options: Any) -> str:
        from .plain import text_of

        return text_of(self.to_json_value())

    def __getattr__(self, name: str) -> Any:
        """The protocol's own spelling of a member: `.mimeType` beside `.mime_type`."""
        if not name.startswith("_"):
            for each in fields(self):  # type: ignore[arg-type]
                if camel(each.name) == name and each.name != name:
                    return getattr(self, each.name)
        raise AttributeError(f"{type(self).__name__} has no {name!r}")


@dataclass_transform()
def wire(cls: type) -> type:
    """Makes a dataclass whose constructor also takes the protocol's spelling of its members."""
    made: type = dataclass(cls)
    spelled = {camel(each.name): each.name for each in fields(made)} | {"_meta": "meta"}
    init: Any = made.__init__  # type: ignore[misc]

    def __init__(self: Any, *args: Any, **given: Any) -> None:
        init(self, *args, **{spelled.get(name, name): value for name, value in given.items()})

    setattr(made, "__init__", __init__)  # noqa: B010
    return made


@wire
class Annotations(Wire):
    audience: list[str] | None = None
    priority: float | None = None
    last_modified: str | None = None


@wire
class Icon(Wire):
    src: str
    mime_type: str | None = None
    sizes: list[str] | None = None
    theme: str | None = None


@wire
class ToolAnnotations(Wire):
    title: str | None = None
    read_only_hint: bool | None = None
    destructive_hint: bool | None = None
    idempotent_hint: bool | None = None
    open_world_hint: bool | None = None


class Block(Wire):
    """A content block of a result or a message."""


@wire
class TextContent(Block):
    DISCRIMINATOR = "text"
    type: str = "text"
    text: str = ""
    annotations: Any = None
    meta: Json | None = None


@wire
class ImageContent(Block):
    DISCRIMINATOR = "image"
    type: str = "image"
    data: str = ""
    mime_type: str = "image/png"
    annotations: Any = None
    meta: Json | None = None


@wire
class AudioContent(Block):
    DISCRIMINATOR = "audio"
    type: str = "audio"
    data: str = ""
    mime_type: str = "audio/wav"
    annotations: Any = None
    meta: Json | None = None


@wire
class TextResourceContents(Wire):
    uri: str = ""
    text: str = ""
    mime_type: str | None = None
    meta: Json | None = None


@wire
class BlobResourceContents(Wire):
    uri: str = ""
    blob: str = ""
    mime_type: str | None = None
    meta: Json | None = None


@wire
class EmbeddedResource(Block):
    DISCRIMINATOR = "resource"
    type: str = "resource"
    resource: Any = None
    annotations: Any = None
    meta: Json | None = None


@wire
class ResourceLink(Block):
    DISCRIMINATOR = "resource_link"
    type: str = "resource_link"
    uri: str = ""
    name: str = ""
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None
    annotations: Any = None
    icons: Any = None
    meta: Json | None = None


@wire
class ModelHint(Wire):
    name: str | None = None


@wire
class ModelPreferences(Wire):
    hints: list[Any] | None = None
    cost_priority: float | None = None
    speed_priority: float | None = None
    intelligence_priority: float | None = None


@wire
class SamplingMessage(Wire):
    role: str = "user"
    content: Any = None


class Media:
    """A file or bytes, with a format: what Image, Audio and File have in common."""

    FALLBACK = "application/octet-stream"
    FAMILY = "application"

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        data: bytes | None = None,
        format: str | None = None,
        name: str | None = None,
        annotations: Any = None,
    ) -> None:
        if (path is None) == (data is None):
            raise ValueError(f"{type(self).__name__} needs a path or data, one of them")
        self.path = os.path.expandvars(os.path.expanduser(path)) if path is not None else None
        self.data, self.format, self.name, self.annotations = data, format, name, annotations

    def read(self) -> bytes:
        if self.data is not None:
            return bytes(self.data)
        assert self.path is not None
        with open(self.path, "rb") as f:
            return f.read()

    @property
    def mime_type(self) -> str:
        if self.format:
            return self.format if "/" in self.format else f"{self.FAMILY}/{self.format.lower()}"
        if self.path:
            return mimetypes.guess_type(self.path)[0] or "application/octet-stream"
        return self.FALLBACK

    def block(self) -> Block:
        raise NotImplementedError


class Image(Media):
    FALLBACK = "image/png"
    FAMILY = "image"

    def block(self) -> Block:
        return ImageContent(
            data=base64_of(self.read()), mime_type=self.mime_type, annotations=self.annotations
        )

    def to_image_content(self) -> Block:
        return self.block()


class Audio(Media):
    FALLBACK = "audio/wav"
    FAMILY = "audio"

    def block(self) -> Block:
        return AudioContent(
            data=base64_of(self.read()), mime_type=self.mime_type, annotations=self.annotations
        )

    def to_audio_content(self) -> Block:
        return self.block()


class File(Media):
    @property
    def mime_type(self) -> str:
        if self.format and "/" not in self.format:
            known = mimetypes.guess_type(f"x.{self.format.lower()}")[0]
            family = "text" if self.format.lower() in ("plain", "txt", "text") else self.FAMILY
            sub = "plain" if family == "text" else self.format.lower()
            return known or f"{family}/{sub}"
        return super().mime_type

    def uri(self) -> str:
        if self.path and not self.name:
            return "file://" + os.path.abspath(self.path)
        name = self.name or "resource"
        ending = f".{self.format}" if self.format and "/" not in self.format else ""
        return f"file:///{name}" + (ending if not name.endswith(ending) else "")

    def block(self) -> Block:
        data, mime = self.read(), self.mime_type
        contents: Any
        if mime.startswith("text/"):
            try:
                text = data.decode()
            except UnicodeDecodeError:
                text = data.decode("latin-1")
            contents = TextResourceContents(uri=self.uri(), text=text, mime_type=mime)
        else:
            contents = BlobResourceContents(uri=self.uri(), blob=base64_of(data), mime_type=mime)
        return EmbeddedResource(resource=contents, annotations=self.annotations)

    def to_resource_content(self) -> Block:
        return self.block()


class ToolResult:
    """A result whose content, structured content and `_meta` the tool writes itself."""

    def __init__(
        self,
        content: Any = None,
        structured_content: Any = None,
        meta: Json | None = None,
        is_error: bool = False,
    ) -> None:
        if content is None and structured_content is None:
            raise ValueError("ToolResult needs content or structured_content")
        self.content = structured_content if content is None else content
        self.structured_content = structured_content
        self.meta = meta
        self.is_error = is_error


@dataclass
class ResourceContent:
    """A part of what a resource answers."""

    content: Any
    mime_type: str | None = None
    meta: Json | None = None


@dataclass
class ResourceResult:
    contents: Any
    meta: Json | None = None


@dataclass
class Message:
    """A message of a prompt."""

    content: Any
    role: str = "user"


@dataclass
class PromptResult:
    messages: Any
    description: str | None = None
    meta: Json | None = None


@dataclass
class Found:
    """What `Context.read_resource` answers."""

    contents: list[ResourceContent] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(str(each.content) for each in self.contents)

    def __iter__(self) -> Any:
        return iter(self.contents)

    def __getitem__(self, i: int) -> ResourceContent:
        return self.contents[i]

    def __len__(self) -> int:
        return len(self.contents)
