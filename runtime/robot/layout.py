"""Which entries of `Readings.vector` are what.

Whoever asks for a kind of reading (a rotation, the joint positions) asks here, and cuts no offsets by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple, Self

from sim2real.contract import Contract, Reading
from sim2real.terms.joints import JointVelocity
from sim2real.terms.motion import Height, ProjectedGravity
from sim2real.terms.poses import Orientation, PlanarPosition, Position
from sim2real.terms.scene import WORLD


class Kind(Enum):
    """What the numbers of a reading mean."""

    JOINT_POSITION = auto()
    """Where the joints are that the policy commands."""
    JOINT_VELOCITY = auto()
    """Of the same."""
    POSITION = auto()
    """m, in the world or in the contract's goal frame."""
    ROTATION = auto()
    """Unit quaternion wxyz."""
    DOWN = auto()
    """Which way is down, seen from the base: a unit vector."""
    HEIGHT = auto()
    """m over the ground."""
    OTHER = auto()
    """Of which only the contract's terms know more."""


_KINDS = {Orientation: Kind.ROTATION, ProjectedGravity: Kind.DOWN, Height: Kind.HEIGHT}
"""Of readings that are of this kind whatever the contract."""


class Part(NamedTuple):
    """One reading."""

    name: str
    kind: Kind
    entries: slice
    """Of `Readings.vector`."""
    labels: tuple[str, ...]
    """Of its entries, for people."""
    units: tuple[str, ...]
    tracked: bool = False
    """Whether somebody outside the robot measures it, so that it may be unknown without the robot being at fault."""
    by_odometry: bool = False
    """Whether odometry tells it, which may be silent while everything else is measured."""
    axes: int = 0
    """How many of its first entries are coordinates in m, in the world or in the contract's goal frame."""
    about: str = ""
    """The site or body that it is about; see `Reading.about`."""

    def words(self, values: Sequence[float]) -> str:
        """All of it as text, from `[size]` values."""
        return f"{self.name} is ({', '.join(f'{value:.4g}' for value in values)})"

    def entry(self, index: int, value: float) -> str:
        """One entry of it as text."""
        return f"{self.name} {self.labels[index]}".rstrip() + f" is {value:.4g} {self.units[index]}".rstrip()


class Layout:
    """The readings of one contract, in the order of `Readings.vector`."""

    def __init__(self, parts: Sequence[Part], tool: str | None = None) -> None:
        self.parts = tuple(parts)
        self._tool = tool

    @classmethod
    def of(cls, contract: Contract) -> Self:
        """What `Readings.of(contract)` holds."""
        parts = [_part(contract, name, entries) for name, entries in contract.measured.slices.items()]
        return cls(parts, contract.robot.end_effector_frame)

    @property
    def tool(self) -> tuple[Part, Part] | None:
        """Position and orientation of the contract's tool, where both are measured."""
        of_tool = [part for part in self.parts if part.about == self._tool and self._tool is not None]
        pairs = [[part for part in of_tool if part.kind is kind] for kind in (Kind.POSITION, Kind.ROTATION)]
        return (pairs[0][0], pairs[1][0]) if all(pairs) else None

    def of_kind(self, kind: Kind, *, tracked: bool = False) -> list[Part]:
        """The readings of a kind, those of the robot itself or those that are `tracked`."""
        return [part for part in self.parts if part.kind is kind and part.tracked is tracked]


def _part(contract: Contract, name: str, entries: slice) -> Part:
    reading = contract.reading(name)
    labels, tracked = reading.entries(contract), reading.source == "tracker"
    axes = reading.axes if getattr(reading, "frame", WORLD) in (WORLD, contract.goal.frame) else 0
    kind, by_odometry = _kind(contract, reading, axes), reading.source == "odometry"
    return Part(name, kind, entries, labels, reading.units, tracked, by_odometry, axes, reading.about)


def _kind(contract: Contract, reading: Reading, axes: int) -> Kind:
    if reading.name == contract.action.measured:
        return Kind.JOINT_POSITION
    if isinstance(reading, JointVelocity):
        return Kind.JOINT_VELOCITY
    if isinstance(reading, Position | PlanarPosition) and axes:
        return Kind.POSITION
    return next((kind for cls, kind in _KINDS.items() if isinstance(reading, cls)), Kind.OTHER)
