"""Signatures with models and types of pydantic 2, which has to be installed."""

import datetime as dt
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, TypeVar

import annotated_types
import pydantic
from pydantic import (
    AfterValidator,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PositiveInt,
    SecretStr,
    StrictInt,
    StringConstraints,
    computed_field,
    field_validator,
)
from typing_extensions import TypedDict

T = TypeVar("T")


class Point(BaseModel):
    """A point."""

    x: int
    y: int = 0


class Place(BaseModel):
    name: str = Field(description="What it is called", min_length=1)
    at: Point
    tags: list[str] = Field(default_factory=list, max_length=3)
    note: str | None = None


class Node(BaseModel):
    value: int
    children: list["Node"] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int


class Aliased(BaseModel):
    from_: str = Field(alias="from")
    to: str


class Validated(BaseModel):
    even: int

    @field_validator("even")
    @classmethod
    def check(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value


class Computed(BaseModel):
    x: int

    @computed_field
    @property
    def double(self) -> int:
        return self.x * 2


class Page(BaseModel, Generic[T]):
    items: list[T]
    total: int = 0


@dataclass
class Holder:
    point: Point
    points: list[Point] = field(default_factory=list)


class Wrapper(TypedDict):
    point: Point


@pydantic.dataclasses.dataclass
class Checked:
    a: int
    b: str = "x"


def even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


def model(a: Point) -> Point: ...
def model_nested(a: Place) -> Place: ...
def model_list(a: list[Point]) -> list[Point]: ...
def model_optional(a: Point | None = None) -> Point | None: ...
def model_default(a: Point = Point(x=1)): ...
def model_dict(a: dict[str, Point]) -> dict[str, Point]: ...
def model_described(a: Annotated[Point, Field(description="Where")]): ...
def model_recursive(a: Node): ...
def model_recursive_result() -> Node: ...
def model_union(a: Point | Strict): ...
def model_discriminated(a: Annotated[Cat | Dog, Field(discriminator="kind")]): ...
def model_strict(a: Strict): ...
def model_aliased(a: Aliased): ...
def model_validated(a: Validated): ...
def model_computed(a: Computed) -> Computed: ...
def model_generic(a: Page[int]) -> Page[int]: ...
def model_generic_object(a: Page[Point]): ...
def model_in_dataclass(a: Holder) -> Holder: ...
def model_in_typed_dict(a: Wrapper): ...
def pydantic_dataclass(a: Checked) -> Checked: ...
def positive(a: PositiveInt): ...
def strict_integer(a: StrictInt): ...
def strict_field(a: Annotated[int, Field(strict=True)]): ...
def url(a: AnyUrl): ...
def secret(a: SecretStr): ...
def json_text(a: Json[list[int]]): ...
def constrained(a: Annotated[str, StringConstraints(pattern="^[a-z]$", min_length=1)]): ...
def stripped(a: Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True)]): ...
def after(a: Annotated[int, AfterValidator(even)]): ...
def before(a: Annotated[int, BeforeValidator(lambda v: v or 0)]): ...
def annotated_types_ge(a: Annotated[int, annotated_types.Ge(1)]): ...
def annotated_types_interval(a: Annotated[int, annotated_types.Interval(ge=1, le=5)]): ...
def annotated_types_len(a: Annotated[list[int], annotated_types.Len(1, 3)]): ...
def field_both(a: Annotated[int, Field(ge=1)] = Field(2, le=5)): ...
def field_alias(a: Annotated[int, Field(description="n", ge=0)] = 0) -> Any: ...
def moment(a: Annotated[dt.datetime, Field(description="When")]): ...
