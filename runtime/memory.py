"""What an object remembers between two ticks, as plain data: taken from one, given to another, which goes on alike."""

from __future__ import annotations

import math
from enum import Enum
from typing import Any, ClassVar

import numpy as np


class Remembers:
    """Base of what a control tick depends on besides its readings.

    `remembered` names the attributes that later ticks read before they write them: numbers, booleans, members of enums,
    lists of numbers or of such lists, arrays, and other objects of this kind.
    """

    remembered: ClassVar[tuple[str, ...]] = ()

    def memory(self) -> dict[str, Any]:
        """A copy as plain data for JSON, in which unknown numbers are NaN or None."""
        return {name: _plain(getattr(self, name)) for name in self.remembered}

    def recall(self, memory: dict[str, Any]) -> None:
        """Take over what `memory` gave; raises `KeyError`, `TypeError` or `ValueError` where it is another one's."""
        for name in self.remembered:
            present, given = getattr(self, name), memory[name]
            if isinstance(present, Remembers):
                present.recall(given)
            elif isinstance(present, np.ndarray):
                # In place, because others hold views on it.
                present[...] = np.reshape([_number(value) for value in given], present.shape)
            else:
                setattr(self, name, _as(present, given))


def _plain(value: Any) -> Any:
    if isinstance(value, Remembers):
        return value.memory()
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.ravel().tolist() if isinstance(value, np.ndarray) else value


def _as(present: Any, given: Any) -> Any:
    """A value of the kind that stood there before."""
    if isinstance(present, Enum):
        return type(present)[given]
    if isinstance(present, list):
        return _numbers(given)
    if isinstance(present, bool):
        return bool(given)
    return int(given) if isinstance(present, int) else _number(given)


def _numbers(given: list[Any]) -> list[Any]:
    return [_numbers(value) if isinstance(value, list) else _number(value) for value in given]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
