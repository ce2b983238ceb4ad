"""Which entries of `Readings.vector` are what.

Whoever asks for a kind of reading (a rotation, the joint positions) asks here, and cuts no offsets by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple, Self

from runtime.robot.readings import Readings
from sim2real.contract import Contract


class Kind(Enum):
    """What the numbers of a reading mean."""

    JOINT_POSITION = auto()
    JOINT_VELOCITY = auto()
    POSITION = auto()
    """m, in the contract's goal frame."""
    ROTATION = auto()
    """Unit quaternion wxyz, in the contract's goal frame."""


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

    def words(self, values: Sequence[float]) -> str:
        """All of it as text, from `[size]` values."""
        return f"{self.name} is ({', '.join(f'{value:.4g}' for value in values)})"

    def entry(self, index: int, value: float) -> str:
        """One entry of it as text."""
        return f"{self.name} {self.labels[index]} is {value:.4g} {self.units[index]}".rstrip()


class Layout:
    """The readings of one contract, in the order of `Readings.vector`."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)

    @classmethod
    def of(cls, contract: Contract) -> Self:
        """What `Readings.of(contract)` holds."""
        readings, joints = Readings.of(contract), contract.joint_names
        rad, speed, metres = ("rad",) * len(joints), ("rad/s",) * len(joints), ("m",) * 3
        every = [
            ("joint_position", Kind.JOINT_POSITION, joints, rad, False),
            ("joint_velocity", Kind.JOINT_VELOCITY, joints, speed, False),
            ("end_effector_position", Kind.POSITION, ("x", "y", "z"), metres, False),
            ("end_effector_orientation", Kind.ROTATION, ("w", "x", "y", "z"), ("",) * 4, False),
            ("object_position", Kind.POSITION, ("x", "y", "z"), metres, True),
        ]
        parts = []
        for name, kind, labels, units, tracked in every:
            array = getattr(readings, name)
            start = (array.ctypes.data - readings.vector.ctypes.data) // array.itemsize
            if array.size:
                parts.append(Part(name, kind, slice(start, start + array.size), labels, units, tracked))
        return cls(parts)

    @property
    def tool(self) -> tuple[Part, Part] | None:
        """Position and orientation of the contract's tool, where it is measured."""
        named = {part.name: part for part in self.parts}
        pair = named.get("end_effector_position"), named.get("end_effector_orientation")
        return (pair[0], pair[1]) if pair[0] is not None and pair[1] is not None else None

    def of_kind(self, kind: Kind, *, tracked: bool = False) -> list[Part]:
        """The readings of a kind, those of the robot itself or those that are `tracked`."""
        return [part for part in self.parts if part.kind is kind and part.tracked is tracked]
