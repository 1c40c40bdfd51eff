"""Loads a workspace: which files count, which of their functions, and what their variables say.

Every file stands alone: what is wrong with one is reported and leaves the others as they are."""

from __future__ import annotations

import inspect
import pathlib
import re
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

from . import imports, knowledge, logs, packages, results, signatures
from .blocked import is_blocked
from .composites import Json
from .options import Options
from .plain import NotPlain, plain, text_of
from .shapes import Builder, SchemaError
from .uritemplates import TemplateError, UriTemplate
from .workspace import Component, FileReport, LoadError, Workspace

RATE = re.compile(r"\s*-?\d+\s*/\s*(s|sec|second|m|min|minute|h|hr|hour)\s*", re.IGNORECASE)
NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
FOLDERS = ("tools", "resources", "prompts")


class FileError(Exception):
    """A file, or one function of it, that cannot be served; says why."""


def load(root: str, options: Options | None = None) -> Workspace:
    """Imports the workspace's files and builds all that serving needs. Raises LoadError when
    options ask for strict loading and anything failed."""
    options = options or Options()
    logs.install(options.log_level)
    imports.prepare(options.fastmcp, options.site)
    imports.forget()
    folder = pathlib.Path(root).absolute()
    workspace = Workspace(str(folder), options)
    if not folder.is_dir():
        workspace.errors.append(f"{root}: there is no such folder")
    imports.Siblings([folder / each for each in FOLDERS]).install()
    threads = threading.active_count()
    for kind, file, path in _files(workspace, folder):
        _load_file(workspace, kind, file, path)
    knowledge.scan(workspace, folder)
    if threading.active_count() > threads:
        workspace.warnings.append(
            "a file starts a thread when it is loaded: it does not live on in the workers"
        )
    if options.strict and workspace.errors:
        raise LoadError(workspace.errors)
    workspace.seal()
    return workspace


def _files(workspace: Workspace, root: pathlib.Path) -> Iterator[tuple[str, pathlib.Path, str]]:
    """Kind, file, and path in the workspace of every Python file that counts, in order."""
    for folder in FOLDERS:
        found = {}
        if folder == "tools" and workspace.options.packages:
            found = packages.files(workspace.warnings)
        if (root / folder).is_dir():
            for file in (root / folder).iterdir():
                if file.suffix == ".py" and not file.name.startswith(".."):
                    found[file.name] = file
        for name in sorted(found):
            yield folder, found[name], f"{folder}/{name}"


def _load_file(workspace: Workspace, kind: str, file: pathlib.Path, path: str) -> None:
    options = workspace.options
    report = FileReport(path, kind)
    workspace.files.append(report)
    reason = None
    if is_blocked(path, options.allow_blocked):
        reason = "its name is blocked"
    elif not file.is_file():
        reason = "not a regular file"
    elif 0 < options.max_file_bytes < file.stat().st_size:
        reason = f"{file.stat().st_size} bytes; the limit is {options.max_file_bytes}"
    if reason:
        report.state, report.error = "skipped", reason
        workspace.warnings.append(f"{path}: {reason}")
        return
    with logs.speaking_for(path):
        try:
            module = imports.load(file, f"dynamic.{kind}.{pathlib.Path(path).stem}")
            _register(workspace, report, module)
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            _failed(workspace, report, file, e)
    if report.state == "loaded" and not report.components:
        report.state = "empty"


def _register(workspace: Workspace, report: FileReport, module: types.ModuleType) -> None:
    {"tools": _tools, "resources": _resources, "prompts": _prompts}[report.kind](
        workspace, report, module
    )


def _failed(
    workspace: Workspace, report: FileReport, file: pathlib.Path, error: BaseException
) -> None:
    report.state = "failed"
    if isinstance(error, FileError):
        report.error = str(error)
    else:
        report.error = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)
        lines = [each.lineno for each in frames if each.filename == str(file)]
        report.line = lines[-1] if lines else None
        if isinstance(error, SyntaxError):
            report.line = error.lineno
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            report.error += f" (this is Python {version}; newer syntax does not load)"
    where = f"{report.path}:{report.line}" if report.line else report.path
    workspace.errors.append(f"{where}: {report.error}")


