"""What a loaded workspace holds: components ready to be listed and called, and the report of the
load."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import foreign
from .composites import Json
from .options import Options
from .plain import encode
from .signatures import Signature
from .uritemplates import UriTemplate


@dataclass
class Component:
    """A function that a client reaches by name or URI."""

    kind: str
    name: str
    function: Callable[..., Any]
    signature: Signature
    definition: Json
    file: str
    tags: tuple[str, ...] = ()
    timeout_ms: int = 0
    memory_mb: int = 0
    output_kb: int = 0
    convert: Callable[[Any], Json] | None = None
    uri: str = ""
    mime: str | None = None
    template: UriTemplate | None = None

    @property
    def label(self) -> str:
        return f"{self.kind} '{self.name}'"


@dataclass
class KnowledgeFile:
    uri: str
    path: str
    mime: str
    text: bool
    definition: Json
    inside: tuple[str, ...] = ()


@dataclass
class FileReport:
    path: str
    kind: str
    state: str = "loaded"
    error: str | None = None
    line: int | None = None
    components: list[str] = field(default_factory=list)

    def to_json(self) -> Json:
        out: Json = {"path": self.path, "kind": self.kind, "state": self.state}
        if self.error is not None:
            out["error"] = self.error
        if self.line is not None:
            out["line"] = self.line
        return out | {"components": self.components}


class LoadError(Exception):
    """Strict loading found errors; all of them, one a line."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


@dataclass
class Workspace:
    root: str
    options: Options
    files: list[FileReport] = field(default_factory=list)
    tools: dict[str, Component] = field(default_factory=dict)
    prompts: dict[str, Component] = field(default_factory=dict)
    resources: dict[str, Component] = field(default_factory=dict)
    templates: dict[str, Component] = field(default_factory=dict)
    knowledge: dict[str, KnowledgeFile] = field(default_factory=dict)
    knowledge_bytes: int = 0
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lists: dict[str, bytes] = field(default_factory=dict)

    def definitions(self, what: str) -> list[Json]:
        """The entries of a list: "tools", "prompts", "resources" or "resourceTemplates"."""
        if what == "resources":
            known = [each.definition for each in self.resources.values()]
            return known + [each.definition for each in self.knowledge.values()]
        table = {"tools": self.tools, "prompts": self.prompts, "resourceTemplates": self.templates}
        return [each.definition for each in table[what].values()]

    def seal(self) -> None:
        """Writes the lists, once for all clients."""
        for what in ("tools", "prompts", "resources", "resourceTemplates"):
            self.lists[what] = encode({what: self.definitions(what)})

    def capabilities(self) -> Json:
        # What a session sees can change: Context.enable_components.
        out: Json = {"logging": {}, "tools": {"listChanged": True}}
        if self.resources or self.templates or self.knowledge:
            out["resources"] = {"listChanged": True}
        if self.prompts:
            out["prompts"] = {"listChanged": True}
        if self.prompts or self.templates:
            out["completions"] = {}
        out["experimental"] = {
            "dev.headgate/workspace": {"files": len(self.files), "errors": len(self.errors)}
        }
        return out


def describe(workspace: Workspace) -> Json:
    """The report of a load, as JSON can hold it; README.md has its form."""
    return {
        "name": workspace.options.name,
        "root": workspace.root,
        "python": sys.version.split()[0],
        "pydantic": foreign.version(),
        "files": [each.to_json() for each in workspace.files],
        "tools": workspace.definitions("tools"),
        "resources": workspace.definitions("resources"),
        "resourceTemplates": workspace.definitions("resourceTemplates"),
        "prompts": workspace.definitions("prompts"),
        "knowledge": {"files": len(workspace.knowledge), "bytes": workspace.knowledge_bytes},
        "errors": workspace.errors,
        "warnings": workspace.warnings,
    }
