"""The client of PyPI's mcp package, on a server that it starts: runs the plan in the first argument
(command, args, env, elicit, steps) and prints the outcomes as a line of JSON, as
tests/e2e/clients/stdio.mjs does."""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
import mcp_types as types
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters


def plain(model: Any) -> Any:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def step(client: Client, what: str, name: Any = None, args: Any = None) -> Any:
    match what:
        case "tools":
            return [t.name for t in (await client.list_tools()).tools]
        case "prompts":
            return [p.name for p in (await client.list_prompts()).prompts]
        case "resources":
            return [str(r.uri) for r in (await client.list_resources()).resources]
        case "templates":
            found = await client.list_resource_templates()
            return [r.uri_template for r in found.resource_templates]
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


async def elicited(context: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=PLAN["elicit"])


async def sampled(context: Any, params: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", content=content, model="tests")


async def main() -> None:
    server = StdioServerParameters(command=PLAN["command"], args=PLAN["args"], env=PLAN["env"])
    results: list[Any] = []
    asks = {"elicitation_callback": elicited, "sampling_callback": sampled}
    async with Client(server, mode="legacy", **asks) as client:
        for one in PLAN["steps"]:
            try:
                results.append({"ok": await step(client, *one)})
            except Exception as e:
                code = getattr(getattr(e, "error", None), "code", None)
                results.append({"error": str(e), "code": code})
    print(json.dumps(results))


PLAN = json.loads(sys.argv[1])
anyio.run(main)
