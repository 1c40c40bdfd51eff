"""The client of PyPI's mcp package, driven as steps.mjs says: a plan as JSON in the first argument,
the outcomes of its steps as one line of JSON on stdout. mode: "auto", "legacy" or a revision."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
from mcp.client.client import Client


async def pages(fetch: Callable[..., Awaitable[Any]], key: str) -> list[Any]:
    out: list[Any] = []
    cursor = None
    while True:
        page = await fetch(cursor=cursor)
        out += getattr(page, key)
        cursor = page.next_cursor
        if cursor is None:
            return out


async def step(client: Client, what: str, name: Any = None, args: Any = None) -> Any:
    match what:
        case "tools":
            return [t.name for t in await pages(client.list_tools, "tools")]
        case "prompts":
            return [p.name for p in await pages(client.list_prompts, "prompts")]
        case "resources":
            return [str(r.uri) for r in await pages(client.list_resources, "resources")]
        case "call":
            progress: list[float] = []

            async def told(value: float, total: float | None, message: str | None) -> None:
                progress.append(value)

            result = await client.call_tool(name, args or {}, progress_callback=told)
            return plain(result) | {"progress": progress}
        case "read":
            return plain(await client.read_resource(name))
        case "prompt":
            return plain(await client.get_prompt(name, args or {}))
    raise ValueError(f"no step {what}")


def plain(model: Any) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def elicited(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=PLAN.get("elicit") or {})


async def sampled(context: Any, params: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", content=content, model="e2e")


async def rooted(context: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///srv/e2e", name="e2e")])


async def main() -> None:
    results: list[dict[str, Any]] = []
    asks = {
        "elicitation_callback": elicited,
        "sampling_callback": sampled,
        "list_roots_callback": rooted,
    }
    async with Client(PLAN["url"], mode=PLAN.get("mode", "auto"), **asks) as client:
        for one in PLAN["steps"]:
            try:
                results.append({"ok": await step(client, *one)})
            except Exception as e:
                code = getattr(getattr(e, "error", None), "code", None)
                results.append({"error": str(e), "code": code})
    print(json.dumps(results))


PLAN = json.loads(sys.argv[1])
anyio.run(main)
