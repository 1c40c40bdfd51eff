"""Runs the functions of a workspace: arguments, dependencies, limits, errors.

Synchronous functions run on the main thread, one at a time, where an alarm can end them.
Asynchronous ones run on the loop of a thread of its own, which starts with the first of them."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import resource
import signal
import traceback
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import logs
from .composites import Json
from .dependencies import CURRENT
from .errors import CallTimedOut, ToolError, from_framework, told
from .plain import encode
from .scalars import Invalid
from .signatures import Parameter
from .workspace import Component

if TYPE_CHECKING:
    from .call import Call


def prompt_arguments(component: Component, given: dict[str, Any]) -> dict[str, Any]:
    """A prompt's arguments are texts: those of other types are read as JSON first. Unknown ones are
    left out."""
    out: dict[str, Any] = {}
    for each in component.signature.parameters:
        if each.name in given:
            value = given[each.name]
            out[each.name] = value if each.text else _from_text(each, value)
    return out


def _from_text(parameter: Parameter, value: Any) -> Any:
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            decoded = json.loads(value)
            with contextlib.suppress(Invalid):
                parameter.check(decoded, False)
                return decoded
    return value


def problems(label: str, error: Invalid) -> str:
    lines = "\n".join(f"  {line}" for line in str(error).split("\n"))
    return f"Invalid arguments of {label}:\n{lines}"


def error_result(text: str) -> Json:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def collected(value: Any) -> Any:
    """What a generator yields, as a list."""
    return list(value) if type(value) is types.GeneratorType else value


# ---- The memory of one call ------------------------------------------------------------------


@contextlib.contextmanager
def memory(limit_mb: int) -> Any:
    """Lets the process grow by so much. Turns a MemoryError into a ToolError."""
    if not limit_mb:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    wanted = _address_space() + limit_mb * 1024 * 1024
    if before[1] != resource.RLIM_INFINITY:
        wanted = min(wanted, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (wanted, before[1]))
    try:
        yield
    except MemoryError:
        resource.setrlimit(resource.RLIMIT_AS, before)
        raise ToolError(f"The tool needs more memory than its limit of {limit_mb} MB") from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


_statm: list[int] = []  # a descriptor of /proc/self/statm, for who cannot open it any more


def keep_statm(fd: int) -> None:
    """Takes the descriptor that memory limits are reckoned from: confinement hides /proc."""
    _statm[:] = [fd]


def _address_space() -> int:
    fd = _statm[0] if _statm else os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.pread(fd, 128, 0).split()[0]) * resource.getpagesize()
    finally:
        if not _statm:
            os.close(fd)


# ---- Calling ---------------------------------------------------------------------------------


def ring(number: int, frame: Any) -> None:
    raise CallTimedOut


def call_sync(component: Component, arguments: dict[str, Any], call: Call) -> Any:
    """The value that a synchronous function returns (or an awaitable, when it made one). Raises
    CallTimedOut when the call's time is over."""
    signature = component.signature
    given = signature.bind(arguments)
    for name in signature.contexts:
        given[name] = call.context
    token = CURRENT.set(call.context)
    speaker = logs.SPEAKER.set(component.name)
    try:
        left = call.left()
        if left is None:
            return _run(component, given)
        if left <= 0:
            raise CallTimedOut
        signal.setitimer(signal.ITIMER_REAL, left)
        try:
            return _run(component, given)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        logs.SPEAKER.reset(speaker)
        CURRENT.reset(token)


def _run(component: Component, given: dict[str, Any]) -> Any:
    dependencies = component.signature.dependencies
    if not (component.memory_mb or dependencies):
        return collected(component.function(**given))
    with memory(component.memory_mb), contextlib.ExitStack() as stack:
        for name, each in dependencies.items():
            given[name] = each.resolve(stack)
        return collected(component.function(**given))


async def call_async(component: Component, arguments: dict[str, Any], call: Call) -> Any:
    """The same for an asynchronous one, or one whose dependencies are."""
    signature = component.signature
    given = signature.bind(arguments)
    for name in signature.contexts:
        given[name] = call.context
    CURRENT.set(call.context)
    logs.SPEAKER.set(component.name)
    async with contextlib.AsyncExitStack() as stack:
        for name, each in signature.dependencies.items():
            given[name] = await each.resolve_async(stack)
        with memory(component.memory_mb):
            return await settled(component.function(**given))


async def settled(value: Any) -> Any:
    if inspect.isawaitable(value):
        value = await value
    if inspect.isasyncgen(value):
        return [each async for each in value]
    return collected(value)


# ---- Answers ---------------------------------------------------------------------------------


def log_error(component: Component, error: BaseException) -> None:
    if not from_framework(error):
        with logs.speaking_for(component.name):
            text = "".join(traceback.format_exception(error)).rstrip()
            logs.line("error", text, "headgate")


def timed_out(component: Component, call: Call) -> str:
    seconds = call.limit_ms / 1000
    return f"The {component.label} did not finish within {seconds:g} s"


def tool_answer(component: Component, call: Call, run: Callable[[], Any]) -> bytes:
    """The result, as JSON, of a tool whose value `run` gives."""
    try:
        value = run()
        assert component.convert is not None
        line = encode(component.convert(value))
    except Invalid as e:
        return encode(error_result(problems(component.label, e)))
    except CallTimedOut:
        return encode(error_result(timed_out(component, call)))
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        log_error(component, e)
        masked = call.server.workspace.options.mask_errors
        return encode(error_result(told(e, component.label, masked)))
    limit = component.output_kb * 1024
    if limit and len(line) > limit:
        return fitting(component, line, limit)
    return line


def fitting(component: Component, line: bytes, limit: int) -> bytes:
    """The result when what the tool said is not too long: its content or its structured content,
    not both."""
    result = json.loads(line)
    longest = max(
        len(encode(result.get("content"))), len(encode(result.get("structuredContent", {})))
    )
    if longest <= limit:
        return line
    text = (
        f"The output of {component.label} has {-(-longest // 1024)} KB; "
        f"its limit is {component.output_kb} KB"
    )
    return encode(error_result(text))


def limit_process(memory_mb: int, cpu_seconds: int) -> None:
    """What the whole worker may use beyond what it has; for good."""
    for kind, amount in (
        (resource.RLIMIT_AS, memory_mb and _address_space() + memory_mb * 1024 * 1024),
        (resource.RLIMIT_CPU, cpu_seconds),
    ):
        if amount:
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (amount if hard < 0 else min(amount, hard), hard))
