"""The other side of the connection: what is sent to it, what is asked of it, and the session state
that it may keep for us. Used from the main thread and from the loop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .call import Call
from .composites import Json
from .errors import INTERNAL, REQUEST, RpcError, ToolError
from .plain import encode

RELATED, STATE = "dev.headgate/request", "dev.headgate/state"


class Peer:
    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.loop: asyncio.AbstractEventLoop | None = None
        self.capabilities: Json = {}
        self.keeps_state = False
        self.state: dict[tuple[str, str], Any] = {}
        self.asked: dict[int, asyncio.Future[Json]] = {}
        self.last_asked = 0

    def introduced(self, capabilities: Json) -> None:
        """What the peer said of itself in `initialize`."""
        self.capabilities = capabilities
        experimental = capabilities.get("experimental")
        self.keeps_state = isinstance(experimental, dict) and STATE in experimental

    def reply(self, id_: Any, result: bytes) -> None:
        number = b"%d" % id_ if type(id_) is int else encode(id_)
        self._write(b'{"jsonrpc":"2.0","id":%b,"result":%b}\n' % (number, result))

    def error(self, id_: Any, error: RpcError) -> None:
        self.send({"jsonrpc": "2.0", "id": id_, "error": error.body()})

    def send(self, message: Json) -> None:
        self._write(encode(message) + b"\n")

    def tell(self, method: str, params: Json, call: Call | None) -> None:
        """A notification; of a call, when it is one that is not its progress."""
        if call is not None:
            params = {**params, "_meta": {RELATED: call.id}}
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    async def ask(self, method: str, params: Json, call: Call) -> Json:
        """The peer's answer. Raises ToolError when it refuses; cancelled, it cancels the
        request."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            raise RuntimeError("only an async function can ask the client: write async def")
        self.last_asked += 1
        number = self.last_asked
        future: asyncio.Future[Json] = loop.create_future()
        self.asked[number] = future
        params = {**params, "_meta": {RELATED: call.id}}
        self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        try:
            return await future
        except asyncio.CancelledError:
            if number in self.asked:
                self.tell("notifications/cancelled", {"requestId": number}, None)
            raise
        except RpcError as e:
            raise ToolError(f"The client refused {method}: {e.message}") from None
        finally:
            self.asked.pop(number, None)

    def answered(self, message: Json) -> None:
        number = message.get("id")
        future = self.asked.pop(number, None) if type(number) is int else None
        if future is None or future.done():
            return
        error = message.get("error")
        result = message.get("result")
        if isinstance(error, dict):
            code, text = error.get("code"), str(error.get("message"))
            future.set_exception(RpcError(code if isinstance(code, int) else INTERNAL, text))
        elif isinstance(result, dict):
            future.set_result(result)
        else:
            future.set_exception(RpcError(REQUEST, "the answer is no object"))

    async def state_get(self, call: Call, key: str) -> Any:
        if not self.keeps_state:
            return self.state.get((call.session, key))
        found = await self.ask(f"{STATE}/get", {"session": call.session, "key": key}, call)
        return found.get("value")

    async def state_set(self, call: Call, key: str, value: Any) -> None:
        if not self.keeps_state:
            self.state[call.session, key] = value
            return
        params = {"session": call.session, "key": key, "value": value}
        await self.ask(f"{STATE}/set", params, call)

    async def state_delete(self, call: Call, key: str) -> None:
        if not self.keeps_state:
            self.state.pop((call.session, key), None)
            return
        await self.ask(f"{STATE}/delete", {"session": call.session, "key": key}, call)
