"""Bounds on what drives are told where some are told velocities or efforts; of the latter see
`runtime.safety.effort_limits`, of positions `runtime.safety.limits`.

With v the velocity that a joint is told, p the one before, q its measured position and a the largest change in a
period (acceleration times the period), the next velocity satisfies, each rule giving way to the one after it,

    |v| <= velocity limit, times the present share
    q + (p + v) / 2 * period, and from there braking by `a` a period, does not pass the joint's limit
    |v - p| <= a

since a drive is led linearly from p to v within the period. The last never asks to break the one before where the joint
did as it was told: braking from there covers what was left. A joint found outside its limits is led back.

Braking ends at velocity 0, at which a velocity servo resists whatever moves it: that is also what it does in `damp` and
in an emergency stop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.memory import Remembers
from runtime.robot.readings import Float64
from runtime.safety.config import SafetyConfig
from runtime.safety.effort_limits import EffortLimits
from runtime.safety.limits import (
    CORRECTED,
    NOT_FINITE,
    JointBounds,
    JointLimits,
    Limits,
    Path,
    braking_distance,
    reach,
)
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_ROUNDING = 1e-5
"""rad or rad/s; the graph's own clamps are float32."""
_LONGEST_PATH = 200
"""Periods of braking that are looked at."""


class SpeedLimits(NamedTuple):
    """Limits of one joint whose drive is told velocities: rad and rad/s, or m and m/s."""

    low: float
    """Of its position; infinite of a joint that turns without end."""
    high: float
    slowest: float
    """Of what it may be told; below 0."""
    fastest: float
    change: float
    """Of what it is told, from one period to the next."""
    period_s: float

    def bounded(self, wanted: float, position: float, last: float, share: float) -> float:
        """What it is told, of what is wanted, at a measured position after it was told `last`."""
        upward = min(self.fastest * share, self._reach(self.high - position, last))
        downward = max(self.slowest * share, -self._reach(position - self.low, -last))
        told = max(min(wanted, upward), downward)
        # What leads back inside is no faster than anything else.
        told = max(min(told, self.fastest * share), self.slowest * share)
        return max(min(told, last + self.change), last - self.change)

    def _reach(self, room: float, last: float) -> float:
        """The fastest towards a limit from which it comes to rest within `room`, told `last` that way before."""
        return math.inf if math.isinf(room) else reach(room / self.period_s - last / 2, self.change)

    def braked(self, last: float) -> float:
        """What it is told next on the way to standing still."""
        return math.copysign(max(abs(last) - self.change, 0.0), last)


class DriveLimits(Remembers):
    """See `runtime.safety.limits.Limits`, whose place it takes: `target` `[J]` is in the unit of each joint's drive."""

    remembered = ("target", "_last")

    def __init__(self, joints: Sequence[AnyLimits]) -> None:
        self.target = np.zeros(len(joints))
        self.measured: Float64 = np.zeros(len(joints))
        """Positions `[J]` of the latest readings that can be trusted."""
        self.velocity: Float64 = np.zeros(len(joints))
        """Velocities `[J]` of the same; drives that are told efforts are judged by them."""
        self._joints = tuple(joints)
        self._at_zero = np.array([not isinstance(joint, JointLimits) for joint in joints])
        """Whose target is 0 at rest, `[J]`."""
        self._last, self._proposed, self._steps = ([0.0] * len(joints) for _ in range(3))
        """Of `target`: the last step of a position, the velocity or effort itself."""

    def start(self, position: Float64) -> None:
        """Stand still at `position` `[J]`."""
        self.take(np.where(self._at_zero, 0.0, position))

    def take(self, target: Float64) -> None:
        """Go on from what another one told the drives, `[J]`."""
        self.target[:] = target
        self._last = np.where(self._at_zero, target, 0.0).tolist()

    @property
    def present(self) -> list[float]:
        """Where the joints are `[J]`, for whom the geometry asks: sent to, or measured where nothing says so."""
        found: list[float] = np.where(self._at_zero, self.measured, self.target).tolist()
        return found

    def propose(self, command: NDArray[np.floating], share: float) -> int:
        """See `Limits.propose`."""
        wanted = command.tolist()
        if not all(map(math.isfinite, wanted)):
            return NOT_FINITE
        seen = zip(self.measured.tolist(), self.velocity.tolist(), strict=True)
        rows = zip(self._joints, wanted, self.target.tolist(), seen, self._last, strict=True)
        moved = [_bounded(*row, share) for row in rows]
        self._proposed, self._steps = [x for x, _ in moved], [step for _, step in moved]
        differs = any(abs(x - y) > _ROUNDING for x, y in zip(self._proposed, wanted, strict=True))
        return CORRECTED if differs else 0

    def path(self) -> Path:
        """See `Limits.path`; of joints that are told velocities, where those lead them, and of joints that are told
        efforts, where they will be a period later.
        """
        seen = zip(self.measured.tolist(), self.velocity.tolist(), strict=True)
        rows = zip(self._joints, seen, self._last, self._proposed, self._steps, strict=True)
        ways = [_way(*row) for row in rows]
        longest = max(map(len, ways))
        return [[way[min(tick, len(way) - 1)] for way in ways] for tick in range(longest)]

    def accept(self) -> None:
        """Take what was proposed."""
        self.target[:] = self._proposed
        self._last = self._steps

    def brake(self) -> None:
        """Come to rest as fast as the acceleration limits allow."""
        rows = zip(self._joints, self.target.tolist(), self._last, strict=True)
        moved = [_braked(*row) for row in rows]
        self._proposed, self._steps = [x for x, _ in moved], [step for _, step in moved]
        self.accept()

    def yield_to(self, measured: Float64, decay: float, share: float) -> None:
        """See `Limits.yield_to`; a velocity servo yields by being told to stand still, a motor by no effort."""
        wanted = self.target + decay * (measured - self.target)
        rows = zip(self._joints, self.target.tolist(), wanted.tolist(), self._last, strict=True)
        moved = [
            joint.bounded(to, x, last, share) if isinstance(joint, JointLimits) else _braked(joint, x, last)
            for joint, x, to, last in rows
        ]
        self._proposed, self._steps = [x for x, _ in moved], [step for _, step in moved]
        self.accept()


