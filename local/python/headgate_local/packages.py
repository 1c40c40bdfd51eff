"""Tool packages: installed distributions with an entry point in the group `fastmcp_tools`, whose
object has a `TOOLS_DIR`. Their files are tools as if they were in tools/, named `<entry
point>_<file>`."""

from __future__ import annotations

import importlib.metadata
import pathlib

GROUP = "fastmcp_tools"


def files(warnings: list[str]) -> dict[str, pathlib.Path]:
    """The files by the name that they have in tools/. A package that fails is a warning."""
    out: dict[str, pathlib.Path] = {}
    for each in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name):
        try:
            folder = pathlib.Path(each.load().TOOLS_DIR)
            found = sorted(file for file in folder.iterdir() if file.suffix == ".py")
        except Exception as e:
            warnings.append(f"package {each.name}: {type(e).__name__}: {e}")
            continue
        for file in found:
            if file.name != "__init__.py":
                out[f"{each.name}_{file.name}"] = file
    return out
