"""The context of a call, as a tool sees it: `ctx: Context`. All that reaches out is a coroutine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import asking, sampling
from .composites import Json
from .content import Found, ResourceContent
from .errors import NotFoundError, ToolError
from .plain import NotPlain, plain
from .stubs import FastMCP

if TYPE_CHECKING:
    from .call import Call
    from .server import Server

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


class Context:
    """One per call. Not made by tools: it comes as a parameter, or from `get_context()`."""

    __slots__ = ("_server", "_call", "_own")

    def __init__(self, server: Server, call: Call) -> None:
        self._server, self._call = server, call
        self._own: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"<Context of request {self.request_id} in session {self.session_id}>"

    # ---- Who and what

    @property
    def request_id(self) -> str:
        return str(self._call.id)

    @property
    def session_id(self) -> str:
        return self._call.session

    @property
    def client_id(self) -> str | None:
        said = self._call.caller.get("client") or self._call.meta.get("client_id")
        return said if isinstance(said, str) else None

    @property
    def principal(self) -> str | None:
        said = self._call.caller.get("principal")
        return said if isinstance(said, str) and said else None

    @property
    def tenant(self) -> str | None:
        said = self._call.caller.get("tenant")
        return said if isinstance(said, str) and said else None

    @property
    def transport(self) -> str:
        return "stdio"

    @property
    def lifespan_context(self) -> Json:
        return {}

    @property
    def is_background_task(self) -> bool:
        return False

    @property
    def task_id(self) -> None:
        return None

    @property
    def origin_request_id(self) -> str:
        return self.request_id

    @property
    def cancelled(self) -> bool:
        """Whether the client has given the call up. An async tool is cancelled then anyway."""
        return self._call.done

    @property
    def meta(self) -> Json:
        """The request's `_meta`."""
        return self._call.meta

    @property
    def request_context(self) -> Context:
        return self

    @property
    def session(self) -> Context:
        return self

    @property
    def fastmcp(self) -> FastMCP:
        return FastMCP(self._server.workspace.options.name)

    def client_supports_extension(self, identifier: str) -> bool:
        found = self._server.peer.capabilities.get("extensions")
        return isinstance(found, dict) and identifier in found

    # ---- Logs and progress

    async def log(
        self,
        message: str,
        level: str = "info",
        logger_name: str | None = None,
        extra: Any = None,
    ) -> None:
        if level not in LEVELS:
            raise ValueError(f"level is one of {', '.join(LEVELS)}, not {level!r}")
        if LEVELS.index(level) < self._server.level:
            return
        params: Json = {"level": level, "data": {"msg": str(message), "extra": _plain(extra)}}
        if logger_name is not None:
            params["logger"] = logger_name
        self._server.peer.tell("notifications/message", params, self._call)

    async def debug(self, message: str, logger_name: str | None = None, extra: Any = None) -> None:
        await self.log(message, "debug", logger_name, extra)

    async def info(self, message: str, logger_name: str | None = None, extra: Any = None) -> None:
        await self.log(message, "info", logger_name, extra)

    async def warning(
        self, message: str, logger_name: str | None = None, extra: Any = None
    ) -> None:
        await self.log(message, "warning", logger_name, extra)

    async def error(self, message: str, logger_name: str | None = None, extra: Any = None) -> None:
        await self.log(message, "error", logger_name, extra)

    async def report_progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Says how far the call is; nothing happens when the client did not ask for it."""
        token = self._call.meta.get("progressToken")
        if token is None or self._call.done:
            return
        params: Json = {"progressToken": token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        self._server.peer.tell("notifications/progress", params, None)

    # ---- State of the session

    async def get_state(self, key: str) -> Any:
        """What was set in this session, 24 hours at most; None when there is nothing."""
        if self._own and key in self._own:
            return self._own[key]
        return await self._server.peer.state_get(self._call, key)

    async def set_state(self, key: str, value: Any, *, serializable: bool = True) -> None:
        """Keeps a value for the session's next calls, wherever they run; what is no JSON only until
        this call ends, with `serializable=False`."""
        if not serializable:
            self._own = self._own or {}
            self._own[key] = value
            return
        try:
            made = plain(value)
        except NotPlain as e:
            raise TypeError(
                f"the value of {key!r} is no JSON ({e}); serializable=False keeps it for this call"
            ) from None
        if self._own:
            self._own.pop(key, None)
        await self._server.peer.state_set(self._call, key, made)

    async def delete_state(self, key: str) -> None:
        if self._own:
            self._own.pop(key, None)
        await self._server.peer.state_delete(self._call, key)

    # ---- The client

    async def sample(self, messages: Any, **options: Any) -> sampling.SamplingResult:
        """Asks the client's model; see sampling.sample."""
        return await sampling.sample(self, messages, **options)

    async def sample_step(self, messages: Any, **options: Any) -> sampling.SampleStep:
        """One round with the client's model, whose calls of tools are the caller's to run."""
        return await sampling.step(self, messages, **options)

    async def elicit(self, message: str, response_type: Any = None) -> Any:
        """Asks the user; `.action` of the answer is accept (with `.data`), decline or cancel."""
        form = asking.form(response_type)
        self.require("elicitation", "to answer questions")
        params = {"message": message, "requestedSchema": form.schema}
        return asking.answer(form, await self.ask("elicitation/create", params))

    async def list_roots(self) -> list[Any]:
        self.require("roots", "to name its roots")
        found = await self.ask("roots/list", {})
        return [asking.Root(**each) for each in found.get("roots", [])]

    def require(self, capability: str, what: str) -> None:
        if capability not in self._server.peer.capabilities:
            raise ToolError(f"The client is not able {what} (it lacks {capability})")

    async def ask(self, method: str, params: Json) -> Json:
        """A request to the client, which belongs to this call. Raises ToolError when it is
        refused."""
        return await self._server.peer.ask(method, params, self._call)

    async def send_notification(self, notification: Any) -> None:
        said = plain(notification)
        self._server.peer.tell(said["method"], said.get("params") or {}, None)

    async def close_sse_stream(self) -> None:
        """Nothing to do: the gateway looks after streams."""

    # ---- This workspace

    async def read_resource(self, uri: Any) -> Found:
        found = await self._server.read(str(uri), self._call)
        if found is None:
            raise NotFoundError(f"Unknown resource: {uri}")
        return Found(
            [
                ResourceContent(_content(each), each.get("mimeType"), each.get("_meta"))
                for each in found["contents"]
            ]
        )

    async def list_resources(self) -> list[Any]:
        return [asking.Listed(each) for each in self._server.workspace.definitions("resources")]

    async def list_prompts(self) -> list[Any]:
        return [asking.Listed(each) for each in self._server.workspace.definitions("prompts")]

    async def list_tools(self) -> list[Any]:
        return [asking.Listed(each) for each in self._server.workspace.definitions("tools")]

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None) -> Any:
        return asking.Listed(await self._server.prompt(name, arguments or {}, self._call))

    # ---- What the session sees

    async def enable_components(self, **which: Any) -> None:
        self._server.visibility.add(self._call.session, True, which)

    async def disable_components(self, **which: Any) -> None:
        self._server.visibility.add(self._call.session, False, which)

    async def reset_visibility(self) -> None:
        self._server.visibility.reset(self._call.session)


def _plain(value: Any) -> Any:
    try:
        return plain(value)
    except NotPlain:
        return str(value)


def _content(part: Json) -> Any:
    import base64

    return part["text"] if "text" in part else base64.b64decode(part["blob"])
