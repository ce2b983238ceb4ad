"""Features: further entries of the observation, pure functions of readings. They cost the robot no sensor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sim2real.frozen import Positive
from sim2real.rotations import conjugate, rotate
from sim2real.terms.term import Term

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from sim2real.terms.reading import Reading

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""


class Feature(Term):
    """Entries of the observation that follow from readings."""

    what: ClassVar[str] = "feature"

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Names of the readings that it is made of."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of entries."""

    def misfits(self, readings: Mapping[str, Reading]) -> list[str]:
        """Which of the readings that it needs are not what it needs, in sentences."""
        return []

    @abstractmethod
    def observed(self, xp: ModuleType, readings: Mapping[str, Array]) -> Array:
        """Entries before scaling, `[..., size]`."""

    @abstractmethod
    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Offset and factor, `[size]` each, that bring it to order one."""


def no_place(reading: Reading) -> list[str]:
    """What to do where a reading is no place in space; nothing where it is."""
    if reading.size == 3:
        return []
    return [f"{reading.name!r} of kind {reading.kind!r} is no place in space; name a reading of kind position"]


def no_turn(reading: Reading) -> list[str]:
    """What to do where a reading is no orientation; nothing where it is."""
    if reading.size == 4:
        return []
    return [f"{reading.name!r} of kind {reading.kind!r} is no orientation; name a reading of kind orientation"]


class Difference(Feature):
    """Where one position is from another, enlarged, since all depends on who is on which side."""

    kind: str = "difference"
    of: str
    minus: str
    gain: Positive = 5.0

    @property
    def needs(self) -> tuple[str, ...]:
        """Both positions."""
        return self.of, self.minus

    @property
    def size(self) -> int:
        """Three coordinates."""
        return 3

    def misfits(self, readings: Mapping[str, Reading]) -> list[str]:
        """Both are places in space."""
        return [said for name in self.needs for said in no_place(readings[name])]

    def observed(self, xp: ModuleType, readings: Mapping[str, Array]) -> Array:
        """The difference in the frame of both."""
        return readings[self.of] - readings[self.minus]

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Scale by the workspace, times the gain."""
        return np.zeros(3), np.full(3, self.gain / contract.workspace[1])


class SeenFrom(Feature):
    """Where a position is, seen from another one and turned as that one's orientation."""

    kind: str = "seen_from"
    of: str
    position: str
    """Name of the reading that says where it is seen from."""
    orientation: str
    """Name of the reading that says how that is turned."""
    gain: Positive = 1.0

    @property
    def needs(self) -> tuple[str, ...]:
        """Three readings."""
        return self.of, self.position, self.orientation

    @property
    def size(self) -> int:
        """Three coordinates."""
        return 3

    def misfits(self, readings: Mapping[str, Reading]) -> list[str]:
        """Two places in space, and an orientation."""
        said = [said for name in (self.of, self.position) for said in no_place(readings[name])]
        return said + no_turn(readings[self.orientation])

    def observed(self, xp: ModuleType, readings: Mapping[str, Array]) -> Array:
        """The point in the frame of the one that looks."""
        turn = readings[self.orientation]
        turn = turn / xp.sqrt((turn * turn).sum(axis=-1, keepdims=True))
        return rotate(conjugate(turn), readings[self.of] - readings[self.position])

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Scale by the workspace, times the gain."""
        return np.zeros(3), np.full(3, self.gain / contract.workspace[1])
