"""The runtime's options: `MCP_…` variables, or flags of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

KNOWLEDGE_ENDINGS = (".csv", ".htm", ".html", ".json", ".md", ".txt", ".xml", ".yaml", ".yml")
DUPLICATES = ("warn", "error", "replace", "ignore")
PRODUCTION = ("prod", "production", "staging")


class OptionError(ValueError):
    """An option that cannot be understood; names it and says what would do."""


def boolean(name: str, text: str) -> bool:
    word = text.strip().lower()
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off"):
        return False
    raise OptionError(f"{name}={text!r}: say true or false")


def number(name: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise OptionError(f"{name}={text!r}: say a whole number") from None
    return max(value, 0)


def words(name: str, text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def endings(name: str, text: str) -> tuple[str, ...]:
    return tuple(("." + each.lstrip(".")).lower() for each in words(name, text))


def duplicates(name: str, text: str) -> str:
    if text not in DUPLICATES:
        raise OptionError(f"{name}={text!r}: say one of {', '.join(DUPLICATES)}")
    return text


def framework(name: str, text: str) -> str:
    if text not in ("shim", "installed"):
        raise OptionError(f"{name}={text!r}: say shim or installed")
    return text


def plain_text(name: str, text: str) -> str:
    return text


def option(variable: str, read: Any, what: str, default: Any) -> Any:
    return field(default=default, metadata={"variable": variable, "read": read, "what": what})


@dataclass(frozen=True)
class Options:
    name: str = option("MCP_SERVER_NAME", plain_text, "the name in serverInfo", "headgate-local")
    version: str = option("MCP_SERVER_VERSION", plain_text, "the version in serverInfo", "0.1.0")
    strict: bool = option(
        "MCP_STRICT_LOADING",
        boolean,
        "refuse to serve when a file fails (default in production)",
        False,
    )
    mask_errors: bool = option(
        "MCP_MASK_ERROR_DETAILS", boolean, "hide texts of exceptions (default in production)", False
    )
    on_duplicate: str = option(
        "MCP_ON_DUPLICATE_TOOLS", duplicates, "warn, error, replace or ignore (production: error)",
        "warn",
    )  # fmt: skip
    max_file_bytes: int = option(
        "MCP_MAX_SOURCE_FILE_SIZE_BYTES", number, "bytes of one file, 0 for any", 1048576
    )
    max_knowledge_bytes: int = option(
        "MCP_MAX_KNOWLEDGE_BYTES", number, "bytes of all knowledge, 0 for any", 10485760
    )
    knowledge_endings: tuple[str, ...] = option(
        "MCP_ALLOWED_KNOWLEDGE_EXTENSIONS", endings, "endings of knowledge files", KNOWLEDGE_ENDINGS
    )
    allow_blocked: tuple[str, ...] = option(
        "SOURCE_BLOCKED_FILE_ALLOWLIST", words, "patterns of blocked files that may be loaded", ()
    )
    max_memory_mb: int = option("MCP_MAX_MEMORY_MB", number, "memory of a call, 0 for any", 0)
    max_output_kb: int = option("MCP_MAX_OUTPUT_SIZE_KB", number, "size of a result, 0 for any", 0)
    log_level: str = option("LOG_LEVEL", plain_text, "DEBUG, INFO, WARNING or ERROR", "INFO")
    fastmcp: str = option(
        "HEADGATE_FASTMCP",
        framework,
        "shim (ours) or installed: which `fastmcp` tools import",
        "shim",
    )
    site: tuple[str, ...] = option(
        "HEADGATE_PYTHON_SITE", words, "folders of installed packages, as of a venv", ()
    )
    packages: bool = option("HEADGATE_TOOL_PACKAGES", boolean, "load installed tool packages", True)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **given: Any) -> Options:
        """From variables; an empty one is as none. What is given wins. Raises OptionError."""
        found: dict[str, Any] = {}
        stage = environ.get("MCP_ENV") or environ.get("ENVIRONMENT") or environ.get("APP_ENV") or ""
        if stage.lower() in PRODUCTION:
            found = {"strict": True, "mask_errors": True, "on_duplicate": "error"}
        for each in fields(cls):
            variable, read = each.metadata["variable"], each.metadata["read"]
            if environ.get(variable):
                found[each.name] = read(variable, environ[variable])
        return cls(**(found | given))


@dataclass(frozen=True)
class Limits:
    """What a worker may use beyond what it has when it starts; 0 is no limit. The process that
    starts the worker may set others from outside."""

    memory_mb: int = 0
    cpu_seconds: int = 0
