"""Whether ticks come no sooner than the driver's clock goes on.

Every tick moves the target by what the limits allow in one control period. Ticks that follow each other faster than
that would let a robot exceed its velocity limits, however right each of them is. So a tick that comes too early is left
out, by the rule that also holds for the policy server's clients:

    due ──── 0.9 periods after the tick before, or after when that one was due
    early ── more than 1.5 periods before it is due, by the driver's clock
"""

from __future__ import annotations

import math

LEAST_ADVANCE = 0.9
"""Of a control period per tick on average; less, and ticks are left out."""
_MOST_AHEAD = 1.5
"""Control periods. After a late tick the loop's next one is on its grid again, up to one period too early."""


class CellRate:
    """A generic cell rate algorithm: `interval_s` for each event on average, and none more than `tolerance_s` before it
    is due.
    """

    def __init__(self, interval_s: float, tolerance_s: float) -> None:
        self._interval_s, self._tolerance_s = interval_s, tolerance_s
        self.due_s = -math.inf
        """When the next event is due; times before it are early."""

    def is_early(self, time_s: float) -> bool:
        """Whether an event at this time comes too early; one that does is not counted."""
        if time_s < self.due_s - self._tolerance_s:
            return True
        self.due_s = max(time_s, self.due_s) + self._interval_s
        return False


class Cadence:
    """Counts the ticks that come too early by the driver's clock; `period_s` is the contract's control period."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self.restart()

    def restart(self) -> None:
        """Forget the ticks before."""
        self._rate = CellRate(LEAST_ADVANCE * self._period_s, _MOST_AHEAD * self._period_s)
        self._now_s = -math.inf
        self.early = 0
        """Ticks left out since the clock was last in step with them."""
        self.still = 0
        """Ticks in a row in which the clock stood still."""
        self.went_on_s = 0.0
        """How far the clock has gone on since the first of `early`."""

    def is_early(self, now_s: float) -> bool:
        """Whether a tick at this time of the driver's clock must be left out."""
        before_s, self._now_s = self._now_s, now_s
        self.still = self.still + 1 if now_s == before_s else 0
        if now_s < before_s:
            # A rule of the safety layer answers that.
            self._rate.due_s = now_s
        if self.early:
            self.went_on_s += max(0.0, now_s - before_s)
        if now_s >= self._rate.due_s:
            self.early, self.went_on_s = 0, 0.0
        early = self._rate.is_early(now_s)
        self.early += early
        return early
