"""Rules about joints in motion: do their readings change, agree with each other, and with what was commanded?"""

from __future__ import annotations

import math
from itertools import accumulate
from operator import truediv
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from runtime.robot.layout import Kind, Layout
from runtime.robot.readings import Readings
from runtime.safety.rules.base import Fault, Layer, Moment, ReadingRule, spoil
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract, Frozen, NonNegative, Positive

if TYPE_CHECKING:
    from runtime.safety.config import SafetyConfig

_FORGET_S = 1.0
"""Time constant with which a disagreement of velocities and positions fades."""
_EFFORT_ROUNDING = 1e-6
_EFFORT_CHANGE = 0.1
"""Share of its limit by which an effort must change for a joint to be expected to move."""


class JointSettings(Frozen):
    """Settings of the rules about joints."""

    frozen_after_periods: Annotated[int, Field(ge=2)] | None = 5
    """Fresh stamps with bit for bit the same joint readings for this many control periods, while the target moved by
    `frozen_travel_rad` or more, are not believed."""
    frozen_travel_rad: Positive = 0.05
    velocity_mismatch_rad: Positive | None = 0.2
    """How far the motion by a joint's measured velocities may be from that by its measured positions, over about a
    second, beyond what the joint moved in the last `stale_after_periods`."""
    effort_share: Positive | None = 1.0
    """Of the contract's effort limits; beyond it for `effort_for_s` the arm yields."""
    effort_for_s: NonNegative = 0.1
    tracking_max_rad: Positive | None = 0.5
    """Largest distance between target and measured joint; beyond it the arm is blocked, and yields."""


def _reverse(out: Readings) -> None:
    np.negative(out.joint_velocity, out=out.joint_velocity)


def _overload(out: Readings) -> None:
    out.joint_effort[-1] = 1e4


def _ways(contract: Contract, travel: float) -> list[tuple[float, float]]:
    """What counts as a way of each joint's target: the time in which a velocity covers one, and the factor of a change
    of the target. An effort that changes by a tenth of its limit counts as `travel`. Empty where all are positions.
    """
    if contract.robot.tells_positions:
        return []
    kinds = {"position": (0.0, 1.0), "velocity": (contract.timing.control_dt_s, 0.0)}
    return [
        kinds.get(joint.mode, (0.0, travel / (_EFFORT_CHANGE * joint.effort_max))) for joint in contract.robot.joints
    ]


class FrozenReadings(ReadingRule):
    """A driver that stamps the same values anew. A robot at rest is told from it by the target, which must have moved.

    No value changes any more, so the verdict stands until one does.
    """

    name = "frozen readings"
    bounds = "for how long the joint readings stay the same while the target moves by `frozen_travel_rad`"
    fields = ("frozen_after_periods", "frozen_travel_rad")
    reasons = (Reason.READING_FROZEN,)
    remembered = ("_same_ticks", "_is_frozen", "_same_since", "_same_target")

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        (self._position,) = layout.of_kind(Kind.JOINT_POSITION)
        (self._velocity,) = layout.of_kind(Kind.JOINT_VELOCITY)
        self._after, self._travel = config.frozen_after_periods or math.inf, config.frozen_travel_rad
        self._ways = _ways(contract, self._travel)
        self.restart()

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """See `Rule`."""
        return bool(Layout.of(contract).of_kind(Kind.JOINT_VELOCITY))

    def restart(self) -> None:
        """See `ReadingRule`."""
        self._same_ticks, self._is_frozen = 0, False
        self._same_since: list[float] = []
        self._same_target: list[float] = []

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        if not (moment.started and moment.fresh):
            return FOLLOWING
        measured = moment.values[self._position.entries] + moment.values[self._velocity.entries]
        if measured != self._same_since:
            self._same_since, self._same_ticks, self._is_frozen = measured, 0, False
            self._same_target = moment.target
        elif moment.yielding:
            self._same_target = moment.target
        else:
            self._same_ticks += 1
            if self._same_ticks >= self._after and self._travelled(moment) >= self._travel:
                self._is_frozen = True
        return Reason.READING_FROZEN if self._is_frozen else FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        travelled = self._travelled(moment)
        return f"no joint reading changed in {self._same_ticks} periods, while a target moved by {travelled:.3g}"

    def _travelled(self, moment: Moment) -> float:
        ways = [abs(x - y) for x, y in zip(moment.target, self._same_target, strict=True)]
        if self._ways:
            rows = zip(moment.target, self._ways, ways, strict=True)
            ways = [self._same_ticks * period * abs(x) + factor * moved for x, (period, factor), moved in rows]
        return max(ways)


