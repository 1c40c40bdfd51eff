"""Parameters that the runtime fills in: `Depends(f)` and its relatives. A tool's caller never sees
them."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import Context

# The context of the call that runs now.
CURRENT: ContextVar[Context | None] = ContextVar("headgate_call", default=None)


class Dependency:
    """A default that stands for a value of the call."""

    __headgate_dependency__ = True
    needs_loop = False

    def resolve(self, stack: contextlib.ExitStack) -> Any:
        raise NotImplementedError

    async def resolve_async(self, stack: contextlib.AsyncExitStack) -> Any:
        with contextlib.ExitStack() as inner:
            value = self.resolve(inner)
            stack.push_async_callback(_closing(inner.pop_all()))
            return value


def _closing(stack: contextlib.ExitStack) -> Callable[[], Any]:
    async def close() -> None:
        stack.close()

    return close


class Given(Dependency):
    """A value that a function of no arguments finds."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self.find = find

    def resolve(self, stack: contextlib.ExitStack) -> Any:
        return self.find()


class FromFunction(Dependency):
    """`Depends(f)`: f may be plain, async, a generator (what follows its yield runs after the
    call), or a context manager's function; its own parameters may be dependencies too."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.inner = {
            name: parameter.default
            for name, parameter in inspect.signature(function).parameters.items()
            if is_dependency(parameter.default)
        }
        self.is_async = inspect.iscoroutinefunction(function)
        self.is_generator = inspect.isgeneratorfunction(function)
        self.is_async_generator = inspect.isasyncgenfunction(function)
        own = self.is_async or self.is_async_generator or _manages(function)
        self.needs_loop = own or any(each.needs_loop for each in self.inner.values())

    def resolve(self, stack: contextlib.ExitStack) -> Any:
        values = {name: each.resolve(stack) for name, each in self.inner.items()}
        if self.is_generator:
            return stack.enter_context(contextlib.contextmanager(self.function)(**values))
        made = self.function(**values)
        if hasattr(made, "__enter__") and hasattr(self.function, "__wrapped__"):
            return stack.enter_context(made)
        return made

    async def resolve_async(self, stack: contextlib.AsyncExitStack) -> Any:
        values = {name: await each.resolve_async(stack) for name, each in self.inner.items()}
        if self.is_async_generator:
            manage = contextlib.asynccontextmanager(self.function)
            return await stack.enter_async_context(manage(**values))
        if self.is_generator:
            return stack.enter_context(contextlib.contextmanager(self.function)(**values))
        made = self.function(**values)
        if inspect.isawaitable(made):
            return await made
        if hasattr(made, "__aenter__") and hasattr(self.function, "__wrapped__"):
            return await stack.enter_async_context(made)
        if hasattr(made, "__enter__") and hasattr(self.function, "__wrapped__"):
            return stack.enter_context(made)
        return made


def _manages(function: Callable[..., Any]) -> bool:
    """Whether an async context manager's function: asynccontextmanager wraps an async generator."""
    return inspect.isasyncgenfunction(getattr(function, "__wrapped__", None))


def is_dependency(value: Any) -> bool:
    return getattr(type(value), "__headgate_dependency__", False) is True


def current() -> Context:
    """The context of the running call. Raises RuntimeError outside of one."""
    found = CURRENT.get()
    if found is None:
        raise RuntimeError("there is no MCP call here: a context exists only while a call runs")
    return found
