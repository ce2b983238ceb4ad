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

import numpy as np

from runtime.safety.readings import Float64

_ROUNDING_RAD = 1e-5
"""The graph's own clamps are float32; a correction below this is not worth counting."""


class Limits:
    """Moves `target` `[J]` rad, in place, one control period at a time. Steps are in rad a period."""

    def __init__(self, low: Float64, high: Float64, step: Float64, step_change: Float64) -> None:
        self.target = np.zeros(len(low))
        self._low, self._high = low.tolist(), high.tolist()
        self._step, self._change = step.tolist(), step_change.tolist()
        self._brake = [braking_distance(v, a) for v, a in zip(self._step, self._change, strict=True)]
        self._last = [0.0] * len(low)
        self._proposed, self._steps, self.stops = self._last[:], self._last[:], self._last[:]
        """`stops`: where the proposed step's target could come to rest at the earliest."""

    def start(self, position: Float64) -> None:
        """Stand still at `position` `[J]` rad."""
        np.copyto(self.target, position)
        self._last[:] = [0.0] * len(self._last)

    def propose(self, command: list[float], share: float) -> bool:
        """Work out the allowed step towards `command` `[J]` rad, which must be finite, at `share` of the speed limit.

        Nothing moves before `accept`. Returns whether the command had to be corrected.
        """
        corrected = False
        for i, (wanted, x) in enumerate(zip(command, self.target.tolist(), strict=True)):
            last, change = self._last[i], self._change[i]
            low, high = self._low[i], self._high[i]
            upward = self._step[i] * share
            downward = -upward
            if high - x < self._brake[i]:
                upward = min(upward, reach(high - x, change))
            if x - low < self._brake[i]:
                downward = max(downward, -reach(x - low, change))
            step = min(max(wanted - x, downward), upward)
            step = min(max(step, last - change), last + change)
            # `x + (wanted - x)` may differ from `wanted` in the last bit.
            moved = wanted if step == wanted - x else x + step
            if low <= x <= high:
                moved = min(max(moved, low), high)
            corrected = corrected or abs(moved - wanted) > _ROUNDING_RAD
            self._proposed[i], self._steps[i] = moved, step
            self.stops[i] = moved + math.copysign(braking_distance(abs(step), change) - abs(step), step)
        return corrected

    def accept(self) -> None:
        """Take the proposed step."""
        self.target[:] = self._proposed
        self._last[:] = self._steps

    def brake(self) -> None:
        """Come to rest as fast as the acceleration limit allows."""
        if not any(self._last):
            return
        for i, (last, change) in enumerate(zip(self._last, self._change, strict=True)):
            self._steps[i] = math.copysign(max(abs(last) - change, 0.0), last)
            self._proposed[i] = float(self.target[i]) + self._steps[i]
            # Rounding only: the step before was one from which braking stays inside.
            if self._low[i] <= self.target[i] <= self._high[i]:
                self._proposed[i] = min(max(self._proposed[i], self._low[i]), self._high[i])
        self.accept()

    def yield_to(self, measured: Float64, decay: float, share: float) -> None:
        """Take the share `decay` of the way to the measured joints `[J]` rad, at `share` of the speed limit."""
        ahead = zip(self.target.tolist(), measured.tolist(), strict=True)
        self.propose([x + decay * (q - x) for x, q in ahead], share)
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
