"""The rule about odometry: does anybody tell where the base is?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runtime.robot.layout import Layout
from runtime.robot.readings import Readings
from runtime.safety.rules.base import Fault, Moment, ReadingRule, spoil
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract

if TYPE_CHECKING:
    from runtime.safety.config import SafetyConfig


def _lose(out: Readings) -> None:
    for part in Layout.of(out.contract).parts:
        if part.by_odometry:
            out.vector[part.entries] = math.nan


class OdometryKnown(ReadingRule):
    """Odometry tells where the base is. A driver whose odometry has gone silent says so by NaN; everything else that
    the robot measures is as good as ever, so that it holds its stance until odometry is back, and does not yield.
    """

    name = "odometry"
    bounds = "every reading that odometry tells: known at all; for robots with a base that moves"
    reasons = (Reason.ODOMETRY_LOST,)
    joints_believed = True
    faults = (
        Fault(
            "odometry lost",
            "nothing tells where the base is (policies that move one)",
            spoil(_lose),
            "hold, as long as it takes; a ramp-in when it is back",
            80,
        ),
    )

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        self._parts = [part for part in layout.parts if part.by_odometry]

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """See `ReadingRule`."""
        return any(part.by_odometry for part in Layout.of(contract).parts)

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        for part in self._parts:
            if any(map(math.isnan, moment.values[part.entries])):
                return Reason.ODOMETRY_LOST
        return FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`; there is no value to tell."""
        return ""


RULES: tuple[type[ReadingRule], ...] = (OdometryKnown,)
