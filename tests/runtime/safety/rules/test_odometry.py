"""Robots whose base moves: when nobody tells where it is, they stay as they stand, as long as that takes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from runtime.diagnostics.chaos.readings import reading_scenarios
from runtime.diagnostics.chaos.scenario import Subject, run_scenario
from runtime.inference.policy import Policy
from runtime.robot.readings import Readings
from runtime.safety import Safety, SafetyConfig, load_safety, rules
from runtime.safety.rules.odometry import OdometryKnown
from runtime.status import FOLLOWING, Reason, State
from sim2real.contract import Contract
from sim2real.tasks.task import load_task
from tests.runtime.safety.test_balance import lean, standing

MODELS = Path(__file__).parents[4] / "models"


@pytest.fixture(scope="module")
def quadruped() -> Contract:
    return load_task("quadruped_walk").contract


def verdict(safety: Safety, readings: Readings, now_s: float = 0.0) -> Reason:
    readings.time_s = now_s
    reason = safety.check(readings, now_s)
    if reason is FOLLOWING and not safety.started:
        safety.start(readings.joints)
    safety.settle(reason)
    return safety.reason


@pytest.mark.parametrize("lost", ["base_pose", "base_orientation"])
def test_lost_odometry_holds_the_stance_as_long_as_it_lasts(quadruped: Contract, lost: str) -> None:
    safety, readings = Safety(quadruped), standing(quadruped)
    assert verdict(safety, readings) is FOLLOWING
    target = safety.target.copy()
    known = readings[lost].copy()
    readings[lost][:] = math.nan
    for tick in range(1, 500):
        assert verdict(safety, readings, 0.02 * tick) is Reason.ODOMETRY_LOST
        assert safety.state is State.HOLD
    assert safety.sentence == "nothing tells where the base is; is its odometry running?"
    np.testing.assert_array_equal(safety.target, target)
    readings[lost][:] = known
    assert verdict(safety, readings, 10.0) is FOLLOWING


def test_a_robot_that_falls_while_odometry_is_lost_yields(quadruped: Contract) -> None:
    safety, readings = Safety(quadruped), standing(quadruped)
    lean(readings, 85.0)
    readings.base_pose[:] = readings.base_orientation[:] = math.nan
    assert verdict(safety, readings) is Reason.FALLING
    assert safety.state is State.DAMP


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_other_numbers_that_are_none_are_still_faults(quadruped: Contract, value: float) -> None:
    safety, readings = Safety(quadruped), standing(quadruped)
    readings.base_pose[:] = math.nan
    readings.joint_position[3] = value
    assert verdict(safety, readings) is Reason.READING_NOT_FINITE


def test_odometry_that_is_no_rotation_or_far_away_is_a_fault(quadruped: Contract) -> None:
    for name, value, reason in (
        ("base_pose", math.inf, Reason.READING_OUT_OF_RANGE),
        ("base_pose", 50.0, Reason.READING_OUT_OF_RANGE),
        ("base_orientation", 2.0, Reason.READING_NO_ROTATION),
    ):
        safety, readings = Safety(quadruped), standing(quadruped)
        readings[name][0] = value
        assert verdict(safety, readings) is reason, (name, value)


def test_robots_without_odometry_have_no_such_rule(quadruped: Contract) -> None:
    assert OdometryKnown in rules.rules_of(quadruped)
    assert OdometryKnown not in rules.rules_of(load_task("franka_pose").contract)


@pytest.mark.parametrize("model", ["quadruped_walk", "mobile_base"])
def test_chaos_takes_odometry_away_from_a_robot_that_moves(model: str) -> None:
    (scenario,) = (scenario for scenario in reading_scenarios() if scenario.name == "odometry lost")
    settings = MODELS / f"{model}.safety.yaml"
    subject = Subject(
        Policy(MODELS / f"{model}.onnx"), safety=load_safety(settings) if settings.exists() else SafetyConfig()
    )
    assert scenario.concerns(subject)
    outcome = run_scenario(scenario, subject)
    assert outcome.passed, outcome.problems
