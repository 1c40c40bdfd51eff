"""Stands for pydantic where it is not installed: `Field`, and models without validators."""

from typing import Any

from headgate_local.errors import ValidationError
from headgate_local.models import BaseModel, ConfigDict, Field, FieldInfo
from headgate_local.stubs import missing

__headgate__ = True
__all__ = ["BaseModel", "ConfigDict", "Field", "FieldInfo", "ValidationError"]


def __getattr__(name: str) -> Any:
    return missing("pydantic", name)
