"""All that belongs to a rule stands in its class: nothing else names it, and everything that concerns rules has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.safety_tables import rule_table
from runtime.diagnostics.chaos.readings import reading_scenarios
from runtime.diagnostics.chaos.scenario import Subject, run_scenario
from runtime.inference.policy import Policy
from runtime.robot.layout import Layout
from runtime.robot.readings import Readings
from runtime.safety import Safety, SafetyConfig, rules
from runtime.safety.rules.base import Fault, Moment, ReadingRule, spoil
from runtime.status import FOLLOWING, Reason
from sim2real.contract import Contract

SHIPPED = Path(__file__).parents[3] / "models" / "franka_reach.onnx"


def _under_the_floor(out: Readings) -> None:
    out.end_effector_position[2] = -0.5


class OverTheFloor(ReadingRule):
    """The tool is above the floor."""

    name = "over the floor"
    bounds = "the measured tool, above the floor"
    reasons = (Reason.READING_OUT_OF_RANGE,)
    faults = (Fault("under the floor", "the tool under the floor", spoil(_under_the_floor)),)

    def __init__(self, contract: Contract, config: SafetyConfig, layout: Layout) -> None:
        assert layout.tool is not None
        self._place, _ = layout.tool

    def judge(self, moment: Moment) -> Reason:
        """See `ReadingRule`."""
        return FOLLOWING if moment.values[self._place.entries][2] >= 0 else Reason.READING_OUT_OF_RANGE

    def explain(self, moment: Moment) -> str:
        """See `ReadingRule`."""
        return f"{self._place.words(moment.values[self._place.entries])}, and must be above the floor"


@pytest.fixture
def with_own_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    # Before the rule of the tool at its joints, which the same fault would break.
    monkeypatch.setattr(rules, "READING_RULES", (OverTheFloor, *rules.READING_RULES))
    monkeypatch.setattr(rules, "RULES", (OverTheFloor, *rules.RULES))


@pytest.mark.usefixtures("with_own_rule")
def test_a_rule_is_one_class_and_its_line_in_the_list() -> None:
    policy = Policy(SHIPPED)
    safety = Safety(policy.contract)
    readings = Readings.of(policy.contract)
    readings.joint_position[:] = [joint.home_position for joint in policy.contract.robot.joints]
    readings.end_effector_orientation[0] = 1.0
    assert safety.check(readings, 0.0) is FOLLOWING
    _under_the_floor(readings)
    safety.settle(safety.check(readings, 0.0))
    assert safety.reason is Reason.READING_OUT_OF_RANGE
    assert safety.detail == "end_effector_position is (0, 0, -0.5), and must be above the floor"
    assert "over the floor" in rules.report(safety.layer)
    assert "| over the floor | the measured tool, above the floor |" in rule_table()
    scenario = next(scenario for scenario in reading_scenarios() if scenario.name == "under the floor")
    assert run_scenario(scenario, Subject(policy)).passed
