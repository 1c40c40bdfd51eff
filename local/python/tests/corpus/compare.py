"""Compares the runtime with PyPI's fastmcp over the functions of this folder, and writes what it
found: expected/*.json, which the tests hold the runtime to, and docs/local-differences.md. With
--check it writes nothing and fails when a file would change. A difference without a reason in
differences.py always fails."""

from __future__ import annotations

import argparse
import inspect
import json
import pathlib
import subprocess
import sys
from typing import Any

import differences
import probe

HERE = pathlib.Path(__file__).parent
PAGE = HERE.parents[3] / "docs" / "local-differences.md"
FILES = ("native", "models", "returned")


def run(python: str, script: str, *args: str) -> Any:
    done = subprocess.run([python, HERE / script, *args], capture_output=True)
    if done.returncode:
        sys.exit(f"{script}: {done.stderr.decode()[-2000:]}")
    return json.loads(done.stdout)


class Comparison:
    def __init__(self) -> None:
        self.rows: dict[str, list[str]] = {"schemas": [], "values": [], "results": []}
        self.counts: dict[str, int] = {"schemas": 0, "values": 0, "results": 0}
        self.unexplained: list[str] = []
        self.general: dict[str, list[str]] = {}

    def schemas(self, file: str, theirs: Any, ours: Any) -> Any:
        for name, schema in theirs.items():
            self.counts["schemas"] += 1
            for what, _, unwanted in differences.EVERYWHERE:
                less = differences.without(schema, unwanted)
                if less != schema:
                    self.general.setdefault(what, []).append(name)
                schema = less
            for where, function, path, value, why in differences.SCHEMAS:
                if (where, function) == (file, name):
                    self._patch(schema, path, value)
                    at = ".".join(path)
                    self.rows["schemas"].append(f"| `{name}` | `{at}` is `{value}` | {why} |")
            if schema != ours.get(name):
                self.unexplained.append(f"{name}\n  {schema}\n  {ours.get(name)}")
            theirs[name] = schema
        return theirs

    def _patch(self, schema: Any, path: tuple[str, ...], value: Any) -> None:
        *steps, last = path
        for each in steps:
            schema = schema[each]
        schema[last] = value

    def values(self, file: str, theirs: Any, ours: Any) -> Any:
        for name, outcomes in theirs.items():
            for i, (given, expected) in enumerate(zip(probe.VALUES, outcomes)):
                self.counts["values"] += 1
                got = ours[name][i]
                if got == expected:
                    continue
                why = self._value_reason(file, name, given)
                if why is None:
                    self.unexplained.append(f"{name}({given!r}): {expected} is {got}")
                    continue
                outcomes[i] = got
                shown = json.dumps(given, ensure_ascii=False)
                self.rows["values"].append(
                    f"| `{name}` | `{shown}` | {code(expected)} | {code(got)} | {why} |"
                )
        return theirs

    def _value_reason(self, file: str, name: str, given: Any) -> str | None:
        for where, function, concerned, why in differences.VALUES:
            if (where, function) == (file, name) and (concerned is None or given in concerned):
                return why
        return None

    def results(self, theirs: Any, ours: Any) -> Any:
        for name, result in theirs.items():
            self.counts["results"] += 1
            if name in differences.RESULTS:
                expected, why = differences.RESULTS[name]
                shown = [code(json.dumps(each, ensure_ascii=False)) for each in (result, expected)]
                self.rows["results"].append(f"| `{name}` | {shown[0]} | {shown[1]} | {why} |")
                theirs[name] = result = expected
            if result != ours.get(name):
                self.unexplained.append(f"{name}\n  {result}\n  {ours.get(name)}")
        return theirs

    def page(self, versions: str) -> str:
        """The page; iterators take one row, not one for each value."""
        values, seen = [], set()
        for row in self.rows["values"]:
            if "| `iterable` |" in row:
                if "iterable" in seen:
                    continue
                seen.add("iterable")
                row = "| `iterable` | any text, array or object | an iterator | a list | "
                row += f"{differences.ITERABLE} |"
            values.append(row)
        general = [
            f"| {what} | {why} | {len(self.general.get(what, []))} |"
            for what, why, _ in differences.EVERYWHERE
        ]
        return "\n".join(
            [
                "# Local tools: differences from FastMCP",
                "",
                f"Written by `./dev schemas`, which compares the runtime with {versions} over",
                "the functions of `local/python/tests/corpus`; one without a reason is a failure.",
                "Compared:",
                f"{self.counts['schemas']} signatures, {self.counts['values']} arguments, "
                f"{self.counts['results']} results.",
                "",
                "## Everywhere",
                "",
                "| what we leave out | why | signatures |",
                "|---|---|---|",
                *general,
                "",
                "## Schemas",
                "",
                "| signature | ours | why |",
                "|---|---|---|",
                *self.rows["schemas"],
                "",
                "## Arguments",
                "",
                "| signature | given | FastMCP | ours | why |",
                "|---|---|---|---|---|",
                *values,
                "",
                "## Results",
                "",
                "| function | FastMCP | ours | why |",
                "|---|---|---|---|",
                *self.rows["results"],
                "",
                "## Errors",
                "",
                "What is wrong with arguments is told in a line each, with its place and without",
                "the value; FastMCP prints pydantic's report, which repeats the values.",
                "An unknown tool is an error of the protocol (−32602), as MCP 2025-11-25 asks; "
                "FastMCP answers a result with `isError`.",
                "",
            ]
        )


def code(text: Any) -> str:
    return "refused" if text is None else f"`{text}`".replace("|", "\\|")


def compact(found: Any) -> str:
    """JSON with a line for each function. Of the values, those that are taken, by their number."""
    lines = []
    for kind, table in sorted(found.items()):
        for name, value in table.items():
            if kind == "values":
                value = {str(i): each for i, each in enumerate(value) if each is not None}
            lines.append(json.dumps([kind, name, value], ensure_ascii=False, sort_keys=True))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=inspect.getdoc(sys.modules[__name__]))
    parser.add_argument("python", help="the interpreter that has fastmcp")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    site = str(next(pathlib.Path(given.python).parents[1].glob("lib/python3*/site-packages")))
    comparison = Comparison()
    written: dict[pathlib.Path, str] = {}
    for file in FILES:
        path = str(HERE / f"{file}.py")
        theirs = run(given.python, "reference.py", path)
        ours = run("/usr/bin/python3", "ours.py", path, *([site] if file == "models" else []))
        made = {
            "schemas": comparison.schemas(file, theirs["schemas"], ours["schemas"]),
            "values": comparison.values(file, theirs["values"], ours["values"]),
            "results": comparison.results(theirs["results"], ours["results"]),
        }
        written[HERE / "expected" / f"{file}.json"] = compact(made)
    versions = run(given.python, "versions.py")
    written[PAGE] = comparison.page(versions)
    if comparison.unexplained:
        print("differences without a reason:", *comparison.unexplained, sep="\n")
        return 1
    stale = [p for p, text in written.items() if not p.exists() or p.read_text() != text]
    print(f"{comparison.counts}; all differences have a reason")
    if given.check and stale:
        print("out of date (run ./dev schemas):", *stale, sep="\n")
        return 1
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(written[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
