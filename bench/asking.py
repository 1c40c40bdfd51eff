"""A 2025-11-25 server whose every call asks the user something and waits; for eras.py.

Prints {"port":N}. One event stream a call: the question, and after the answer the result.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

INFO = {"name": "asking", "version": "1"}
TOOL = {"name": "ask", "inputSchema": {"type": "object"}}
QUESTION = {
    "message": "Which one?",
    "requestedSchema": {"type": "object", "properties": {"which": {"type": "string"}}},
}
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

answered: dict[int, asyncio.Event] = {}
numbers = itertools.count(1)


def reply(status: str, body: bytes = b"", more: str = "") -> bytes:
    fields = f"Content-Type: application/json\r\n{more}Content-Length: {len(body)}"
    return f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n".encode() + body


def message(**fields: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0"} | fields, separators=(",", ":")).encode()


def event(body: bytes) -> bytes:
    data = b"data: " + body + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


async def call(writer: asyncio.StreamWriter, id_: Any) -> None:
    number = next(numbers)
    answered[number] = asyncio.Event()
    question = message(id=number, method="elicitation/create", params=QUESTION)
    writer.write(STREAM + event(question))
    await answered[number].wait()
    del answered[number]
    result = {"content": [{"type": "text", "text": "answered"}]}
    writer.write(event(message(id=id_, result=result)) + b"0\r\n\r\n")


async def take(writer: asyncio.StreamWriter, verb: str, body: bytes) -> None:
    asked = json.loads(body) if body else {}
    method, id_ = asked.get("method"), asked.get("id")
    results = {
        "initialize": {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": INFO,
        },
        "tools/list": {"tools": [TOOL]},
        "ping": {},
    }
    if verb != "POST":
        writer.write(reply("405 Method Not Allowed" if verb == "GET" else "200 OK"))
    elif method is None:
        answered[id_].set()
        writer.write(reply("202 Accepted"))
    elif id_ is None:
        writer.write(reply("202 Accepted"))
    elif method == "tools/call":
        await call(writer, id_)
    elif method in results:
        body = message(id=id_, result=results[method])
        writer.write(reply("200 OK", body, "Mcp-Session-Id: s\r\n"))
    else:
        error = {"code": -32601, "message": "Method not found"}
        writer.write(reply("400 Bad Request", message(id=id_, error=error)))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = [line.partition(":") for line in head.lower().split("\r\n")]
            length = next((int(v) for n, _, v in lines if n == "content-length"), 0)
            body = await reader.readexactly(length)
            await take(writer, head.split(" ", 1)[0], body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


asyncio.run(main())