def _function_failed(workspace: Workspace, report: FileReport, name: str, error: Exception) -> None:
    """One function cannot be served; the rest of its file can."""
    known = isinstance(error, (SchemaError, TemplateError))
    text = f"{name}: {error}" if known else f"{name}: {type(error).__name__}: {error}"
    report.error = f"{report.error}; {text}" if report.error else text
    report.state = "failed"
    workspace.errors.append(f"{report.path}: {text}")


# ---- Which functions -------------------------------------------------------------------------


def _functions(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """The module's own public plain functions, in alphabetical order."""
    for name, value in sorted(vars(module).items()):
        if (
            not name.startswith("_")
            and isinstance(value, types.FunctionType)
            and value.__module__ == module.__name__
        ):
            yield name, value


def _is_helper(module: types.ModuleType) -> bool:
    stem = module.__name__.rpartition(".")[2].lower()
    return (
        not getattr(module, "__mcp_auto_register__", True)
        or stem in ("helpers", "__init__")
        or stem.endswith("_helpers")
    )


def _tool_functions(
    workspace: Workspace, report: FileReport, module: types.ModuleType
) -> list[Any]:
    listed = getattr(module, "TOOLS", None)
    if listed is not None and not isinstance(listed, (list, tuple, set, frozenset)):
        workspace.warnings.append(f"{report.path}: TOOLS is no list of names and is ignored")
        listed = None
    if listed is None:
        return [] if _is_helper(module) else [function for _, function in _functions(module)]
    names = list(dict.fromkeys(getattr(each, "__name__", None) or str(each) for each in listed))
    if isinstance(listed, (set, frozenset)):
        names.sort()
    out = []
    for name in names:
        function = getattr(module, name, None)
        if isinstance(function, types.FunctionType) and not name.startswith("_"):
            out.append(function)
        else:
            workspace.warnings.append(
                f"{report.path}: TOOLS names {name!r}, which is no public function"
            )
    return out


def _add(
    workspace: Workspace, report: FileReport, table: dict[str, Any], key: str, made: Any
) -> None:
    """Puts a component into its table, as the policy for duplicates says."""
    if key in table:
        other, policy = table[key].file, workspace.options.on_duplicate
        if policy == "error":
            raise SchemaError(f"{key!r} is defined already by {other}")
        if policy == "warn":
            workspace.warnings.append(f"{report.path}: {key!r} replaces that of {other}")
        if policy == "ignore":
            return
    table[key] = made
    report.components.append(key)


# ---- Tools -----------------------------------------------------------------------------------


def _number(module: types.ModuleType, name: str) -> float:
    value = getattr(module, name, None)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e12:
        raise FileError(f"{name} must be a number of 0 or more")
    return value


def _strings(workspace: Workspace, path: str, module: types.ModuleType, name: str) -> list[str]:
    value = getattr(module, name, None)
    if value is None:
        return []
    if isinstance(value, str):
        workspace.warnings.append(f"{path}: {name} is one text; it is taken as a list of one")
        value = [value]
    try:
        out = [str(each) for each in value]
    except TypeError:
        raise FileError(f"{name} must be a list of texts") from None
    return sorted(out) if isinstance(value, (set, frozenset)) else out


class ToolTraits:
    """What a module's variables say of all its tools."""

    def __init__(self, workspace: Workspace, path: str, module: types.ModuleType) -> None:
        options = workspace.options
        self.tags = _strings(workspace, path, module, "__tags__")
        self.scopes = _strings(workspace, path, module, "__required_scopes__")
        self.has_scopes = getattr(module, "__required_scopes__", None) is not None
        self.cache_ttl = _number(module, "__cache_ttl__")
        self.memory_mb = int(_number(module, "__max_memory_mb__")) or options.max_memory_mb
        self.output_kb = int(_number(module, "__max_output_size_kb__")) or options.max_output_kb
        self.timeout_ms = int(_number(module, "__timeout__") * 1000)
        if not self.timeout_ms and getattr(module, "__timeout__", None) is not None:
            raise FileError("__timeout__ must be more than 0 seconds")
        self.rate = getattr(module, "__rate_limit__", None)
        if self.rate is not None and not (isinstance(self.rate, str) and RATE.fullmatch(self.rate)):
            workspace.warnings.append(
                f"{path}: __rate_limit__ {self.rate!r} is not like 5/min and is ignored"
            )
            self.rate = None
        said = getattr(module, "__annotations_mcp__", None)
        try:
            self.annotations: Any = plain(said) if said is not None else {}
        except NotPlain as e:
            raise FileError(f"__annotations_mcp__: {e}") from None
        if not isinstance(self.annotations, dict):
            raise FileError("__annotations_mcp__ must be a dict")
        if self.has_scopes:
            self.annotations = {**self.annotations, "requiredScopes": self.scopes}
        if self.cache_ttl:
            self.annotations = {**self.annotations, "idempotentHint": True}

    def meta(self, path: str, signature: signatures.Signature) -> Json:
        said: Json = {
            "tags": self.tags,
            "requiredScopes": self.scopes,
            "rateLimit": self.rate,
            "cacheTtl": self.cache_ttl,
            "timeoutMs": self.timeout_ms,
            "maxMemoryMb": self.memory_mb,
            "maxOutputKb": self.output_kb,
            "async": signature.is_async,
            "context": bool(signature.contexts or signature.dependencies),
            "file": path,
        }
        return {
            "dev.headgate/tool": {name: value for name, value in said.items() if value},
            "fastmcp": {"tags": sorted(set(self.tags))},
        }


def _tools(workspace: Workspace, report: FileReport, module: types.ModuleType) -> None:
    functions = _tool_functions(workspace, report, module)
    if not functions:
        return
    traits = ToolTraits(workspace, report.path, module)
    for function in functions:
        try:
            made = _tool(workspace, report, traits, function)
            _add(workspace, report, workspace.tools, made.name, made)
        except Exception as e:
            _function_failed(workspace, report, function.__name__, e)


def _tool(
    workspace: Workspace, report: FileReport, traits: ToolTraits, function: Callable[..., Any]
) -> Component:
    name = function.__name__
    if name == "<lambda>":
        raise SchemaError("a lambda has no name; write a def")
    if not NAME.fullmatch(name):
        workspace.warnings.append(f"{report.path}: clients may refuse the name {name!r}")
    signature = signatures.read(function)
    problems: list[str] = []
    output = results.output_schema(signature.hints.get("return", Any), problems)
    workspace.warnings += [f"{report.path}: {name}: {each}" for each in problems]
    definition: Json = {"name": name}
    if isinstance(traits.annotations.get("title"), str):
        definition["title"] = traits.annotations["title"]
    described = inspect.getdoc(function)
    if described:
        definition["description"] = described
    definition["inputSchema"] = signature.schema
    if output is not None:
        definition["outputSchema"] = output
    if traits.annotations:
        definition["annotations"] = traits.annotations
    definition["_meta"] = traits.meta(report.path, signature)
    return Component(
        "tool", name, function, signature, definition, report.path, tuple(traits.tags),
        traits.timeout_ms, traits.memory_mb, traits.output_kb, results.converter(output),
    )  # fmt: skip


# ---- Resources and prompts -------------------------------------------------------------------


def _resources(workspace: Workspace, report: FileReport, module: types.ModuleType) -> None:
    wanted: list[tuple[str, Any]] = []
    table = getattr(module, "RESOURCES", None)
    uri = getattr(module, "RESOURCE_URI", None)
    if isinstance(table, dict):
        for each, named in table.items():
            function = getattr(module, named, None) if isinstance(named, str) else named
            if not isinstance(each, str) or not isinstance(function, types.FunctionType):
                error = SchemaError(
                    f"RESOURCES gives {each!r} to {named!r}, which is no function here"
                )
                _function_failed(workspace, report, "RESOURCES", error)
                continue
            wanted.append((each, function))
    elif isinstance(uri, str):
        functions = [function for _, function in _functions(module)]
        if not functions:
            raise FileError("RESOURCE_URI is there, but no public function that answers it")
        if len(functions) > 1:
            workspace.warnings.append(
                f"{report.path}: only {functions[0].__name__} answers {uri}; see RESOURCES"
            )
        wanted.append((uri, functions[0]))
    elif uri is not None:
        raise FileError("RESOURCE_URI must be a text")
    elif not _is_helper(module):
        raise FileError("there is neither RESOURCE_URI nor RESOURCES")
    for each, function in wanted:
        try:
            _resource(workspace, report, each, function)
        except Exception as e:
            _function_failed(workspace, report, function.__name__, e)


def _resource(workspace: Workspace, report: FileReport, uri: str, function: Any) -> None:
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://?", uri):
        raise TemplateError(f"{uri!r} is no URI: it starts with a scheme, as in config://app")
    signature = signatures.read(function)
    described = inspect.getdoc(function)
    definition: Json = {"name": function.__name__, "mimeType": "text/plain"}
    if described:
        definition["description"] = described
    made = Component(
        "resource", function.__name__, function, signature, definition, report.path, uri=uri
    )
    if "{" not in uri and not signature.parameters:
        made.definition = {"uri": uri, **definition}
        _add(workspace, report, workspace.resources, uri, made)
        return
    made.template = UriTemplate(uri)
    names = {each.name: each for each in signature.parameters}
    if not made.template.names:
        raise TemplateError(f"{uri}: the function's parameters are not in the URI")
    for name in made.template.names:
        if name not in names:
            raise TemplateError(f"{uri}: the function has no parameter {name!r}")
    for name, each in names.items():
        if each.required and name not in made.template.path:
            raise TemplateError(f"{uri}: {name!r} needs a default, or a place in the path")
    made.definition = {"uriTemplate": uri, **definition}
    _add(workspace, report, workspace.templates, uri, made)


def _prompts(workspace: Workspace, report: FileReport, module: types.ModuleType) -> None:
    if _is_helper(module):
        return
    for name, function in _functions(module):
        try:
            made = _prompt(report, function)
            _add(workspace, report, workspace.prompts, made.name, made)
        except Exception as e:
            _function_failed(workspace, report, name, e)


def _prompt(report: FileReport, function: Any) -> Component:
    signature = signatures.read(function)
    arguments = []
    for each in signature.parameters:
        said = each.description
        if not each.text:
            shown = {k: v for k, v in each.schema.items() if k not in ("description", "default")}
            hint = f"Provide as a JSON string matching the following schema: {text_of(shown)}"
            said = f"{said}\n\n{hint}" if said else hint
        argument: Json = {"name": each.name, "required": each.required}
        arguments.append(argument | ({"description": said} if said else {}))
    definition: Json = {"name": function.__name__}
    described = inspect.getdoc(function)
    if described:
        definition["description"] = described
    if arguments:
        definition["arguments"] = arguments
    return Component("prompt", function.__name__, function, signature, definition, report.path)


def choices(hint: Any) -> list[str]:
    """The texts that a parameter's type allows, when they can be counted: for completion."""
    for each in (hint, *get_args(hint)):
        try:
            schema = Builder().shape(each).schema
        except SchemaError:
            continue
        found = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
        if found:
            return [each if isinstance(each, str) else text_of(each) for each in found]
        if schema.get("type") == "boolean" and get_origin(each) is None:
            return ["true", "false"]
    return []
