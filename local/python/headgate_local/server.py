"""The MCP server of one connection: messages in, calls, messages out.

It begins without an event loop: reads, calls a synchronous function, writes. The first call that
needs a loop moves the reading into a thread with one; the main thread then runs synchronous
functions only."""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import signal
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from . import completion, knowledge, logs, results, running
from .call import Call
from .composites import Json
from .context import LEVELS
from .errors import (
    INTERNAL,
    METHOD,
    NO_RESOURCE,
    PARAMS,
    PARSE,
    REQUEST,
    CallTimedOut,
    RpcError,
    ToolError,
    told,
)
from .options import Limits
from .peer import Peer
from .plain import encode
from .scalars import Invalid
from .uritemplates import Unsafe
from .visibility import Visibility
from .wire import Wire, parse
from .workspace import Component, Workspace

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
# Calls that run or wait at one time, and messages that are read ahead of them.
CALLS_MAX = 1000


class Server:
    def __init__(self, workspace: Workspace, wire: Wire) -> None:
        self.workspace, self.wire = workspace, wire
        self.session = uuid.uuid4().hex
        self.peer = Peer(wire.write)
        self.level = 0
        self.calls: dict[Any, Call] = {}
        self.queue: deque[Any] = deque()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.visibility = Visibility(self._changed)
        self.lock = threading.Lock()
        self.methods: dict[str, Callable[[Any, Json], bytes | None]] = {
            "tools/call": self._tools_call,
            "ping": lambda id_, params: b"{}",
            "initialize": self._initialize,
            "tools/list": lambda id_, params: self._list("tools", params),
            "prompts/list": lambda id_, params: self._list("prompts", params),
            "resources/list": lambda id_, params: self._list("resources", params),
            "resources/templates/list": lambda id_, params: self._list("resourceTemplates", params),
            "resources/read": self._resources_read,
            "prompts/get": self._prompts_get,
            "completion/complete": self._complete,
            "logging/setLevel": self._set_level,
        }

    # ---- The two ways to run

    def run(self) -> None:
        """Serves until the peer closes; synchronous calls that came before are still answered."""
        signal.signal(signal.SIGALRM, running.ring)
        ended = False
        while self.loop is None:
            if self.queue:
                # What cancels a call that waits is read before that call's turn.
                ahead = 1 < len(self.queue) < CALLS_MAX and not ended
                if ahead and self.wire.waiting():
                    ended = not self._read()
                self._take(self.queue.popleft())
            elif ended or not self._read():
                return
        for job in iter(self.jobs.get, None):
            job()

    def _read(self) -> bool:
        """Reads messages into the queue; false at the end."""
        lines = self.wire.read()
        if lines is None:
            return False
        for line in lines:
            try:
                message = parse(line)
            except ValueError as e:
                self.peer.error(None, RpcError(PARSE, f"Parse error: {e}"))
                continue
            if type(message) is dict and message.get("method") == "notifications/cancelled":
                self._cancelled(message.get("params"))
            else:
                self.queue.append(message)
        return True

    def start_loop(self) -> asyncio.AbstractEventLoop:
        if self.loop is None:
            self.loop = self.peer.loop = asyncio.new_event_loop()
            threading.Thread(target=self._run_loop, name="loop", daemon=True).start()
        return self.loop

    def _run_loop(self) -> None:
        loop = self.loop
        assert loop is not None
        asyncio.set_event_loop(loop)
        loop.add_reader(self.wire.reader, self._readable)
        loop.call_soon(self._drain)
        try:
            loop.run_forever()
            loop.run_until_complete(self._wind_up())
        finally:
            self.jobs.put(None)

    async def _wind_up(self) -> None:
        """The peer is gone: cancels what runs, and gives it a moment to clean up."""
        tasks = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        for each in tasks:
            each.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)

    def _readable(self) -> None:
        if self._read():
            self._drain()
        elif self.loop is not None:
            self.loop.remove_reader(self.wire.reader)
            self.loop.stop()

    def _drain(self) -> None:
        while self.queue:
            self._take(self.queue.popleft())

    # ---- Messages

    def _take(self, message: Any) -> None:
        if type(message) is not dict or message.get("jsonrpc") != "2.0":
            self.peer.error(None, RpcError(REQUEST, "Not a JSON-RPC 2.0 message"))
            return
        method = message.get("method")
        if method is None:
            self.peer.answered(message)
            return
        if "id" not in message:
            return
        id_ = message["id"]
        params = message.get("params", {})
        try:
            if type(id_) not in (str, int) or type(params) is not dict:
                raise RpcError(REQUEST, "An id is a text or a number, and params an object")
            handle = self.methods.get(method) if type(method) is str else None
            if handle is None:
                raise RpcError(METHOD, f"Method not found: {method}")
            result = handle(id_, params)
        except RpcError as e:
            self.peer.error(id_ if type(id_) in (str, int) else None, e)
            return
        if result is not None:
            self.peer.reply(id_, result)

    def _changed(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            self.peer.tell(f"notifications/{kind}/list_changed", {}, None)

    # ---- Running functions

    def start(self, component: Component, arguments: Json, call: Call, finish: Any) -> bytes | None:
        """Runs a function. `finish(run)` makes the answer of what `run()` gives or raises; it is
        written when it is there, or returned when that is at once."""
        if len(self.calls) >= CALLS_MAX:
            raise RpcError(INTERNAL, f"More than {CALLS_MAX} calls run or wait already")
        if component.signature.needs_loop:
            self._start_async(component, arguments, call, finish)
            return None
        if self.loop is None:
            return self._run_sync(component, arguments, call, finish)
        self.calls[call.id] = call
        self.jobs.put(lambda: self._job(component, arguments, call, finish))
        return None

    def _run_sync(
        self, component: Component, arguments: Json, call: Call, finish: Any
    ) -> bytes | None:
        awaitable: list[Any] = []

        def run() -> Any:
            value = running.call_sync(component, arguments, call)
            if hasattr(value, "__await__") or hasattr(value, "__anext__"):
                awaitable.append(value)
                return None
            return value

        answer: bytes = finish(run)
        if not awaitable:
            return answer
        self._start_async(component, arguments, call, finish, awaitable[0])
        return None

    def _job(self, component: Component, arguments: Json, call: Call, finish: Any) -> None:
        if call.done:
            return
        try:
            answer = self._run_sync(component, arguments, call, finish)
        except RpcError as e:
            self._finish(call, e)
            return
        if answer is not None:
            self._finish(call, answer)

    def _start_async(
        self, component: Component, arguments: Json, call: Call, finish: Any, value: Any = None
    ) -> None:
        loop = self.start_loop()
        self.calls[call.id] = call
        context = contextvars.copy_context()

        def begin() -> None:
            if call.done:
                return
            made = self._run_async(component, arguments, call, finish, value)
            call.task = loop.create_task(made, context=context)
            if call.deadline:
                loop.call_at(
                    loop.time() + max(call.left() or 0, 0), self._expire, component, call, finish
                )

        if threading.current_thread() is threading.main_thread():
            loop.call_soon_threadsafe(begin)
        else:
            begin()

    async def _run_async(
        self, component: Component, arguments: Json, call: Call, finish: Any, value: Any
    ) -> None:
        made: Any = None
        error: BaseException | None = None
        try:
            if value is not None:
                made = await running.settled(value)
            else:
                made = await running.call_async(component, arguments, call)
        except asyncio.CancelledError as e:
            if call.done:
                return
            error = e
        except BaseException as e:
            error = e
        try:
            answer = finish(lambda: _outcome(made, error))
        except RpcError as e:
            self._finish(call, e)
        else:
            self._finish(call, answer)

    def _expire(self, component: Component, call: Call, finish: Any) -> None:
        """The call's time is over: says so at once, and then cancels it."""
        if call.done:
            return
        try:
            answer = finish(lambda: _outcome(None, CallTimedOut()))
        except RpcError as e:
            answer = e
        self._finish(call, answer)
        if call.task is not None:
            call.task.cancel()

    def _finish(self, call: Call, answer: bytes | RpcError) -> None:
        with self.lock:
            if call.done:
                return
            call.done = True
        self.calls.pop(call.id, None)
        if isinstance(answer, RpcError):
            self.peer.error(call.id, answer)
        else:
            self.peer.reply(call.id, answer)

    def _cancelled(self, params: Any) -> None:
        id_ = params.get("requestId") if isinstance(params, dict) else None
        if type(id_) not in (str, int):
            return
        for message in self.queue:
            if type(message) is dict and message.get("id") == id_ and "method" in message:
                self.queue.remove(message)
                return
        call = self.calls.pop(id_, None)
        if call is not None:
            call.done = True
            if call.task is not None:
                call.task.cancel()

    # ---- Methods

    def _initialize(self, id_: Any, params: Json) -> bytes:
        asked = params.get("protocolVersion")
        client = params.get("capabilities")
        self.peer.introduced(client if isinstance(client, dict) else {})
        options = self.workspace.options
        return encode(
            {
                "protocolVersion": asked if asked in VERSIONS else VERSIONS[0],
                "capabilities": self.workspace.capabilities(),
                "serverInfo": {"name": options.name, "version": options.version},
            }
        )

    def _set_level(self, id_: Any, params: Json) -> bytes:
        if params.get("level") not in LEVELS:
            raise RpcError(PARAMS, f"A level is one of {', '.join(LEVELS)}")
        self.level = LEVELS.index(params["level"])
        return b"{}"

    def _list(self, what: str, params: Json) -> bytes:
        if params.get("cursor") is not None:
            raise RpcError(PARAMS, "There is one page: no cursor was given out")
        session = Call(self, None, params).session if self.visibility.rules else ""
        if session not in self.visibility.rules:
            return self.workspace.lists[what]
        tables = {
            "tools": self.workspace.tools,
            "prompts": self.workspace.prompts,
            "resources": self.workspace.resources,
            "resourceTemplates": self.workspace.templates,
        }
        shown = [c.definition for c in tables[what].values() if self.visibility.sees(session, c)]
        if what == "resources":
            shown += [each.definition for each in self.workspace.knowledge.values()]
        return encode({what: shown})

    def _tools_call(self, id_: Any, params: Json) -> bytes | None:
        name = params.get("name")
        component = self.workspace.tools.get(name) if type(name) is str else None
        arguments = params.get("arguments", {})
        if component is None:
            raise RpcError(PARAMS, f"Unknown tool: {name}")
        if type(arguments) is not dict:
            raise RpcError(PARAMS, "arguments must be an object")
        call = Call(self, id_, params, component.timeout_ms)
        if self.visibility.rules and not self.visibility.sees(call.session, component):
            raise RpcError(PARAMS, f"Unknown tool: {name}")

        def finish(run: Callable[[], Any]) -> bytes:
            return running.tool_answer(component, call, run)

        return self.start(component, arguments, call, finish)

    def _find(self, uri: str) -> tuple[Component, Json] | None:
        """The function that answers a URI, and its arguments. Raises RpcError for one that is
        unsafe."""
        component = self.workspace.resources.get(uri)
        if component is not None:
            return component, {}
        for each in self.workspace.templates.values():
            assert each.template is not None
            try:
                found = each.template.match(uri)
            except Unsafe as e:
                raise RpcError(PARAMS, str(e)) from None
            if found is not None:
                return each, found
        return None

    def _resources_read(self, id_: Any, params: Json) -> bytes | None:
        uri = params.get("uri")
        if type(uri) is not str:
            raise RpcError(PARAMS, "uri must be a text")
        file = self.workspace.knowledge.get(uri)
        if file is not None:
            return self._knowledge(file)
        found = self._find(uri)
        if found is None:
            raise RpcError(NO_RESOURCE, f"Unknown resource: {uri}", {"uri": uri})
        component, arguments = found
        call = Call(self, id_, params)

        def finish(run: Callable[[], Any]) -> bytes:
            return self._answer(component, lambda: results.resource(run(), uri, component.mime))

        return self.start(component, arguments, call, finish)

    def _knowledge(self, file: Any) -> bytes:
        try:
            return encode(knowledge.read(file, self.workspace.options.max_file_bytes))
        except FileNotFoundError:
            raise RpcError(NO_RESOURCE, f"The file of {file.uri} is gone") from None
        except (OSError, ValueError) as e:
            raise RpcError(INTERNAL, f"The file of {file.uri} cannot be read: {e}") from None

    def _prompts_get(self, id_: Any, params: Json) -> bytes | None:
        name, arguments = params.get("name"), params.get("arguments") or {}
        component = self.workspace.prompts.get(name) if type(name) is str else None
        if component is None:
            raise RpcError(PARAMS, f"Unknown prompt: {name}")
        if type(arguments) is not dict:
            raise RpcError(PARAMS, "arguments must be an object")
        call = Call(self, id_, params)
        said = component.definition.get("description")

        def finish(run: Callable[[], Any]) -> bytes:
            return self._answer(component, lambda: results.prompt(run(), said))

        given = running.prompt_arguments(component, arguments)
        return self.start(component, given, call, finish)

    def _answer(self, component: Component, make: Callable[[], Json]) -> bytes:
        """The result of a resource or a prompt. Raises RpcError."""
        try:
            return encode(make())
        except Invalid as e:
            raise RpcError(PARAMS, running.problems(component.label, e)) from None
        except CallTimedOut:
            raise RpcError(INTERNAL, f"The {component.label} did not finish in time") from None
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            running.log_error(component, e)
            masked = self.workspace.options.mask_errors
            raise RpcError(INTERNAL, told(e, component.label, masked, "reading")) from None

    def _complete(self, id_: Any, params: Json) -> bytes:
        return encode({"completion": completion.complete(self.workspace, params)})

    # ---- What a context asks of its own workspace

    async def read(self, uri: str, call: Call) -> Json | None:
        """A resource, for a tool; None when there is none."""
        file = self.workspace.knowledge.get(uri)
        if file is not None:
            return knowledge.read(file, self.workspace.options.max_file_bytes)
        found = self._find(uri)
        if found is None:
            return None
        component, arguments = found
        value = await asyncio.create_task(running.call_async(component, arguments, call))
        return results.resource(value, uri, component.mime)

    async def prompt(self, name: str, arguments: Json, call: Call) -> Json:
        component = self.workspace.prompts.get(name)
        if component is None:
            raise ToolError(f"Unknown prompt: {name}")
        given = running.prompt_arguments(component, arguments)
        value = await asyncio.create_task(running.call_async(component, given, call))
        return results.prompt(value, component.definition.get("description"))


def _outcome(value: Any, error: BaseException | None) -> Any:
    if error is not None:
        raise error
    return value


def serve(
    workspace: Workspace, reader_fd: int, writer_fd: int, limits: Limits | None = None
) -> None:
    """Serves one connection until its peer closes. Moves fd 1 to stderr first when it is not the
    connection's; what is printed becomes lines of the log. Once a process."""
    logs.install(workspace.options.log_level)
    if 1 in (reader_fd, writer_fd):
        moved = os.dup(1)
        reader_fd, writer_fd = (moved if fd == 1 else fd for fd in (reader_fd, writer_fd))
    os.dup2(2, 1)
    if limits is not None:
        running.limit_process(limits.memory_mb, limits.cpu_seconds)
    try:
        Server(workspace, Wire(reader_fd, writer_fd)).run()
    finally:
        logs.finish()
