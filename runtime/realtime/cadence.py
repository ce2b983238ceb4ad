"""Whether ticks come no sooner than the driver's clock goes on.

Every tick moves the target by what the limits allow in one control period. Ticks that follow each other faster than
that would let a robot exceed its velocity limits, however right each of them is. So a tick that comes too early is left
out, as a generic cell rate algorithm does it (`runtime.policy_server.session` has one for its clients):

    due ──── 0.9 periods after the tick before, or after when that one was due
    early ── more than 1.5 periods before it is due, by the driver's clock
"""

from __future__ import annotations

import math

LEAST_ADVANCE = 0.9
"""Of a control period per tick on average; less, and ticks are left out."""
_MOST_AHEAD = 1.5
"""Control periods. After a late tick the loop's next one is on its grid again, up to one period too early."""


class Cadence:
    """Counts the ticks that come too early by the driver's clock; `period_s` is the contract's control period."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self.restart()

    def restart(self) -> None:
        """Forget the ticks before."""
        self._due_s = self._now_s = -math.inf
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
            self._due_s = now_s
        ahead_s = self._due_s - now_s
        if self.early:
            self.went_on_s += max(0.0, now_s - before_s)
        if ahead_s > _MOST_AHEAD * self._period_s:
            self.went_on_s = self.went_on_s if self.early else 0.0
            self.early += 1
            return True
        if ahead_s <= 0:
            self.early = 0
        self._due_s = max(now_s, self._due_s) + LEAST_ADVANCE * self._period_s
        return False
