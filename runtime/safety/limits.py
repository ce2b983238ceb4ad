"""Bounds on the target's motion: position, velocity and acceleration of each joint, whatever is commanded.

With x the target, p its last step and a the largest change of a step (acceleration times the period squared), the next
step s of a joint satisfies, each rule giving way to the one after it,

    |s| <= v                    velocity limit times the period, times the present share
    s <= reach(high - x)        from there, braking by `a` a period comes to rest at the limit; likewise downwards
    |s - p| <= a                acceleration

The last never asks to break the one before: p <= reach(room) implies p - a <= reach(room - p).
A target that starts outside its limits (a joint leaning on its stop) comes back under the other two rules.

Plain floats instead of arrays: for the handful of joints of an arm a pass of ten array operations takes longer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from operator import gt, sub
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.memory import Remembers
from runtime.robot.readings import Float64
from sim2real.terms.actions.base import Mode

NOT_FINITE, CORRECTED = 1, 2
"""What came of a command: no step, because it is not finite; a step that had to be corrected."""

_ROUNDING_RAD = 1e-5
"""The graph's own clamps are float32; a correction below this is not worth counting."""
_SPACING_RAD = 0.05
"""Of the places on a braking path that are looked at."""

Path = Sequence[Sequence[float]] | Float64
"""Positions of all joints, one after the other, `[P, J]` rad."""


class JointLimits(NamedTuple):
    """Limits of one joint's target, rad and rad a period."""

    low: float
    high: float
    step: float
    change: float
    braking: float
    """What the target covers when it brakes from the velocity limit."""

    def bounded(self, wanted: float, x: float, last: float, share: float) -> tuple[float, float]:
        """Where the target comes from `x` towards `wanted`, after a step `last`; and the step."""
        low, high, full, change, braking = self
        step = wanted - x
        upward = full * share
        downward = -upward
        if high - x < braking:
            upward = min(upward, reach(high - x, change))
        if x - low < braking:
            downward = max(downward, -reach(x - low, change))
        if not downward <= step <= upward:
            step = upward if step > upward else downward
        if not -change <= step - last <= change:
            step = last + change if step > last else last - change
        # `x + (wanted - x)` may differ from `wanted` in the last bit.
        moved = wanted if step == wanted - x else x + step
        if not low <= moved <= high and low <= x <= high:
            moved = high if moved > high else low
        return moved, step


class JointBounds(NamedTuple):
    """All that limits what the drives are told, `[J]` each, in the unit of each joint's drive."""

    low: Float64
    """Least command."""
    high: Float64
    step: Float64
    """Largest change of a position in a period; of drives that are told velocities or efforts, the largest speed."""
    change: Float64
    """Largest change of that from one period to the next; of drives that are told efforts, of those."""
    modes: tuple[Mode, ...]
    """What each drive is told."""
    least_position: Float64
    """For those that are not told positions, and infinite where a joint turns without end."""
    most_position: Float64
    period_s: float


