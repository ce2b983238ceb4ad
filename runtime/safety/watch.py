"""What is wrong with the readings, if anything: one rule after the other, until one says so."""

from __future__ import annotations

from typing import Any

from runtime.memory import Remembers
from runtime.robot.layout import Layout
from runtime.robot.readings import Float64, Readings
from runtime.safety import rules
from runtime.safety.config import SafetyConfig
from runtime.safety.geometry_checker import GeometryChecker
from runtime.safety.rules.base import Moment, ReadingRule
from runtime.safety.rules.joints import Effort
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract


class ReadingWatch(Remembers):
    """Judges each tick's readings. Time runs in seconds of the driver's clock. Nothing here moves the robot."""

    def __init__(self, contract: Contract, config: SafetyConfig) -> None:
        layout = Layout.of(contract)
        kinds = [kind for kind in rules.READING_RULES if kind.applies(contract) and kind.is_set(config)]
        self.rules: list[ReadingRule] = [kind(contract, config, layout) for kind in kinds]
        """In the order in which they judge."""
        self._judges = [(rule.judge, rule) for rule in self.rules]
        self._moment = Moment()
        self.reason = FOLLOWING
        """The last verdict."""
        self.stale_after_s = config.stale_after_s(contract)
        self.detail = ""
        """What is wrong in this tick: which reading, its value, and what it should be; empty when nothing is."""
        self.joints_believed = False
        """Whether the joints of this tick are where they are said to be."""
        self.restart()

    def restart(self) -> None:
        """Forget the ticks before: the robot or its clock began anew."""
        for rule in self.rules:
            rule.restart()

    def memory(self) -> dict[str, Any]:
        """See `Remembers`; of every rule."""
        return {rule.name: rule.memory() for rule in self.rules}

    def recall(self, memory: dict[str, Any]) -> None:
        """See `Remembers`."""
        for rule in self.rules:
            rule.recall(memory[rule.name])

    @property
    def measures_effort(self) -> bool:
        """Whether any reading had efforts."""
        return any(isinstance(rule, Effort) and rule.is_measured for rule in self.rules)

    def check(
        self,
        readings: Readings,
        now_s: float,
        target: Float64,
        *,
        started: bool,
        yielding: bool,
        checker: GeometryChecker | None = None,
    ) -> Reason:
        """`FOLLOWING` when the readings can be trusted and show nothing wrong; `target` is where the joints were sent.

        `started` is False before the first trusted readings, when there is no target yet. While `yielding`, the target
        comes to joints that may well stand still. `checker` knows the robot's geometry.
        """
        moment = self._moment
        moment.readings, moment.values, moment.time_s = readings, readings.vector.tolist(), readings.time_s
        moment.now_s, moment.target, moment.checker = now_s, target.tolist(), checker
        moment.started, moment.yielding = started, yielding
        for judge, rule in self._judges:
            reason = judge(moment)
            if reason is not FOLLOWING:
                self._note(reason, rule)
                return reason
        self.reason, self.detail, self.joints_believed = FOLLOWING, "", True
        return FOLLOWING

    def _note(self, reason: Reason, rule: ReadingRule) -> None:
        if reason is not self.reason:
            # A fault is put into words when it begins, not in every tick.
            self.reason, self.detail = reason, rule.explain(self._moment)
        self.joints_believed = rule.joints_believed
        if rule.begins_anew:
            for other in self.rules:
                if other is not rule:
                    other.restart()
