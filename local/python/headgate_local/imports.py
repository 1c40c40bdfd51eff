"""What a file of the workspace may import: `fastmcp` (ours), stand-ins for what is absent, its
siblings, and installed packages. Files are loaded as `dynamic.<folder>.<stem>`, once, however they
are imported."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import site
import sys
from types import ModuleType
from typing import Any, ClassVar

SHIMS = pathlib.Path(__file__).parent / "shims"


def prepare(framework: str, sites: tuple[str, ...]) -> None:
    """Sets the module search path. Ours of `fastmcp` comes first unless the installed one is
    wanted; `mcp`, `pydantic` and `typing_extensions` come last, so that an installed one is never
    shadowed."""
    for folder in sites:
        site.addsitedir(folder)
    for entry in (str(SHIMS / "framework"), str(SHIMS / "absent")):
        if entry in sys.path:
            sys.path.remove(entry)
    if framework == "shim":
        sys.path.insert(0, str(SHIMS / "framework"))
    else:
        sys.path.append(str(SHIMS / "framework"))
    sys.path.append(str(SHIMS / "absent"))


class Siblings(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Last among the finders: `import other` in tools/x.py finds tools/other.py, as the module that
    the workspace serves, and packages beside it."""

    # What was imported so, for forget().
    found: ClassVar[set[str]] = set()

    def __init__(self, folders: list[pathlib.Path]) -> None:
        self.folders = folders

    def install(self) -> None:
        sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, Siblings)]
        sys.meta_path.append(self)

    def find_spec(
        self, name: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is not None or "." in name:
            return None
        for folder in self.folders:
            file = folder / f"{name}.py"
            if file.is_file():
                self.found.add(name)
                return importlib.machinery.ModuleSpec(name, self, origin=str(file))
            spec = importlib.machinery.PathFinder.find_spec(name, [str(folder)])
            if spec is not None and spec.origin is not None:
                self.found.add(name)
                return spec
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        file = pathlib.Path(spec.origin or "")
        return load(file, f"dynamic.{file.parent.name}.{file.stem}")

    def exec_module(self, module: ModuleType) -> None:
        """It ran when it was made."""


def load(file: pathlib.Path, name: str) -> ModuleType:
    """The module of a file, run once. Raises whatever it raises."""
    there = sys.modules.get(name)
    if there is not None and getattr(there, "__file__", None) == str(file):
        return there
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def forget() -> None:
    """Drops what an earlier load left, so that the next one reads the files again."""
    roots = Siblings.found | {"dynamic"}
    for name in [each for each in sys.modules if each.partition(".")[0] in roots]:
        del sys.modules[name]
    Siblings.found.clear()
    importlib.invalidate_caches()
