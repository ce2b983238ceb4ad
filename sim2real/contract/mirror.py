"""Left and right exchanged: the observation, action and goal that a robot would have in a mirror.

    mirror = in_a_mirror(contract, scene)      # refuses what is not alike on both sides
    mirror.observation(batch.observation)      # [B, D], NumPy or JAX

A robot whose sides are alike does in a mirror what its image would do, so what it experiences on one side is experience
of the other, too. A policy that learns from both has no weaker side (Mittal et al. 2024, arXiv 2403.04359, "Symmetry
considerations for learning task symmetric robot policies").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim2real.contract.interface import observation_scaling
from sim2real.contract.schema import Contract
from sim2real.errors import ShoalError
from sim2real.terms.sides import Mirrored, Sides

if TYPE_CHECKING:
    from sim2real.terms.reading import Reading
    from sim2real.terms.scene import Scene


@dataclass(frozen=True)
class Mirror:
    """What becomes of the vectors of a contract's interface."""

    observation: Mirrored
    """`[D]`."""
    action: Mirrored
    """`[A]`."""
    goal: Mirrored
    """Goal vectors, `[G]`."""

    @property
    def key(self) -> tuple[bytes, ...]:
        """Equal for equal mirrors."""
        return tuple(numbers.tobytes() for part in (self.observation, self.action, self.goal) for numbers in part)


def in_a_mirror(contract: Contract, scene: Scene) -> Mirror:
    """The mirror of a task; `ShoalError` where its robot, its ranges or its terms have no image there.

    What stands around the robot must be alike on both sides as well: of that only a map is looked at.
    """
    if contract.map is not None:
        raise ShoalError("mirror: a map's walls are not alike on both sides; leave mirror out.")
    if contract.features:
        kinds = ", ".join(feature.kind for feature in contract.features)
        raise ShoalError(f"mirror: what becomes of the features {kinds} is not known; leave mirror out.")
    sides = Sides.of(scene)
    observation = _of_observation(contract, sides)
    _require_even(contract, observation)
    parts = [reading.mirrored(sides) for reading in contract.goal.readings(contract)]
    starts = np.cumsum([0, *(len(part.order) for part in parts[:-1])])
    goal = Mirrored.joined(zip(starts.tolist(), parts, strict=True))
    return Mirror(observation, contract.action.mirrored(contract, sides.joints), goal)


def _of_observation(contract: Contract, sides: Sides) -> Mirrored:
    slices = contract.observation.slices
    return Mirrored.joined(
        (slices[_counterpart(contract, reading, sides).name].start, reading.mirrored(sides))
        for reading in contract.readings
    )


def _counterpart(contract: Contract, reading: Reading, sides: Sides) -> Reading:
    """The reading that tells what this one tells in the mirror."""
    of = getattr(reading, "of", "")
    if not of or (there := sides.place(of, field=f"readings: {reading.name}.of")) == of:
        return reading
    wanted = {**reading.model_dump(), "of": there, "name": None}
    readings: tuple[Reading, ...] = contract.readings
    for other in readings:
        if {**other.model_dump(), "name": None} == wanted:
            return other
    raise ShoalError(
        f"mirror: {reading.name!r} tells of {of!r}, and no reading tells the same of its counterpart {there!r}; add "
        "one, or leave mirror out."
    )


def _require_even(contract: Contract, observation: Mirrored) -> None:
    offset, scale = observation_scaling(contract)
    even = np.isclose(observation(offset), offset) & np.isclose(scale[observation.order], scale)
    wrong = [name for name, part in contract.observation.slices.items() if not even[part].all()]
    if wrong:
        raise ShoalError(
            f"mirror: {', '.join(wrong)} have other ranges on one side than on the other (limits of joints or goals); "
            "make them alike, or leave mirror out."
        )