class Limits(Remembers):
    """Moves `target` `[J]` rad, in place, one control period at a time. Steps are in rad a period."""

    remembered = ("target", "_last")

    def __init__(self, low: Float64, high: Float64, step: Float64, step_change: Float64) -> None:
        self.target = np.zeros(len(low))
        self.measured: Float64 = np.zeros(len(low))
        """Positions `[J]` rad of the latest readings that can be trusted."""
        limits = zip(low.tolist(), high.tolist(), step.tolist(), step_change.tolist(), strict=True)
        joints = [JointLimits(least, most, v, a, braking_distance(v, a)) for least, most, v, a in limits]
        self._joints = joints
        # Between these places no joint limit asks to brake yet.
        self._rows = [(x.low + x.braking, x.high - x.braking, -x.step, x.step, -x.change, x.change) for x in joints]
        self._change, self._changes = step_change, step_change.tolist()
        self._last, self._proposed, self._steps = ([0.0] * len(low) for _ in range(3))
        self._rests_at_once = all(x.step <= x.change for x in joints)
        """Whether a target that nothing corrects comes to rest within one period."""
        self._may_coast = False
        # Four times as fast as to assign a list to an array.
        self._pack, self._memory = struct.Struct(f"{len(low)}d").pack_into, memoryview(self.target.data).cast("B")

    def start(self, position: Float64) -> None:
        """Stand still at `position` `[J]` rad."""
        self.target[:] = position
        self._last = [0.0] * len(self._last)

    take = start
    """Go on from another one's target; nobody says how fast that moved."""

    @property
    def present(self) -> list[float]:
        """Where the joints are sent, `[J]` rad."""
        found: list[float] = self.target.tolist()
        return found

    def propose(self, command: NDArray[np.floating], share: float) -> int:
        """Work out the allowed step towards `command` `[J]` rad at `share` of the speed limit.

        Nothing moves before `accept`. Returns `NOT_FINITE`, `CORRECTED` or 0.
        """
        wanted, present, rows = command.tolist(), self.target.tolist(), self._rows
        steps = list(map(sub, wanted, present))
        if share != 1.0:
            rows = [(low, high, down * share, up * share, least, most) for low, high, down, up, least, most in rows]
        for step, x, last, (low, high, down, up, least, most) in zip(steps, present, self._last, rows, strict=True):
            # Written so that what is not finite does not pass.
            if not (down <= step <= up and least <= step - last <= most and low <= x <= high):
                return self._correct(wanted, present, share)
        # Nothing binds, as in most ticks.
        self._proposed, self._steps, self._may_coast = wanted, steps, not self._rests_at_once
        return 0

    def _correct(self, wanted: list[float], present: list[float], share: float) -> int:
        if not all(map(math.isfinite, wanted)):
            return NOT_FINITE
        rows = zip(self._joints, wanted, present, self._last, strict=True)
        moved = [joint.bounded(target, x, last, share) for joint, target, x, last in rows]
        self._proposed, self._steps, self._may_coast = [x for x, _ in moved], [step for _, step in moved], True
        corrections = map(abs, map(sub, self._proposed, wanted))
        return CORRECTED if any(correction > _ROUNDING_RAD for correction in corrections) else 0

    def path(self) -> Path:
        """Where the target would come if the proposed step were taken and it then braked: positions `[P, J]` rad, the
        step's first and the place of rest last, none further than `_SPACING_RAD` from the next where a tick allows it.
        """
        if not (self._may_coast and any(map(gt, map(abs, self._steps), self._changes))):
            return [self._proposed]
        step, change = np.array(self._steps), self._change
        size = np.abs(step)
        ticks_to_rest = np.ceil(size / change) - 1
        last, stride = int(ticks_to_rest.max()), max(int(_SPACING_RAD / size.max()), 1)
        ticks = np.minimum([[tick] for tick in (*range(0, last, stride), last)], ticks_to_rest)
        # Steps s - a, s - 2 a, ... cover n s - a n (n + 1) / 2 in n ticks.
        path: Float64 = self._proposed + np.copysign(ticks * (size - 0.5 * change * (ticks + 1)), step)
        return path

    def accept(self) -> None:
        """Take the proposed step."""
        self._pack(self._memory, 0, *self._proposed)
        self._last = self._steps

    def brake(self) -> None:
        """Come to rest as fast as the acceleration limit allows."""
        if not any(self._last):
            return
        proposed, steps = [], []
        for x, last, (low, high, _, change, _) in zip(self.target.tolist(), self._last, self._joints, strict=True):
            step = math.copysign(max(abs(last) - change, 0.0), last)
            # Clipping mends rounding only: the step before was one from which braking stays inside.
            proposed.append(min(max(x + step, low), high) if low <= x <= high else x + step)
            steps.append(step)
        self._proposed, self._steps = proposed, steps
        self.accept()

    def yield_to(self, measured: Float64, decay: float, share: float) -> None:
        """Take the share `decay` of the way to the measured joints `[J]` rad, at `share` of the speed limit."""
        self.propose(self.target + decay * (measured - self.target), share)
        self.accept()


def reach(room: float, change: float) -> float:
    """Largest step (rad a period) that ends within `room` rad when each later step is smaller by `change`.

    n steps s, s - a, s - 2a, ... cover n s - a n (n - 1) / 2; the n that fits follows from n (n + 1) / 2 >= room / a.
    A negative room is left at once.
    """
    if room <= change:
        return room
    steps = math.ceil((math.sqrt(1 + 8 * room / change) - 1) / 2)
    return room / steps + change * (steps - 1) / 2


def braking_distance(step: float, change: float) -> float:
    """What a target covers that takes `step` (rad a period) now and `change` less in every later period; inverse of
    `reach`.
    """
    if step <= change:
        return step
    steps = math.ceil(step / change)
    return steps * step - change * steps * (steps - 1) / 2
