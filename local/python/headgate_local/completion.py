"""`completion/complete`: the values that a prompt's or a template's parameter can have, when its
type says."""

from __future__ import annotations

from .composites import Json
from .errors import PARAMS, RpcError
from .loader import choices
from .workspace import Component, Workspace

LONGEST = 100


def complete(workspace: Workspace, params: Json) -> Json:
    ref, argument = params.get("ref"), params.get("argument")
    if not isinstance(ref, dict) or not isinstance(argument, dict):
        raise RpcError(PARAMS, "ref and argument must be objects")
    component: Component | None = None
    if ref.get("type") == "ref/prompt":
        component = workspace.prompts.get(str(ref.get("name")))
    elif ref.get("type") == "ref/resource":
        component = workspace.templates.get(str(ref.get("uri")))
    if component is None:
        raise RpcError(PARAMS, "ref names nothing that is there")
    name, begun = argument.get("name"), str(argument.get("value", ""))
    found: list[str] = []
    for each in component.signature.parameters:
        if each.name == name:
            hint = component.signature.hints.get(each.key)
            found = [value for value in choices(hint) if value.startswith(begun)]
    return {
        "values": found[:LONGEST],
        "total": len(found),
        "hasMore": len(found) > LONGEST,
    }
