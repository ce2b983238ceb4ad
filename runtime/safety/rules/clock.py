"""Rules about when readings were measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runtime.robot.layout import Layout
from runtime.safety.rules.base import Layer, Moment, ReadingRule
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract, Frozen, Positive

if TYPE_CHECKING:
    from runtime.safety.config import SafetyConfig

_MOST_TICKS = 1000


class ClockSettings(Frozen):
    """Settings of the rules about time."""

    clock_jump_s: Positive | None = 1.0
    """A larger step of the driver's clock between two ticks costs a tick of hold and a ramp-in; so does any backward
    one."""
    stale_after_periods: Positive = 3.0
    """Control periods after which readings are too old."""

    @property
    def stale_ticks(self) -> int:
        """Ticks after which readings are too old."""
        return math.ceil(min(self.stale_after_periods, _MOST_TICKS))

    def stale_after_s(self, contract: Contract) -> float:
        """Age beyond which readings are refused."""
        return self.stale_after_periods * contract.timing.control_dt_s


class ClockJumps(ReadingRule):
    """The driver's clock runs on, without a jump."""

    begins_anew = True
    remembered = ("_now_s",)
    name = "clock jumps"
    bounds = "the driver's clock between two ticks; it may not go back at all"
    fields = ("clock_jump_s",)
    reasons = (Reason.CLOCK_JUMPED,)

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        self._largest = config.clock_jump_s or math.inf
        self._now_s = self._step_s = -math.inf

    def restart(self) -> None:
        """See `ReadingRule`."""
        self._now_s = -math.inf

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        before, self._now_s = self._now_s, moment.now_s
        if before == -math.inf or 0 <= moment.now_s - before <= self._largest:
            return FOLLOWING
        self._step_s = moment.now_s - before
        return Reason.CLOCK_JUMPED

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        return f"now_s went on by {self._step_s:.4g} s in a tick, and must by 0 to {self._largest:g} s"


class StaleReadings(ReadingRule):
    """Readings are of this moment, neither old nor from the future."""

    name = "stale readings"
    bounds = "the age of the readings"
    fields = ("stale_after_periods",)
    reasons = (Reason.READING_STALE,)

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        self._largest = config.stale_after_s(contract)

    @classmethod
    def numbers(cls, layer: Layer) -> str:
        """See `Rule`."""
        return f"{1e3 * layer.config.stale_after_s(layer.contract):g} ms"

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        age = moment.now_s - moment.time_s
        return FOLLOWING if -self._largest <= age <= self._largest else Reason.READING_STALE

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        age_s = moment.now_s - moment.time_s
        told = f"{age_s:.4g} s old" if age_s > 0 else f"{-age_s:.4g} s ahead of now_s"
        return f"time_s is {told}, and may be {self._largest:g} s"


class ReadingOrder(ReadingRule):
    """No reading is older than the one before it. Tells the rules after it which readings are new."""

    name = "order of readings"
    bounds = "when they were measured: never before those of the tick before"
    reasons = (Reason.READING_OUT_OF_ORDER,)
    remembered = ("_newest_s",)

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        self._newest_s = -math.inf

    def restart(self) -> None:
        """See `ReadingRule`."""
        self._newest_s = -math.inf

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        time_s, newest_s = moment.time_s, self._newest_s
        if time_s < newest_s:
            return Reason.READING_OUT_OF_ORDER
        moment.fresh, self._newest_s = time_s != newest_s, time_s
        return FOLLOWING

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        return f"time_s is {moment.time_s:.6g} s, after {self._newest_s:.6g} s"


RULES: tuple[type[ReadingRule], ...] = (ClockJumps, StaleReadings, ReadingOrder)
