"""Where the runtime answers other than PyPI's fastmcp on purpose, and why. compare.py turns what
fastmcp says into what is expected with these, and fails on any difference that is not here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

WRAPPER = "Generic wrapper for non-object return types."


def without(schema: Any, unwanted: Callable[[str, Any], bool], members: bool = False) -> Any:
    """The schema without some keywords; names of properties are no keywords."""
    if isinstance(schema, list):
        return [without(each, unwanted) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without(value, unwanted, key in ("properties", "$defs"))
        for key, value in schema.items()
        if members or not unwanted(key, value)
    }


# (what differs, why, which keyword goes)
EVERYWHERE: list[tuple[str, str, Callable[[str, Any], bool]]] = [
    (
        "a `title` that nobody wrote",
        "fastmcp removes most generated titles and forgets some; they cost tokens and say nothing",
        lambda key, value: key == "title" and isinstance(value, str),
    ),
    (
        "the description of the object around a plain result",
        "it is the same text for all tools",
        lambda key, value: key == "description" and value == WRAPPER,
    ),
]

FROM_DOCSTRING = "a parameter's description is read from the docstring, as fastmcp 4 does"

# file, function, path into the schema, value, why
SCHEMAS: list[tuple[str, str, tuple[str, ...], Any, str]] = [
    *(
        ("native", f"described_{style}", ("inputSchema", "properties", name, "description"), text,
         FROM_DOCSTRING)
        for style in ("google", "numpy", "rest")
        for name, text in (
            ("path", "Where it is, from the root."),
            ("limit", "Lines at most" + (": all of them if 0." if style == "google" else ".")),
        )
    ),
    ("native", "described_twice", ("inputSchema", "properties", "b", "description"), "Another one",
     FROM_DOCSTRING),
    ("native", "annotated_title", ("inputSchema", "properties", "a", "title"), "The number",
     "a title that the author wrote is kept"),
]  # fmt: skip

ITERABLE = "fastmcp hands on an iterator, which fails when it is used; a list is checked before"
LITERAL = "fastmcp offers the value of an enumeration's member and then refuses it"

# (file, function, the values concerned or None for all, why): ours is taken as it is.
VALUES: list[tuple[str, str, list[Any] | None, str]] = [
    ("native", "iterable", None, ITERABLE),
    ("native", "literal_enum", ["red"], LITERAL),
]

RESULTS: dict[str, tuple[Any, str]] = {
    "raw_annotated": (
        {"content": [{"type": "text", "text": '"abc"'}], "isError": False},
        "bytes have no output schema, as in fastmcp 4",
    ),
    "raw_invalid": (
        {
            "content": [
                {
                    "type": "text",
                    "text": "the bytes are not UTF-8; return File(data=…) or Image(data=…)",
                }
            ],
            "isError": True,
        },
        "the text says what to do",
    ),
    "odd_object": (
        {"content": [{"type": "text", "text": "odd"}], "isError": False},
        "the text of an object is its text, not that in quotes",
    ),
    "odd_object_annotated": (
        {
            "content": [
                {
                    "type": "text",
                    "text": "The tool returned a str, but its annotation promises an object",
                }
            ],
            "isError": True,
        },
        "the text names the two sides of the contradiction",
    ),
}
