"""A stand-in for pydantic where it is not installed: `Field`, and models of fields. Validators,
configuration that changes values, and generics are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, get_origin, get_type_hints

from .constraints import MISSING
from .errors import ValidationError
from .plain import plain, text_of
from .scalars import Invalid


class FieldInfo:
    """What `Field(…)` said."""

    NAMES = ("alias", "title", "description", "examples", "gt", "ge", "lt", "le", "multiple_of",
             "min_length", "max_length", "pattern", "json_schema_extra", "deprecated", "strict",
             "validation_alias", "serialization_alias")  # fmt: skip

    def __init__(
        self, default: Any = MISSING, default_factory: Callable[[], Any] | None = None, **said: Any
    ) -> None:
        unknown = set(said) - {*self.NAMES, "repr", "frozen", "regex", "kw_only", "init", "exclude"}
        if unknown:
            raise TypeError(f"Field: {', '.join(sorted(unknown))} needs pydantic itself")
        if default is ...:
            default = MISSING
        self.default, self.default_factory = default, default_factory
        for name in self.NAMES:
            setattr(self, name, said.get(name))
        if said.get("regex") is not None:
            self.pattern = said["regex"]


def Field(default: Any = MISSING, **said: Any) -> Any:
    return FieldInfo(default, **said)


def ConfigDict(**said: Any) -> dict[str, Any]:
    return said


class BaseModel:
    """A model: annotated members, with defaults. Made by keyword; values are checked as arguments
    are."""

    model_config: ClassVar[dict[str, Any]] = {}
    _shape: ClassVar[Any] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        if options:
            cls.model_config = {**cls.model_config, **options}
        cls._shape = None

    @classmethod
    def __headgate_fields__(cls) -> dict[str, FieldInfo]:
        """The members, in order, with what is said of each."""
        out: dict[str, FieldInfo] = {}
        for owner in reversed(cls.__mro__):
            for name, hint in vars(owner).get("__annotations__", {}).items():
                if name.startswith("_") or name == "model_config" or "ClassVar" in str(hint):
                    continue
                given = vars(owner).get(name, MISSING)
                out[name] = given if isinstance(given, FieldInfo) else FieldInfo(given)
        for name, hint in get_type_hints(cls, include_extras=True).items():
            if name in out and get_origin(hint) is not None:
                for said in getattr(hint, "__metadata__", ()):
                    if isinstance(said, FieldInfo) and out[name].default is MISSING:
                        out[name].default = said.default
                        out[name].default_factory = said.default_factory
                        out[name].alias = out[name].alias or said.alias  # type: ignore[attr-defined]
        return out

    @classmethod
    def __headgate_extra__(cls) -> str | None:
        found = cls.model_config.get("extra")
        return found if isinstance(found, str) else None

    @classmethod
    def __headgate_make__(cls, values: dict[str, Any]) -> Any:
        """An instance of values that are checked already."""
        made = cls.__new__(cls)
        for name, info in cls.__headgate_fields__().items():
            if name in values:
                value = values[name]
            elif info.default_factory is not None:
                value = info.default_factory()
            else:
                value = _copied(info.default)
            setattr(made, name, value)
        return made

    def __init__(self, **given: Any) -> None:
        self.__dict__.update(vars(self._made(given)))

    @classmethod
    def _made(cls, given: Any) -> Any:
        from .shapes import Builder

        if cls._shape is None:
            cls._shape = Builder().shape(cls)
        try:
            return cls._shape.check(given, False)
        except Invalid as e:
            raise ValidationError(f"{cls.__name__}: {e}") from None

    @classmethod
    def model_validate(cls, value: Any, **options: Any) -> Any:
        return value if isinstance(value, cls) else cls._made(value)

    @classmethod
    def model_json_schema(cls, **options: Any) -> dict[str, Any]:
        from .shapes import Builder

        builder = Builder()
        return builder.finish(builder.shape(cls).schema)

    def model_dump(
        self, *, mode: str = "python", exclude_none: bool = False, **options: Any
    ) -> Any:
        out = {name: getattr(self, name) for name in self.__headgate_fields__()}
        if mode == "json" or any(isinstance(v, BaseModel) for v in out.values()):
            out = {name: plain(value) for name, value in out.items()}
        return {k: v for k, v in out.items() if v is not None} if exclude_none else out

    def model_dump_json(self, **options: Any) -> str:
        return text_of(self.model_dump(mode="json"))

    def dict(self, **options: Any) -> Any:
        return self.model_dump(**options)

    def json(self, **options: Any) -> str:
        return self.model_dump_json()

    def model_copy(self, *, update: Any = None, **options: Any) -> Any:
        return self.__headgate_make__({**vars(self), **(update or {})})

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({said})"


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, dict, set)) else value
