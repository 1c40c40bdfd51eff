"""What a docstring says of each parameter, in the styles of Google, NumPy and reST (Sphinx)."""

from __future__ import annotations

import inspect
import re

# Headings of Google's and NumPy's style; only those of the first line hold parameters.
PARAMETERS = ("args", "arguments", "parameters", "params", "other parameters", "keyword args",
              "keyword arguments", "attributes")  # fmt: skip
OTHERS = ("returns", "return", "raises", "yields", "yield", "example", "examples", "note", "notes",
          "warning", "warnings", "warns", "see also", "references", "todo", "methods",
          "receives")  # fmt: skip

GOOGLE_ENTRY = re.compile(
    r"(\*{0,2}\w+(?:, *\*{0,2}\w+)*)(?: *\([^)]*(?:\([^)]*\)[^)]*)*\))? *: *(.*)"
)
NUMPY_ENTRY = re.compile(r"(\*{0,2}\w+(?:, *\*{0,2}\w+)*)(?: *:.*)?")
REST_ENTRY = re.compile(
    r":(?:param|parameter|arg|argument|key|keyword)(?: [^:]*?)?\s\*{0,2}(\w+) *: *(.*)"
)
REST_ANY = re.compile(r":\w+[^:]*:")


def parameters(doc: str | None) -> dict[str, str]:
    """Descriptions by the parameter's name; no entry for one that is not described."""
    if not doc or len(doc) > 100_000:
        return {}
    lines = inspect.cleandoc(doc).split("\n")
    out: dict[str, str] = {}
    i = 0
    while i < len(lines):
        title = lines[i].strip().rstrip(":").lower()
        ruled = i + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[i + 1].strip()) is not None
        rest = REST_ENTRY.match(lines[i].strip())
        if rest is not None:
            i = _entry(lines, i + 1, _indent(lines[i]), rest.group(1), rest.group(2), out)
        elif title in PARAMETERS and ruled:
            i = _section(lines, i + 2, NUMPY_ENTRY, out)
        elif title in PARAMETERS and lines[i].rstrip().endswith(":"):
            i = _section(lines, i + 1, GOOGLE_ENTRY, out)
        else:
            i += 1
    return out


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _section(lines: list[str], i: int, pattern: re.Pattern[str], out: dict[str, str]) -> int:
    """Reads the entries of a section; answers where it ends."""
    numpy = pattern is NUMPY_ENTRY
    base = None
    while i < len(lines):
        line = lines[i]
        if not line.strip():
            i += 1
            continue
        if base is None:
            base = _indent(line)
            if not numpy and base == 0:
                return i
        if _indent(line) < base or _heading(lines, i):
            return i
        found = pattern.fullmatch(line.strip()) if _indent(line) == base else None
        if found is None:
            i += 1
            continue
        first = "" if numpy else found.group(2)
        i = _entry(lines, i + 1, base, found.group(1), first, out)
    return i


def _heading(lines: list[str], i: int) -> bool:
    title = lines[i].strip().lower()
    ruled = i + 1 < len(lines) and re.fullmatch(r"-{3,}", lines[i + 1].strip()) is not None
    return ruled or (title.endswith(":") and title[:-1] in (*OTHERS, *PARAMETERS))


def _entry(lines: list[str], i: int, base: int, names: str, first: str, out: dict[str, str]) -> int:
    """Adds an entry with the deeper lines that follow it; answers where the next one starts."""
    parts = [first.strip()] if first.strip() else []
    while i < len(lines):
        line = lines[i]
        if line.strip() and (_indent(line) <= base or REST_ANY.match(line.strip())):
            break
        if not line.strip() and _ends(lines, i, base):
            break
        if line.strip():
            parts.append(line.strip())
        i += 1
    if parts:
        for name in names.split(","):
            out.setdefault(name.strip().lstrip("*"), " ".join(parts))
    return i


def _ends(lines: list[str], i: int, base: int) -> bool:
    """Whether after the blank lines from here nothing of the entry follows."""
    rest = next((line for line in lines[i:] if line.strip()), "")
    return not rest or _indent(rest) <= base
