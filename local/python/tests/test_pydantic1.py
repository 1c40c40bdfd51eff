"""Models of pydantic 1, as Debian ships it: schemas are made to look like those of version 2."""

from __future__ import annotations

import sys
from typing import Any

import pytest

SITE = f"{sys.prefix}/pydantic1"

MODELS = {
    "tools/models.py": """
        from typing import Optional

        from pydantic import VERSION, BaseModel, Field, validator

        class Point(BaseModel):
            '''A point.'''
            x: int
            y: int = 0

        class Place(BaseModel):
            name: str = Field(..., description="What it is called", min_length=1)
            at: Point
            note: Optional[str] = None
            other: Optional[Point] = None

            @validator("name")
            def no_blanks(cls, value):
                if " " in value:
                    raise ValueError("no blanks")
                return value

        class Node(BaseModel):
            value: int
            children: list["Node"] = []

        def version() -> str:
            return VERSION

        def place(a: Place) -> Place:
            return a

        def places(a: list[Point]) -> list[Point]:
            return a

        def node(a: Node) -> int:
            return a.value

        def limited(a: int = Field(3, ge=1, le=5, description="n")) -> int:
            return a
    """
}
POINT = {
    "type": "object",
    "description": "A point.",
    "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
    "required": ["x"],
}


@pytest.fixture
def client(serve: Any) -> Any:
    return serve(MODELS, {"HEADGATE_PYTHON_SITE": SITE})


def test_the_models_are_those_of_version_1(client: Any) -> None:
    assert client.text("version").startswith("1.")


def test_schemas_have_no_titles_and_say_where_null_will_do(client: Any) -> None:
    tools = {each["name"]: each for each in client.request("tools/list")["tools"]}
    place = tools["place"]["inputSchema"]["properties"]["a"]
    assert place == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "What it is called", "minLength": 1},
            "at": POINT,
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "other": {"anyOf": [POINT, {"type": "null"}], "default": None},
        },
        "required": ["name", "at"],
    }
    assert tools["places"]["inputSchema"]["properties"]["a"] == {"type": "array", "items": POINT}
    node = tools["node"]["inputSchema"]
    assert node["properties"]["a"] == {"$ref": "#/$defs/Node"}
    assert node["$defs"]["Node"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert tools["limited"]["inputSchema"]["properties"]["a"] == {
        "type": "integer", "default": 3, "minimum": 1, "maximum": 5, "description": "n"
    }  # fmt: skip


def test_values_become_models_and_models_become_results(client: Any) -> None:
    result = client.call("place", a={"name": "n", "at": {"x": "1"}})
    assert result["structuredContent"] == {
        "name": "n", "at": {"x": 1, "y": 0}, "note": None, "other": None
    }  # fmt: skip
    assert client.call("places", a=[{"x": 1}])["structuredContent"]["result"] == [{"x": 1, "y": 0}]
    assert client.text("node", a={"value": 1, "children": [{"value": 2}]}) == "1"
    assert client.text("limited") == "3"


def test_what_is_wrong_is_named_with_its_place(client: Any) -> None:
    text = client.error("place", a={"name": "a b", "at": {"x": "q"}})
    assert "a.name: no blanks" in text and "a.at.x:" in text
    assert "a: must be at most 5" in client.error("limited", a=6)
