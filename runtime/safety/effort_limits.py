"""Bounds on what a drive is told that takes efforts: a motor with no servo between it and the policy.

With e the effort that is wanted, p the one told before, q and v the joint's measured position and velocity, the effort
that is told is e within the drive's limits and within p plus or minus the policy's largest step, and none at all

    where it pushes along v           and v is at the velocity limit, times the present share, or beyond
    where it pushes towards a limit   and q + v * period is at that limit or beyond

so that an effort may always slow a joint down and lead it back. In every state in which nothing is followed the effort
is 0: the robot's own friction and damping bring it to rest, and what gravity pulls comes down. No damping is added by
way of measured velocities: a period late, it would shake light joints instead of calming them.
"""

from __future__ import annotations

from typing import NamedTuple


class EffortLimits(NamedTuple):
    """Limits of one joint whose drive is told efforts: rad and N m, or m and N."""

    low: float
    """Of its position; infinite of a joint that turns without end."""
    high: float
    least: float
    """Of what it may be told; below 0."""
    most: float
    fastest: float
    """Speed from which on nothing pushes it further."""
    change: float
    """Of what it is told, from one period to the next; nothing limits how it goes back to 0."""
    period_s: float

    def bounded(self, wanted: float, position: float, velocity: float, last: float, share: float) -> float:
        """What it is told, of what is wanted, at a measured position and velocity after it was told `last`."""
        told = max(min(wanted, last + self.change, self.most), last - self.change, self.least)
        ahead = self.ahead(position, velocity)
        if told > 0.0 and (velocity >= self.fastest * share or ahead >= self.high):
            return 0.0
        if told < 0.0 and (velocity <= -self.fastest * share or ahead <= self.low):
            return 0.0
        return told

    def ahead(self, position: float, velocity: float) -> float:
        """Where it will be a period later."""
        return position + velocity * self.period_s
