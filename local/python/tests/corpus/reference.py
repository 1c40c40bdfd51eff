"""Prints what PyPI's fastmcp makes of the functions of a file: what it lists, and what it takes for
`a`. Run by the interpreter that has it."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import sys
from typing import Annotated, Any, get_type_hints

import probe
from fastmcp import Client, FastMCP
from mcp import types
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

WANTED = ("description", "inputSchema", "outputSchema")


async def listed(function: Any) -> dict[str, Any]:
    server = FastMCP("reference")
    try:
        server.tool(function)
        async with Client(server) as client:
            tool = (await client.list_tools())[0]
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}".split("\n")[0]}
    whole = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {key: whole[key] for key in WANTED if key in whole}


def taken(function: Any) -> Any:
    hints = get_type_hints(function, include_extras=True)
    default = inspect.signature(function).parameters["a"].default
    hint = hints.get("a", Any)
    if isinstance(default, FieldInfo):
        hint = Annotated[hint, default]
    return TypeAdapter(hint).validate_python


async def called(function: Any) -> Any:
    server = FastMCP("reference")
    try:
        server.tool(function)
    except Exception as e:
        return {"error": str(e).split("\n")[0]}
    async with Client(server) as client:
        # Not call_tool: the client refuses some of its own server's results.
        params = types.CallToolRequestParams(name=function.__name__, arguments={})
        request = types.ClientRequest(types.CallToolRequest(params=params))
        result = await client.session.send_request(request, types.CallToolResult)
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main(path: str) -> None:
    logging.disable(logging.CRITICAL)
    schemas, values, results = {}, {}, {}
    for name, function in probe.functions(path):
        if path.endswith("returned.py"):
            results[name] = await called(function)
            continue
        schemas[name] = await listed(function)
        if "a" in inspect.signature(function).parameters and "error" not in schemas[name]:
            values[name] = probe.outcomes(taken(function))
    json.dump({"schemas": schemas, "values": values, "results": results}, sys.stdout)


asyncio.run(main(sys.argv[1]))
