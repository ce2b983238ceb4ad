"""Where in the world a goal is, to be drawn: a ball for a place, axes for a pose, a ring on the ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from sim2real.contract import Contract, Quaternion, Vector3


class Marker(NamedTuple):
    """One place or pose in the contract's goal frame."""

    position: Vector3
    """m."""
    orientation_wxyz: Quaternion | None
    """None where the goal doesn't say how to be turned there."""
    flat: bool
    """On the ground."""


def markers(contract: Contract, request: Sequence[float]) -> tuple[Marker, ...]:
    """Markers of a request `[K]`, one for each thing that it says a place of; none for goals that are no places."""
    places: dict[str, tuple[Vector3, bool]] = {}
    turns: dict[str, Quaternion] = {}
    layout = contract.goal.layout(contract)
    for part, reading in zip(contract.goal.parts(), contract.goal.readings(contract), strict=True):
        position, orientation = reading.to_pose(request[layout.slices[part.input]])
        if position is not None and all(map(math.isfinite, position)):
            places[reading.about] = position, reading.axes == 2
        if orientation is not None and all(map(math.isfinite, orientation)):
            turns[reading.about] = orientation
    return tuple(Marker(position, turns.get(about), flat) for about, (position, flat) in places.items())
