"""The requests that the bench sends, and what a right answer to each looks like."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
FIRST_ID = 1000000  # load.c looks for it and counts on from it
CALL_BYTES = 304
MARKER = "bench-ok"

META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class WrongAnswer(Exception):
    """A target answered, but not with what was asked for."""


@dataclass(frozen=True)
class Request:
    """One POST to /mcp: extra header fields and the JSON-RPC message."""

    headers: dict[str, str]
    body: bytes

    def fields(self) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **self.headers,
        }

    def wire(self, port: int) -> bytes:
        fields = {"Host": f"127.0.0.1:{port}", **self.fields(), "Content-Length": len(self.body)}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + self.body


def message(method: str, params: dict[str, object] | None, with_id: bool = True) -> bytes:
    msg: dict[str, object] = {"jsonrpc": "2.0"}
    if with_id:
        msg["id"] = FIRST_ID
    msg["method"] = method
    if params is not None:
        msg["params"] = params
    return json.dumps(msg, separators=(",", ":")).encode()


def request(method: str, params: dict[str, object], modern: bool, session: str | None) -> Request:
    """A request in either era, with the header fields that its revision wants."""
    if modern:
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if "name" in params:
            headers["Mcp-Name"] = str(params["name"])
        return Request(headers, message(method, {**params, "_meta": META}))
    headers = {"MCP-Protocol-Version": LEGACY}
    if session:
        headers["Mcp-Session-Id"] = session
    return Request(headers, message(method, params))


def tools_call(tool: str, modern: bool, session: str | None = None) -> Request:
    """A call whose message has CALL_BYTES, whatever the tool's name and the era are."""
    text = ""
    for _ in range(2):
        params = {"name": tool, "arguments": {"message": text}}
        made = request("tools/call", params, modern, session)
        text = "m" * (CALL_BYTES - len(made.body))
    assert len(made.body) == CALL_BYTES
    return made


def tools_list(modern: bool, session: str | None = None) -> Request:
    return request("tools/list", {}, modern, session)


def post(port: int, req: Request) -> tuple[int, dict[str, str], bytes]:
    """Sends on a connection of its own: status, header fields (lower case), body."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        conn.request("POST", "/mcp", body=req.body, headers=req.fields())
        answer = conn.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, fields, answer.read()
    finally:
        conn.close()


def result_of(port: int, req: Request) -> dict[str, object]:
    """The result of a request, parsed; WrongAnswer when there is none, or not ours."""
    status, fields, body = post(port, req)
    if status != 200:
        raise WrongAnswer(f"status {status}: {body[:200]!r}")
    if fields.get("content-type", "").startswith("text/event-stream"):
        data = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
        body = next((line for line in data if b'"id"' in line), b"")
    try:
        msg = json.loads(body)
    except ValueError as error:
        raise WrongAnswer(f"not JSON: {body[:200]!r}") from error
    if msg.get("id") != FIRST_ID or "result" not in msg:
        raise WrongAnswer(f"no result: {body[:200]!r}")
    return msg["result"]


def check_call(port: int, req: Request, modern: bool) -> None:
    result = result_of(port, req)
    text = str(result.get("content"))
    if MARKER not in text or result.get("isError"):
        raise WrongAnswer(f"not the stub's result: {text[:200]}")
    if modern and result.get("resultType") != "complete":
        raise WrongAnswer(f"resultType {result.get('resultType')!r}")


def check_list(port: int, req: Request, tools: int) -> None:
    result = result_of(port, req)
    listed = {tool["name"] for tool in result["tools"]}
    if len(listed) != tools or "nextCursor" in result:
        raise WrongAnswer(f"{len(listed)} tools of {tools}, nextCursor {result.get('nextCursor')}")


def open_session(port: int) -> str | None:
    """The legacy handshake; the session's id, if the server gives one."""
    client = {"name": "bench", "version": "1"}
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client}
    status, fields, body = post(port, Request({}, message("initialize", params)))
    if status != 200 or b'"result"' not in body:
        raise WrongAnswer(f"initialize: status {status}: {body[:200]!r}")
    session = fields.get("mcp-session-id")
    headers = {"MCP-Protocol-Version": LEGACY}
    if session:
        headers["Mcp-Session-Id"] = session
    ready = Request(headers, message("notifications/initialized", None, with_id=False))
    status, _, body = post(port, ready)
    if status != 202:
        raise WrongAnswer(f"notifications/initialized: status {status}: {body[:200]!r}")
    return session
