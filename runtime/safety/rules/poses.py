"""Rules about rotations, and about the tool's pose and the joints that carry it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from runtime.robot.layout import Kind, Layout
from runtime.robot.readings import Readings
from runtime.robot.rotations import angle_between_deg
from runtime.safety.geometry_checker import Pose
from runtime.safety.rules.base import NO_GEOMETRY, Fault, Layer, Moment, ReadingRule, spoil
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract, Frozen, Positive

if TYPE_CHECKING:
    from runtime.safety.config import SafetyConfig

_LENGTH_ERROR = 0.01
"""Of a quaternion that somebody filtered or rounded."""
_SHORTEST, _LONGEST = (1 - _LENGTH_ERROR) ** 2, (1 + _LENGTH_ERROR) ** 2


class PoseSettings(Frozen):
    """Settings of the rules about poses."""

    tool_mismatch_m: Positive | None = 0.1
    """Distance between the tool as measured and where the measured joints put it, beyond what it moved in the last
    `stale_after_periods`: room for a camera's calibration and for readings of different age."""
    tool_mismatch_deg: Positive = 20.0
    """The same of its orientation."""


def _shift(out: Readings) -> None:
    out.end_effector_position[1] += 0.3


def _reorder(out: Readings) -> None:
    out.end_effector_orientation[:] = np.roll(out.end_effector_orientation, -1)


class Rotations(ReadingRule):
    """Every orientation is a rotation: a quaternion of length one."""

    name = "rotations"
    bounds = "the length of every quaternion: 1, within 1 %"
    reasons = (Reason.READING_NO_ROTATION,)
    faults = (
        Fault("zero quaternion", "a quaternion of zeros", spoil(lambda out: out.end_effector_orientation.fill(0.0))),
        Fault(
            "unnormalised quaternion",
            "a quaternion of length 2",
            spoil(lambda out: np.multiply(out.end_effector_orientation, 2, out=out.end_effector_orientation)),
        ),
    )

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        self._parts = layout.of_kind(Kind.ROTATION)

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        for part in self._parts:
            w, x, y, z = moment.values[part.entries]
            # What is no number is for other rules to judge.
            square = w * w + x * x + y * y + z * z
            if square < _SHORTEST or square > _LONGEST:
                return Reason.READING_NO_ROTATION
        return FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        for part in self._parts:
            values = moment.values[part.entries]
            if abs((length := math.hypot(*values)) - 1) > _LENGTH_ERROR:
                return f"{part.words(values)}, of length {length:.4g}, and must be a unit quaternion wxyz"
        return ""


class ToolAtJoints(ReadingRule):
    """The tool is where the joints put it, by the robot's MJCF.

    Readings may be of different age, so on top of the bounds comes how far the joints moved the tool in the last
    `stale_after_periods`, in either direction.
    """

    name = "tool at joints"
    bounds = "the measured tool, about the pose into which the measured joints put it"
    fields = ("tool_mismatch_m", "tool_mismatch_deg")
    reasons = (Reason.READING_CONTRADICTS,)
    remembered = ("_recent",)
    faults = (
        Fault(
            "tool stuck",
            "the tool's position stays at the origin",
            spoil(lambda out: out.end_effector_position.fill(0.0)),
        ),
        Fault("tool elsewhere", "the tool 30 cm from where the joints put it", spoil(_shift)),
        Fault("xyzw", "the tool's quaternion in the order xyzw", spoil(_reorder)),
    )

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        (self._joints,) = (part.entries for part in layout.of_kind(Kind.JOINT_POSITION))
        assert layout.tool is not None
        self._place, self._turn = layout.tool
        self._largest_m, self._largest_deg = config.tool_mismatch_m or math.inf, config.tool_mismatch_deg
        # Of two quaternions, one of length one, no further apart than this the angle is no larger than allowed.
        self._surely = min(self._largest_m, math.sin(math.radians(min(config.tool_mismatch_deg, 180.0)) / 2))
        self._recent: list[list[float]] = []
        self._ticks = config.stale_ticks

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """See `Rule`."""
        return Layout.of(contract).tool is not None

    @classmethod
    def off(cls, layer: Layer) -> str:
        """See `Rule`."""
        if unset := super().off(layer):
            return unset
        if layer.geometry_checker is None:
            return NO_GEOMETRY
        return layer.geometry_checker.no_tool_pose

    def restart(self) -> None:
        """See `ReadingRule`."""
        self._recent.clear()

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        checker = moment.checker
        if checker is None or checker.no_tool_pose:
            return FOLLOWING
        values = moment.values
        pose = checker.tool_pose(values[self._joints])
        measured = values[self._place.entries] + values[self._turn.entries]
        if not (math.dist(measured, pose) <= self._surely or self._agrees(measured, pose)):
            return Reason.READING_CONTRADICTS
        self._recent.append(pose)
        del self._recent[: -self._ticks]
        return FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        assert moment.checker is not None
        pose = moment.checker.tool_pose(moment.values[self._joints])
        place, turn = pose[:3], pose[3:]
        found_place, found_turn = moment.values[self._place.entries], moment.values[self._turn.entries]
        distance, angle = math.dist(found_place, place), angle_between_deg(found_turn, turn)
        if distance > self._largest_m:
            part, found, wanted = self._place, found_place, place
            gap, doubt = f"{distance:.3g} m", "is it stuck, in another frame or in another unit?"
        else:
            part, found, wanted = self._turn, found_turn, turn
            gap, doubt = f"{angle:.3g} deg", "is it wxyz, and of the contract's tool frame?"
        where = ", ".join(f"{value:.4g}" for value in wanted)
        return f"{part.words(found)}, {gap} from ({where}), where the joints put it; {doubt}"

    def _agrees(self, measured: Pose, pose: Pose) -> bool:
        """Whether both are near each other, or the tool moved so much of late that their different age may be why."""
        place, turn = pose[:3], pose[3:]
        travelled = max((math.dist(place, earlier[:3]) for earlier in self._recent), default=0.0)
        turned = max((angle_between_deg(turn, earlier[3:]) for earlier in self._recent), default=0.0)
        distance, angle = math.dist(measured[:3], place), angle_between_deg(measured[3:], turn)
        return distance <= self._largest_m + travelled and angle <= self._largest_deg + turned


RULES: tuple[type[ReadingRule], ...] = (Rotations, ToolAtJoints)
