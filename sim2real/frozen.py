"""The bases of everything that others wrote: text that a terminal shows as it is, and numbers that are finite."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sim2real.errors import printable, shown

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Vector2 = tuple[float, float]
Vector3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
"""wxyz, as in MuJoCo."""


_LONGEST_NAME = 200


def _require_name(text: str) -> str:
    """Files are called by it."""
    if not text or len(text) > _LONGEST_NAME or text.startswith(".") or "/" in text or "\\" in text:
        raise ValueError(
            f"{shown(text)} is no name: it has 1 to {_LONGEST_NAME} characters, no slash, and no dot at the beginning"
        )
    return text


Name = Annotated[str, AfterValidator(_require_name)]
"""Of a robot or a task."""


class Plain(BaseModel):
    """A model whose text holds no control characters, wherever it is shown: a terminal, a log, a page, a topic."""

    @model_validator(mode="after")
    def _no_control_characters(self) -> Self:
        for field, value in self.__dict__.items():
            for text in _texts(value):
                if not text.isprintable():
                    raise ValueError(f"{field} {printable(text)!r} holds control characters; write it without")
        return self


class Frozen(Plain):
    """Immutable, finite, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_T = TypeVar("_T")
_M = TypeVar("_M", bound=Frozen)


def once_each(function: Callable[[_M], _T]) -> Callable[[_M], _T]:
    """A function of one immutable model that computes once for each instance, known by identity.

    Neither `functools.cache`, which hashes all of the model at every call, nor a cached property, which `model_copy`
    would carry over into the changed copy.
    """
    known: dict[int, tuple[weakref.ref[Any], _T]] = {}

    @functools.wraps(function)
    def remembering(model: _M) -> _T:
        found = known.get(id(model))
        if found is not None and found[0]() is model:
            return found[1]
        value, key = function(model), id(model)
        known[key] = (weakref.ref(model, lambda _: known.pop(key, None)), value)
        return value

    return remembering


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    if isinstance(value, (tuple, list)) and value and not isinstance(value[0], (int, float)):
        return [text for part in value for text in _texts(part)]
    return []