class VelocitiesAndPositions(ReadingRule):
    """What joints cover by their measured velocities is what they cover by their measured positions.

    The difference is summed up, and fades in a second, so that a small bias never adds up. Velocities and positions may
    be of different age, by T = `stale_after_periods`. That explains what a joint covered in the last T, by its
    positions where the velocities are older, by its velocities where the positions are. It explains as much a second
    ago, of which what has not faded is about T / 1 s of the way since. A verdict stands until half of the allowed
    difference is left.
    """

    name = "velocities"
    bounds = "measured joint velocities, about the change of the measured joint positions"
    fields = ("velocity_mismatch_rad",)
    reasons = (Reason.VELOCITY_CONTRADICTS,)
    remembered = ("_time_s", "_broken", "_errors", "_recent", "_covered", "_travel")
    faults = (
        Fault("reversed velocity", "joint velocities of the wrong sign", spoil(_reverse), ticks=60),
        Fault(
            "no velocity", "joint velocities that stay zero", spoil(lambda out: out.joint_velocity.fill(0.0)), ticks=60
        ),
    )

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        (self._position,) = layout.of_kind(Kind.JOINT_POSITION)
        (self._velocity,) = layout.of_kind(Kind.JOINT_VELOCITY)
        self._largest = config.velocity_mismatch_rad or math.inf
        self._longest_s = config.stale_after_s(contract)
        self._fastest = [joint.velocity_max * self._longest_s for joint in contract.robot.joints]
        self._endless = [index for index, joint in enumerate(contract.robot.joints) if joint.continuous]
        self._ticks = config.stale_ticks
        self.restart()

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """See `Rule`."""
        return bool(Layout.of(contract).of_kind(Kind.JOINT_VELOCITY))

    def restart(self) -> None:
        """See `ReadingRule`."""
        self._time_s, self._broken = -math.inf, False
        self._errors: list[float] = []
        self._recent: list[list[float]] = []
        self._covered: list[list[float]] = []
        self._travel: list[float] = []

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        if moment.fresh:
            positions, velocities = moment.values[self._position.entries], moment.values[self._velocity.entries]
            passed_s, self._time_s = moment.time_s - self._time_s, moment.time_s
            if passed_s <= self._longest_s:
                self._add(positions, velocities, passed_s)
            else:
                self._errors, self._broken = [0.0] * len(positions), False
                self._travel = [0.0] * len(positions)
                self._recent = [positions]
                self._covered.clear()
        return Reason.VELOCITY_CONTRADICTS if self._broken else FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        sizes = list(map(abs, self._errors))
        worst = sizes.index(max(sizes))
        value = moment.values[self._velocity.entries][worst]
        return (
            f"{self._velocity.entry(worst, value)}; its velocities lead {sizes[worst]:.3g} away from its "
            f"positions, at most {self._largest:g} are allowed; check the velocities' sign, unit and joint, and that "
            "time_s counts seconds"
        )

    def _add(self, positions: list[float], velocities: list[float], passed_s: float) -> None:
        before, kept = self._recent[-1], 1.0 - min(passed_s / _FORGET_S, 1.0)
        for index in self._endless:
            positions[index] = before[index] + math.remainder(positions[index] - before[index], math.tau)
        errors, travel, covered = [], [], []
        rows = zip(self._errors, self._travel, positions, before, velocities, strict=True)
        for error, travelled, q, p, v in rows:
            way = passed_s * v
            covered.append(way)
            travel.append(kept * travelled + abs(way))
            errors.append(kept * error + q - p - way)
        self._errors, self._travel = errors, travel
        self._covered.append(covered)
        # No error is larger than all of them together.
        if self._broken or not math.hypot(*errors) <= self._largest:
            self._broken = self._contradicts(positions)
        self._recent.append(positions)
        if len(self._recent) > self._ticks:
            del self._recent[0], self._covered[0]

    def _contradicts(self, positions: list[float]) -> bool:
        worst = max(map(abs, self._errors))
        if self._broken:
            return worst > 0.5 * self._largest
        return worst > self._largest and not self._is_late(positions)

    def _is_late(self, positions: list[float]) -> bool:
        """Whether the joints moved so much of late that readings of different age explain the difference."""
        for index, (error, position) in enumerate(zip(self._errors, positions, strict=True)):
            moved = [position - before[index] for before in self._recent]
            moved += accumulate(covered[index] for covered in reversed(self._covered))
            # Farther than a joint can come, it was not late but jumped.
            lately = min(max(map(abs, moved)), self._fastest[index])
            if not abs(error) <= self._largest + lately + self._longest_s / _FORGET_S * self._travel[index]:
                return False
        return True


