"""Names of `fastmcp` that a file may import without using them, and a clear word about those that
are not here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def missing(module: str, name: str) -> NoReturn:
    """For a module's `__getattr__`."""
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(
        f"{module}.{name} is not part of what Headgate gives to tools (docs/local.md lists it); "
        f"install the real package and set HEADGATE_FASTMCP=installed if the file needs it"
    )


def _decorator(*args: Any, **options: Any) -> Any:
    """`@tool` and `@tool(…)`: the function itself. What is registered is the loader's to decide."""
    if len(args) == 1 and callable(args[0]) and not options:
        return args[0]

    def same(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    return same


tool = resource = prompt = _decorator


class FastMCP:
    """Accepted, so that a file that also runs alone can be loaded: its decorators leave functions
    as they are."""

    def __init__(self, name: str | None = None, *args: Any, **options: Any) -> None:
        self.name = name or "headgate-local"

    tool = staticmethod(_decorator)
    resource = staticmethod(_decorator)
    prompt = staticmethod(_decorator)

    def run(self, *args: Any, **options: Any) -> None:
        raise RuntimeError("the workspace is served already: run() belongs under __main__")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"FastMCP.{name} is not part of what Headgate gives to tools")


class Client:
    def __init__(self, *args: Any, **options: Any) -> None:
        raise RuntimeError("fastmcp.Client is not part of what Headgate gives to tools")


class McpError(Exception):
    pass


class Tool:
    """For annotations."""


class FunctionTool(Tool):
    """For annotations."""


class Resource:
    """For annotations."""


class Prompt:
    """For annotations."""
