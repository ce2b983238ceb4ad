"""Rules about single numbers: are they numbers, and could a robot measure them?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from runtime.robot.layout import Kind, Layout, Part
from runtime.robot.readings import Readings
from runtime.safety.rules.base import Fault, Layer, Moment, ReadingRule, spoil
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract, Frozen, NonNegative, Positive

if TYPE_CHECKING:
    from runtime.safety.config import SafetyConfig


_NO_ROBOTS = 1e6
"""In SI units: more than any other quantity of a robot is."""


class ValueSettings(Frozen):
    """Settings of the rules about single numbers."""

    out_of_range_rad: NonNegative = 0.1
    """How far outside its limits a joint may be measured before the encoder is not believed."""
    out_of_range_speed_share: Positive = 5.0
    """Of a joint's velocity limit, beyond which its measured velocity is not believed."""
    out_of_range_m: Positive = 3.0
    """How far outside the contract's goal box, on every axis, a position is not believed any more."""


def _put(array: np.ndarray, value: float) -> None:
    array[-1] = value


def _scale(out: Readings, *names: str, factor: float) -> None:
    for name in names:
        getattr(out, name)[:] *= factor


class FiniteReadings(ReadingRule):
    """Every number that the robot itself measures is finite; what odometry tells has a rule of its own."""

    name = "finite readings"
    bounds = "every reading but the object's place and what odometry tells"
    reasons = (Reason.READING_NOT_FINITE,)
    faults = (
        Fault("NaN joint position", "NaN in joint_position", spoil(lambda out: _put(out.joint_position, math.nan))),
        Fault("NaN joint velocity", "NaN in joint_velocity", spoil(lambda out: _put(out.joint_velocity, math.nan))),
        Fault(
            "NaN end effector orientation",
            "NaN in end_effector_orientation",
            spoil(lambda out: _put(out.end_effector_orientation, math.nan)),
        ),
        Fault("infinite", "an infinite joint velocity", spoil(lambda out: _put(out.joint_velocity, math.inf))),
    )

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        self._own = [part for part in layout.parts if not part.tracked and not part.by_odometry]
        self._slices = _merged([part.entries for part in self._own])

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        for own in self._slices:
            values = moment.values[own]
            # A sum is finite only of finite numbers, but may overflow.
            if not math.isfinite(sum(values)) and not all(map(math.isfinite, values)):
                return Reason.READING_NOT_FINITE
        return FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        for part in self._own:
            for index, value in enumerate(moment.values[part.entries]):
                if not math.isfinite(value):
                    return f"{part.entry(index, value)}, and must be a finite number"
        return ""


class PossibleValues(ReadingRule):
    """What the robot measures of itself is somewhere near its limits and its workspace."""

    name = "possible values"
    bounds = (
        "measured joint positions (near their limits), joint velocities (a few times theirs) and places (near the goal "
        "box), and no quantity beyond a million SI units"
    )
    fields = ("out_of_range_rad", "out_of_range_speed_share", "out_of_range_m")
    reasons = (Reason.READING_OUT_OF_RANGE,)
    faults = (
        Fault(
            "out of range",
            "a joint measured more than `out_of_range_rad` outside its limits",
            spoil(lambda out: _put(out.joint_position, 100.0)),
        ),
        Fault(
            "degrees",
            "joint positions and velocities in degrees",
            spoil(lambda out: _scale(out, "joint_position", "joint_velocity", factor=math.degrees(1))),
        ),
        Fault(
            "millimetres",
            "the tool's position in millimetres",
            spoil(lambda out: _scale(out, "end_effector_position", factor=1e3)),
        ),
        Fault("too fast", "a joint velocity of 1e30", spoil(lambda out: _put(out.joint_velocity, 1e30))),
    )

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        bounds = Bounds(contract, config)
        parts = [part for part in layout.parts if part.kind is not Kind.ROTATION and not part.tracked]
        self._rows = [(part, index, *bounds.of(part, index)) for part in parts for index in range(len(part.labels))]
        self._checks = [(part.entries.start + index, low, high) for part, index, low, high in self._rows]

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        config = layer.config
        return (
            f"{config.out_of_range_rad:g} rad outside the joint limits, {config.out_of_range_speed_share:g} times the "
            f"velocity limits, {config.out_of_range_m:g} m outside the goal box"
        )

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        values = moment.values
        for entry, low, high in self._checks:
            # What is no number is for other rules to judge.
            if values[entry] < low or values[entry] > high:
                return Reason.READING_OUT_OF_RANGE
        return FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        for part, index, low, high in self._rows:
            value = moment.values[part.entries.start + index]
            if value < low or value > high:
                return out_of_range(part, index, value, low, high)
        return ""


class Bounds:
    """Numbers between which a reading is believed."""

    def __init__(self, contract: Contract, config: SafetyConfig) -> None:
        self._joints, self._goal, self._config = contract.robot.joints, contract.goal, config

    def of(self, part: Part, index: int) -> tuple[float, float]:
        """Least and most of one entry of a reading."""
        config = self._config
        if part.kind is Kind.JOINT_POSITION:
            (low, high), margin = self._joints[index].position_range, config.out_of_range_rad
            return max(low - margin, -_NO_ROBOTS), min(high + margin, _NO_ROBOTS)  # endless joints have no range
        if part.kind is Kind.JOINT_VELOCITY:
            fastest = config.out_of_range_speed_share * self._joints[index].velocity_max
            return -fastest, fastest
        if index < part.axes and (box := self._goal.box()) is not None:
            return box[0][index] - config.out_of_range_m, box[1][index] + config.out_of_range_m
        return -_NO_ROBOTS, _NO_ROBOTS


def out_of_range(part: Part, index: int, value: float, low: float, high: float) -> str:
    """What is wrong with one entry of a reading, in words."""
    doubt = {
        Kind.JOINT_POSITION: "is it in degrees, or another joint's?",
        Kind.JOINT_VELOCITY: "is it in degrees a second?",
    }.get(part.kind, "is it in another unit?")
    if index < part.axes:
        doubt = "is it in millimetres, or in another frame?"
    return f"{part.entry(index, value)}, and must be {low:.4g} to {high:.4g}; {doubt}"


def _merged(slices: list[slice]) -> list[slice]:
    """The same entries in as few slices as there can be."""
    merged: list[slice] = []
    for entries in slices:
        if merged and merged[-1].stop == entries.start:
            merged[-1] = slice(merged[-1].start, entries.stop)
        else:
            merged.append(entries)
    return merged


RULES: tuple[type[ReadingRule], ...] = (FiniteReadings, PossibleValues)
