"""Rules about a base that stands on legs or wheels: does it still stand?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from runtime.robot.layout import Kind, Layout, Part
from runtime.safety.rules.base import Moment, ReadingRule
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract, Frozen, Positive

if TYPE_CHECKING:
    from runtime.safety.config import SafetyConfig


class BalanceSettings(Frozen):
    """Settings of the rules about a base that can fall."""

    tilt_max_deg: Annotated[float, Field(gt=0, lt=180)] | None = 80.0
    """How far the base may lean; beyond it the robot is falling, and its joints yield. No tighter than where episodes
    of the tasks that ship are over, so that no policy meets it that still does what it has learnt."""
    height_min_m: Positive | None = None
    """How low the base may come, where its height is measured."""


class Upright(ReadingRule):
    """The base leans no farther than it can stand, by which way is down, or by its orientation where no inertial unit
    tells.
    """

    name = "upright"
    bounds = "how far the base leans; for robots that can fall"
    fields = ("tilt_max_deg",)
    reasons = (Reason.FALLING,)
    joints_believed = True

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        self._part = _tells_down(contract, layout)
        self._largest_deg = math.inf if config.tilt_max_deg is None else config.tilt_max_deg
        self._least = -1.0 if config.tilt_max_deg is None else math.cos(math.radians(config.tilt_max_deg))

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """See `Rule`."""
        return _tells_down(contract, Layout.of(contract)) is not None

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        # What is no number is for other rules to judge.
        return Reason.FALLING if self._cosine(moment) < self._least else FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        assert self._part is not None
        leans = math.degrees(math.acos(max(-1.0, min(1.0, self._cosine(moment)))))
        return f"by {self._part.name} the base leans by {leans:.0f} deg, and may by {self._largest_deg:g} deg"

    def _cosine(self, moment: Moment) -> float:
        """Of the angle between the base's vertical axis and the world's; 1 upright, whatever a vector's length."""
        assert self._part is not None
        values = moment.values[self._part.entries]
        length = math.hypot(*values) or 1.0
        if self._part.kind is Kind.DOWN:
            return -values[2] / length
        _, x, y, _ = values
        return 1 - 2 * (x * x + y * y) / length**2


class HighEnough(ReadingRule):
    """The base is no lower than legs hold it."""

    name = "base's height"
    bounds = "how low the base comes; for robots that measure it"
    fields = ("height_min_m",)
    reasons = (Reason.TOO_LOW,)
    joints_believed = True

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        (self._part, *_) = layout.of_kind(Kind.HEIGHT)
        self._least = -math.inf if config.height_min_m is None else config.height_min_m

    @classmethod
    def applies(cls, contract: Contract) -> bool:
        """See `Rule`."""
        return bool(Layout.of(contract).of_kind(Kind.HEIGHT))

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        return Reason.TOO_LOW if moment.values[self._part.entries][0] < self._least else FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        (height,) = moment.values[self._part.entries]
        return f"{self._part.entry(0, height)}, and must be {self._least:g} m or more"


def _tells_down(contract: Contract, layout: Layout) -> Part | None:
    """The reading by which to tell how far a base leans that is not bolted to the ground."""
    units = layout.of_kind(Kind.DOWN)
    if units:
        return units[0]
    turned = [part for part in layout.of_kind(Kind.ROTATION) if part.name == contract.goal.heading]
    return turned[0] if turned else None


RULES: tuple[type[ReadingRule], ...] = (Upright, HighEnough)
