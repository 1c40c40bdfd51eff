"""Knowledge: each file below knowledge/ is a resource `knowledge://<path>`, read anew for each
request."""

from __future__ import annotations

import mimetypes
import os
import pathlib
from urllib.parse import quote

from .blocked import is_blocked
from .composites import Json
from .plain import base64_of
from .workspace import FileReport, KnowledgeFile, Workspace

TYPES = {
    ".csv": "text/csv",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


def scan(workspace: Workspace, root: pathlib.Path) -> None:
    """Adds the files in order of their paths. Links may lead to other files of the workspace, not
    out of it (a Kubernetes volume's `..data` is followed through its links and not listed
    itself)."""
    folder = root / "knowledge"
    if not folder.is_dir():
        return
    options = workspace.options
    inside = (str(root.resolve()), str(folder.resolve()))
    for file in _files(folder):
        path = file.relative_to(root).as_posix()
        ending = file.suffix.lower()
        report = FileReport(path, "knowledge")
        reason = None
        if is_blocked(path, options.allow_blocked):
            reason = "its name is blocked"
        elif ending not in options.knowledge_endings:
            reason = f"{ending or 'no ending'} is not among the endings allowed"
        elif not _is_inside(file, inside):
            reason = "the link leads out of the workspace"
        elif not file.is_file():
            reason = "not a regular file"
        size = 0 if reason else file.stat().st_size
        if 0 < options.max_file_bytes < size:
            reason = f"{size} bytes; the limit of a file is {options.max_file_bytes}"
        elif 0 < options.max_knowledge_bytes < workspace.knowledge_bytes + size:
            reason = f"the limit of all knowledge, {options.max_knowledge_bytes} bytes, is reached"
        workspace.files.append(report)
        if reason:
            report.state, report.error = "skipped", reason
            workspace.warnings.append(f"{path}: {reason}")
            continue
        workspace.knowledge_bytes += size
        found = entry(file, path, size)
        found.inside = inside
        workspace.knowledge[found.uri] = found
        report.components.append(found.uri)


def _is_inside(file: str | pathlib.Path, folders: tuple[str, ...]) -> bool:
    real = os.path.realpath(file)
    return any(real.startswith(each + os.sep) for each in folders)


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    out: list[pathlib.Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith(".."))
        out += [pathlib.Path(parent, name) for name in names if not name.startswith("..")]
    return sorted(out)


def entry(file: pathlib.Path, path: str, size: int) -> KnowledgeFile:
    relative = path.removeprefix("knowledge/")
    mime = TYPES.get(file.suffix.lower()) or mimetypes.guess_type(path)[0]
    mime = mime or "application/octet-stream"
    text = mime.startswith("text/") or file.suffix.lower() in TYPES
    uri = "knowledge://" + quote(relative, safe="/-._~!$&'()*+,;=", errors="surrogateescape")
    name = f"kb_{file.stem}".encode("utf-8", "replace").decode()
    shown = relative.encode("utf-8", "replace").decode()
    definition: Json = {
        "uri": uri,
        "name": name,
        "description": f"Knowledge file: {shown}",
        "mimeType": mime,
        "size": size,
    }
    return KnowledgeFile(uri, str(file), mime, text, definition)


def read(found: KnowledgeFile, limit: int) -> Json:
    """The result of `resources/read`. Raises OSError, and ValueError when the file has grown too
    large."""
    if not _is_inside(found.path, found.inside):
        raise ValueError("its link leads out of the workspace")
    with open(found.path, "rb") as f:
        data = f.read(limit + 1 if limit else -1)
    if limit and len(data) > limit:
        raise ValueError(f"the file is larger than {limit} bytes")
    part: Json = {"uri": found.uri, "mimeType": found.mime}
    if found.text:
        part["text"] = data.decode("utf-8", "replace")
    else:
        part["blob"] = base64_of(data)
    return {"contents": [part]}
