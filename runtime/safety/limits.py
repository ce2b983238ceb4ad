"""Bounds on the target's motion: position, velocity and acceleration of each joint, whatever is commanded.

With x the target, p its last step and a the largest change of a step (acceleration times the period squared), the next
step s of a joint satisfies, each rule giving way to the one after it,

    |s| <= v                    velocity limit times the period, times the present share
    s <= reach(high - x)        from there, braking by `a` a period comes to rest at the limit; likewise downwards
    |s - p| <= a                acceleration

The last never asks to break the one before: p <= reach(room) implies p - a <= reach(room - p).
A target that starts outside its limits (a joint leaning on its stop) comes back under the other two rules.

Plain floats instead of arrays: for the handful of joints of an arm that is as fast, and a pass of ten array operations
is not.
"""

from __future__ import annotations

import math
from operator import gt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.memory import Remembers
from runtime.robot.readings import Float64

if TYPE_CHECKING:
    from runtime.safety.compiled.clearance import FirstLook

NOT_FINITE, CORRECTED, TAKEN = 1, 2, 4
"""What came of a command: no step, because it is not finite; a step that had to be corrected; a step that was taken at
once, because a look showed the way to rest after it to be certainly allowed."""

_ROUNDING_RAD = 1e-5
"""The graph's own clamps are float32; a correction below this is not worth counting."""
_SPACING_RAD = 0.05
"""Of the places on a braking path that are looked at."""


class Limits(Remembers):
    """Moves `target` `[J]` rad, in place, one control period at a time. Steps are in rad a period.

    `runtime.safety.compiled` has a faster one, which is compared with this one.
    """

    remembered = ("target", "_last")

    def __init__(self, low: Float64, high: Float64, step: Float64, step_change: Float64) -> None:
        self.target = np.zeros(len(low))
        limits = zip(low.tolist(), high.tolist(), step.tolist(), step_change.tolist(), strict=True)
        self._rows = [(least, most, v, a, braking_distance(v, a)) for least, most, v, a in limits]
        self._changes = step_change.tolist()
        self._last, self._proposed, self._steps = (np.zeros(len(low)) for _ in range(3))

    def start(self, position: Float64) -> None:
        """Stand still at `position` `[J]` rad."""
        self.target[:] = position
        self._last.fill(0.0)

    def propose(self, command: NDArray[np.floating], share: float, look: FirstLook | None = None) -> int:
        """Work out the allowed step towards `command` `[J]` rad at `share` of the speed limit.

        Nothing moves before `accept`, unless `TAKEN` is among what is returned, besides `NOT_FINITE` and `CORRECTED`;
        these limits make no use of a `look`, but others do.
        """
        wanted_all = command.tolist()
        if not all(map(math.isfinite, wanted_all)):
            return NOT_FINITE
        found, proposed, steps = 0, [], []
        rows = zip(wanted_all, self.target.tolist(), self._last.tolist(), self._rows, strict=True)
        for wanted, x, last, (low, high, full, change, brake) in rows:
            step = wanted - x
            upward = full * share
            downward = -upward
            if high - x < brake:
                upward = min(upward, reach(high - x, change))
            if x - low < brake:
                downward = max(downward, -reach(x - low, change))
            if not downward <= step <= upward:
                step = upward if step > upward else downward
            if not -change <= step - last <= change:
                step = last + change if step > last else last - change
            # `x + (wanted - x)` may differ from `wanted` in the last bit.
            moved = wanted if step == wanted - x else x + step
            if not low <= moved <= high and low <= x <= high:
                moved = high if moved > high else low
            if abs(moved - wanted) > _ROUNDING_RAD:
                found = CORRECTED
            proposed.append(moved)
            steps.append(step)
        self._proposed[:], self._steps[:] = proposed, steps
        return found

    def path(self) -> list[list[float]]:
        """Where the target would come if the proposed step were taken and it then braked: positions `[J]` rad, the
        step's first and the place of rest last, none further than `_SPACING_RAD` from the next where a tick allows it.
        """
        here, steps = self._proposed.tolist(), self._steps.tolist()
        path, moved = [here[:]], 0.0
        changes = self._changes
        while any(map(gt, map(abs, steps), changes)):
            for i, (step, change) in enumerate(zip(steps, changes, strict=True)):
                steps[i] = math.copysign(max(abs(step) - change, 0.0), step)
                here[i] += steps[i]
            moved += max(map(abs, steps))
            if moved >= _SPACING_RAD:
                path.append(here[:])
                moved = 0.0
        if moved:
            path.append(here)
        return path

    def accept(self) -> None:
        """Take the proposed step."""
        self.target[:] = self._proposed
        self._last[:] = self._steps

    def brake(self) -> None:
        """Come to rest as fast as the acceleration limit allows."""
        steps = self._last.tolist()
        if not any(steps):
            return
        rows = zip(self.target.tolist(), steps, self._rows, strict=True)
        for i, (x, last, (low, high, _, change, _)) in enumerate(rows):
            step = math.copysign(max(abs(last) - change, 0.0), last)
            # Clipping mends rounding only: the step before was one from which braking stays inside.
            moved = min(max(x + step, low), high) if low <= x <= high else x + step
            self._proposed[i], self._steps[i] = moved, step
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
