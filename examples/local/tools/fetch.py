"""An async tool that reaches out: other calls run while it waits, and a cancelled call stops it."""

import asyncio
import urllib.parse

from fastmcp.exceptions import ToolError

__timeout__ = 30
__max_output_size_kb__ = 500
__annotations_mcp__ = {"title": "Fetch a page", "readOnlyHint": True, "openWorldHint": True}


async def fetch_url(url: str) -> dict:
    """Fetches a page over plain HTTP and gives its status and its text."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ToolError("only http:// addresses")
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        head = f"GET {target} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.read()
    finally:
        writer.close()
    head_bytes, _, body = answer.partition(b"\r\n\r\n")
    status = head_bytes.split(b" ", 2)[1]
    return {"status": int(status), "text": body.decode(errors="replace")}
