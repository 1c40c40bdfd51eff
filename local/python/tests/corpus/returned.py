"""Functions without parameters: what each returns becomes a result."""

import datetime as dt
import decimal
import enum
import pathlib
import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastmcp.exceptions import ToolError
from fastmcp.tools import ToolResult
from fastmcp.utilities.types import Audio, File, Image
from mcp.types import (
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from typing_extensions import TypedDict


class Color(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: Any = None


class Movie(TypedDict):
    title: str


class Pair(NamedTuple):
    a: int
    b: str


def text():
    return "x"


def text_annotated() -> str:
    return "x"


def text_empty() -> str:
    return ""


def text_unicode() -> str:
    return "größe 名前 \U0001f600 \u2028"


def nothing():
    return None


def nothing_annotated() -> None:
    return None


def nothing_optional() -> int | None:
    return None


def integer():
    return 5


def integer_annotated() -> int:
    return 5


def integer_large() -> int:
    return 2**70


def number_annotated() -> float:
    return 0.1


def number_infinite() -> float:
    return float("inf")


def number_infinite_unannotated():
    return float("inf")


def number_nan() -> float:
    return float("nan")


def boolean():
    return True


def boolean_annotated() -> bool:
    return False


def raw():
    return b"abc"


def raw_annotated() -> bytes:
    return b"abc"


def raw_invalid():
    return b"\xff\xfe"


def objects():
    return {"a": 1, "b": [1, None]}


def objects_annotated() -> dict:
    return {"a": 1}


def objects_typed() -> dict[str, int]:
    return {"a": 1}


def objects_empty() -> dict:
    return {}


def objects_optional() -> dict | None:
    return {"a": 1}


def objects_optional_none() -> dict | None:
    return None


def objects_int_keys():
    return {1: "a", 2: "b"}


def objects_nested() -> dict[str, Any]:
    return {"when": dt.date(2026, 1, 31), "p": Point(1), "s": {1}}


def list_empty():
    return []


def list_empty_annotated() -> list:
    return []


def list_plain():
    return [1, "a", None]


def list_annotated() -> list[int]:
    return [1, 2]


def list_of_objects() -> list[dict]:
    return [{"a": 1}, {"b": 2}]


def list_of_points() -> list[Point]:
    return [Point(1), Point(2)]


def list_of_texts():
    return ["a", "b"]


def list_of_texts_annotated() -> list[str]:
    return ["a", "b"]


def list_nested():
    return [[1], [2]]


def tuple_plain():
    return (1, "a")


def tuple_annotated() -> tuple[int, str]:
    return (1, "a")


def set_annotated() -> set[int]:
    return {1}


def point():
    return Point(1)


def point_annotated() -> Point:
    return Point(1, 2)


def point_optional() -> Point | None:
    return Point(1)


def typed_dict() -> Movie:
    return {"title": "t"}


def named_tuple() -> Pair:
    return Pair(1, "b")


def enumeration() -> Color:
    return Color.RED


def enumeration_unannotated():
    return Color.RED


def moment() -> dt.datetime:
    return dt.datetime(2026, 1, 31, 12, 30, tzinfo=dt.UTC)


def moment_unannotated():
    return dt.datetime(2026, 1, 31, 12, 30, 15, 500000)


def day():
    return dt.date(2026, 1, 31)


def duration() -> dt.timedelta:
    return dt.timedelta(days=1, hours=2, seconds=3.5)


def unique_id():
    return uuid.UUID(int=1)


def path():
    return pathlib.Path("x/y")


def decimal_number() -> decimal.Decimal:
    return decimal.Decimal("1.50")


def image():
    return Image(data=b"png")


def image_annotated() -> Image:
    return Image(data=b"jpg", format="jpeg")


def image_path():
    return Image(path="pixel.gif")


def images():
    return [Image(data=b"a"), Image(data=b"b")]


def image_and_text():
    return ["a picture:", Image(data=b"png")]


def image_and_object():
    return [{"a": 1}, Image(data=b"png"), 5]


def audio():
    return Audio(data=b"wav")


def audio_format():
    return Audio(data=b"mp3", format="mp3")


def file_binary():
    return File(data=b"\x00\x01", format="pdf", name="report")


def file_text():
    return File(data=b"hello", format="plain")


def block():
    return TextContent(type="text", text="x")


def block_annotated() -> TextContent:
    return TextContent(type="text", text="x")


def blocks():
    return [
        TextContent(type="text", text="x"),
        ImageContent(type="image", data="eA==", mimeType="image/png"),
    ]


def embedded():
    return EmbeddedResource(
        type="resource", resource=TextResourceContents(uri="a://b", text="t", mimeType="text/plain")
    )


def link():
    return ResourceLink(type="resource_link", uri="a://b", name="n")


def result_text():
    return ToolResult(content="x")


def result_both():
    return ToolResult(content="x", structured_content={"a": 1}, meta={"k": "v"})


def result_structured():
    return ToolResult(structured_content={"a": 1})


def result_list():
    return ToolResult(content=["a", Image(data=b"p")])


def result_object():
    return ToolResult(content={"a": 1})


def result_annotated() -> ToolResult:
    return ToolResult(content=[TextContent(type="text", text="x")])


def generator():
    yield from (1, 2)


def odd_object():
    return Odd()


def odd_object_annotated() -> dict:
    return "a string"


def error():
    raise ToolError("told")


def error_plain():
    raise ValueError("the detail")


def error_empty():
    raise KeyError()


async def later() -> str:
    return "x"


class Odd:
    def __str__(self) -> str:
        return "odd"