AnyLimits = JointLimits | SpeedLimits | EffortLimits
_Seen = tuple[float, float]
"""A joint's measured position and velocity."""


def _bounded(
    joint: AnyLimits, wanted: float, present: float, seen: _Seen, last: float, share: float
) -> tuple[float, float]:
    if isinstance(joint, JointLimits):
        return joint.bounded(wanted, present, last, share)
    if isinstance(joint, SpeedLimits):
        told = joint.bounded(wanted, seen[0], last, share)
    else:
        told = joint.bounded(wanted, *seen, last, share)
    return told, told


def _braked(joint: AnyLimits, present: float, last: float) -> tuple[float, float]:
    if isinstance(joint, EffortLimits):
        return 0.0, 0.0
    if isinstance(joint, SpeedLimits):
        told = joint.braked(last)
        return told, told
    step = math.copysign(max(abs(last) - joint.change, 0.0), last)
    x, inside = present + step, joint.low <= present <= joint.high
    return (min(max(x, joint.low), joint.high) if inside else x), step


def _way(joint: AnyLimits, seen: _Seen, last: float, told: float, step: float) -> list[float]:
    """Positions of one joint after every period until it rests, braking after this one; after one period where nobody
    knows how it brakes.
    """
    if isinstance(joint, EffortLimits):
        return [joint.ahead(*seen)]
    if isinstance(joint, JointLimits):
        way, x = [told], told
        while abs(step) > joint.change and len(way) < _LONGEST_PATH:
            step -= math.copysign(joint.change, step)
            x += step
            way.append(x)
        return way
    way, q = [], seen[0]
    while not way or (told != 0.0 and len(way) < _LONGEST_PATH):
        q += (last + told) / 2 * joint.period_s
        way.append(q)
        last, told = told, joint.braked(told)
    way.append(q + last / 2 * joint.period_s)
    return way


def limits_of(bounds: JointBounds) -> Limits | DriveLimits:
    """The rules for these bounds: the quick ones where all drives are told positions."""
    if all(mode == "position" for mode in bounds.modes):
        return Limits(bounds.low, bounds.high, bounds.step, bounds.change)
    columns = (bounds.low, bounds.high, bounds.step, bounds.change, bounds.least_position, bounds.most_position)
    joints: list[AnyLimits] = []
    for mode, row in zip(bounds.modes, zip(*(c.tolist() for c in columns), strict=True), strict=True):
        low, high, step, change, least, most = row
        if mode == "velocity":
            joints.append(SpeedLimits(least, most, low, high, change, bounds.period_s))
        elif mode == "effort":
            joints.append(EffortLimits(least, most, low, high, step, change, bounds.period_s))
        else:
            joints.append(JointLimits(low, high, step, change, braking_distance(step, change)))
    return DriveLimits(joints)


def joint_bounds(contract: Contract, config: SafetyConfig) -> JointBounds:
    """What the contract and the settings allow; `ShoalError` where the margin leaves a joint no room."""
    joints, period, margin = contract.robot.joints, contract.timing.control_dt_s, config.position_margin_rad
    modes = tuple(joint.mode for joint in joints)
    positions, efforts = (np.array([mode == name for mode in modes]) for name in ("position", "effort"))
    inwards = np.array([margin, -margin])
    places = np.array([joint.position_range for joint in joints]) + inwards
    shares = {"position": 1.0, "velocity": config.velocity_share, "effort": min(1.0, config.effort_share or 1.0)}
    share = np.array([shares[mode] for mode in modes])
    commands = np.array([joint.command_range for joint in joints]) * share[:, None]
    commands += np.where(positions[:, None], inwards, 0.0)
    rooms = np.where(positions[:, None], commands, places)
    if (rooms[:, 0] >= rooms[:, 1]).any():
        index = int(np.argmin(rooms[:, 1] - rooms[:, 0]))
        low, high = joints[index].command_range if positions[index] else joints[index].position_range
        raise ShoalError(
            f"safety: position_margin_rad {margin:g} leaves joint {joints[index].name!r} no room between {low:g} and "
            f"{high:g} rad; make it smaller."
        )
    fastest = np.array([joint.velocity_max for joint in joints]) * config.velocity_share
    change = np.array(config.accelerations_rad_s2(contract)) * period
    change = np.where(positions, change * period, change)
    return JointBounds(
        low=commands[:, 0],
        high=commands[:, 1],
        step=np.where(positions, fastest * period, fastest),
        change=np.where(efforts, contract.action.step_max, change),
        modes=modes,
        least_position=places[:, 0],
        most_position=places[:, 1],
        period_s=period,
    )
