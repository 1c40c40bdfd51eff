from typing import Any

from headgate_local.stubs import missing

Textarea = str


def __getattr__(name: str) -> Any:
    return missing("fastmcp.types", name)