class Effort(ReadingRule):
    """Joint efforts stay within their limits, but for a moment. No fault where the driver gives none from the start."""

    name = "effort"
    bounds = "measured joint efforts, for longer than `effort_for_s`; off if the driver gives none"
    fields = ("effort_share", "effort_for_s")
    reasons = (Reason.EFFORT_TOO_HIGH, Reason.READING_NOT_FINITE)
    joints_believed = True
    remembered = ("_count", "is_measured")
    faults = (
        Fault(
            "effort",
            "a joint's effort above `effort_share` of its limit for `effort_for_s`",
            spoil(_overload),
            "damp: the arm yields at least `damp_for_s`, then a ramp-in",
        ),
    )

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        share = (config.effort_share or math.inf) * (1 + _EFFORT_ROUNDING)
        self._joints = contract.robot.joints
        self._most = [share * joint.effort_max for joint in self._joints]
        self._ticks = math.ceil(config.effort_for_s / contract.timing.control_dt_s - 1e-9)
        self.restart()

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        return f"{layer.config.effort_share:g} of the contract's limits, if the driver measures it"

    def restart(self) -> None:
        """See `ReadingRule`."""
        self._count, self.is_measured = 0, False

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        effort = moment.readings.joint_effort.tolist()
        if not self.is_measured and math.isnan(effort[0]):
            return FOLLOWING
        if not math.isfinite(sum(effort)) and not all(map(math.isfinite, effort)):
            return Reason.READING_NOT_FINITE if self.is_measured else FOLLOWING
        self.is_measured = True
        shares = list(map(truediv, effort, self._most))
        if max(shares) <= 1.0 and min(shares) >= -1.0:
            self._count = 0
            return FOLLOWING
        self._count += 1
        return Reason.EFFORT_TOO_HIGH if self._count > self._ticks else FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        effort = moment.readings.joint_effort.tolist()
        for joint, torque, most in zip(self._joints, effort, self._most, strict=True):
            if not -most <= torque <= most:
                return f"joint_effort {joint.name} is {torque:.4g}, and may be {most:.4g}"
        return ""


class Tracking(ReadingRule):
    """Joints come to where they are sent."""

    name = "tracking"
    bounds = "the distance between target and measured joint"
    fields = ("tracking_max_rad",)
    reasons = (Reason.NOT_TRACKING,)
    joints_believed = True

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        (self._position,) = layout.of_kind(Kind.JOINT_POSITION)
        self._entries = self._position.entries
        self._largest = config.tracking_max_rad or math.inf
        self._mixed = [joint.mode == "position" for joint in contract.robot.joints]
        if all(self._mixed):
            self._mixed = []

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """Where any drive is told positions; what is told velocities or efforts is sent nowhere."""
        return any(joint.mode == "position" for joint in contract.robot.joints)

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        if not moment.started:
            return FOLLOWING
        # No joint is further away than all of them together.
        if not self._mixed and math.dist(moment.values[self._entries], moment.target) <= self._largest:
            return FOLLOWING
        return FOLLOWING if max(self._gaps(moment)) <= self._largest else Reason.NOT_TRACKING

    def _gaps(self, moment: Moment) -> list[float]:
        gaps = [abs(q - x) for q, x in zip(moment.values[self._entries], moment.target, strict=True)]
        return [gap if sent else 0.0 for gap, sent in zip(gaps, self._mixed, strict=True)] if self._mixed else gaps

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        values = moment.values[self._position.entries]
        gaps = self._gaps(moment)
        worst = gaps.index(max(gaps))
        return (
            f"{self._position.entry(worst, values[worst])} and was sent to {moment.target[worst]:.4g}; at most "
            f"{self._largest:g} between them are allowed"
        )


RULES: tuple[type[ReadingRule], ...] = (FrozenReadings, VelocitiesAndPositions, Effort, Tracking)
