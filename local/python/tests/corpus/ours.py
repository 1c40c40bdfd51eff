"""Prints what the runtime makes of the functions of a file, in the form of reference.py."""

from __future__ import annotations

import asyncio
import inspect
import json
import pathlib
import sys
from typing import Any

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

import probe  # noqa: E402
from headgate_local import imports, results, running, signatures  # noqa: E402
from headgate_local.call import Call  # noqa: E402
from headgate_local.options import Options  # noqa: E402
from headgate_local.server import Server  # noqa: E402
from headgate_local.shapes import SchemaError  # noqa: E402
from headgate_local.wire import Wire  # noqa: E402
from headgate_local.workspace import Component, Workspace  # noqa: E402


def main(path: str, *sites: str) -> None:
    imports.prepare("shim", sites)
    schemas, values, called = {}, {}, {}
    for name, function in probe.functions(path):
        try:
            signature = signatures.read(function)
        except SchemaError as e:
            schemas[name] = {"error": str(e)}
            continue
        output = results.output_schema(signature.hints.get("return", results.Any), [])
        if path.endswith("returned.py"):
            called[name] = call(function, signature, output)
            continue
        said = {"inputSchema": signature.schema, "outputSchema": output}
        said["description"] = inspect.getdoc(function)
        schemas[name] = {key: value for key, value in said.items() if value}
        for each in signature.parameters:
            if each.key == "a":
                values[name] = probe.outcomes(lambda value, take=each.check: take(value, False))
    json.dump({"schemas": schemas, "values": values, "results": called}, sys.stdout)


def call(function: Any, signature: Any, output: Any) -> Any:
    component = Component(
        "tool", function.__name__, function, signature, {}, "", convert=results.converter(output)
    )
    server = Server(Workspace("", Options()), Wire(0, 1))
    made = Call(server, 1, {})

    def run() -> Any:
        if signature.needs_loop:
            return asyncio.run(running.call_async(component, {}, made))
        return running.call_sync(component, {}, made)

    return json.loads(running.tool_answer(component, made, run))


main(*sys.argv[1:])
