"""Robots that can fall: when they lean too far or come too low their joints yield, and one sentence says why."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from runtime.robot.readings import Readings
from runtime.safety import Safety, SafetyConfig, rules
from runtime.safety.rules.balance import HighEnough, Upright
from runtime.status import FOLLOWING, Reason, State
from sim2real.contract import Contract
from sim2real.tasks.task import load_task

WITH_HEIGHT = """name: measured_height
extends: quadruped_walk
readings: [joint_position, joint_velocity, joint_position_target,
  {kind: phase_clock, period_s: 0.5}, {kind: height, of: base, typical_m: 0.3, source: odometry},
  {kind: planar_pose, name: base_pose, of: base, source: odometry},
  {kind: orientation, name: base_orientation, of: base, source: odometry}]
"""


@pytest.fixture
def measured_height(tmp_path: Path) -> Contract:
    """A quadruped without an inertial unit, whose odometry tells how high its base is."""
    (tmp_path / "measured_height.yaml").write_text(WITH_HEIGHT)
    return load_task(tmp_path / "measured_height.yaml").contract


def standing(contract: Contract) -> Readings:
    """Readings of a robot that stands at home, upright."""
    readings = Readings.of(contract)
    readings.joint_position[:] = [joint.home_position for joint in contract.robot.joints]
    lean(readings, 0.0)
    return readings


def lean(readings: Readings, angle_deg: float) -> None:
    """Turn the base about its x axis."""
    angle = math.radians(angle_deg)
    readings.base_orientation[:] = math.cos(angle / 2), math.sin(angle / 2), 0.0, 0.0
    if hasattr(readings, "projected_gravity"):
        readings.projected_gravity[:] = 0.0, -math.sin(angle), -math.cos(angle)


@pytest.mark.parametrize("by", ["quadruped_walk", "ant", "measured_height"])
def test_a_robot_that_leans_too_far_yields_and_says_so(by: str, request: pytest.FixtureRequest) -> None:
    contract = request.getfixturevalue(by) if by == "measured_height" else load_task(by).contract
    safety, readings = Safety(contract), standing(contract)
    for angle_deg in (0, 79, -79):
        lean(readings, angle_deg)
        assert safety.check(readings, 0.0) is FOLLOWING
    for angle_deg in (81, -81, 180):
        lean(readings, angle_deg)
        safety.settle(safety.check(readings, 0.0))
        assert safety.state is State.DAMP
        assert safety.reason is Reason.FALLING
    name = "base_orientation" if by == "measured_height" else "projected_gravity"
    assert safety.detail == f"by {name} the base leans by 81 deg, and may by 80 deg"
    assert "upright 80 deg" in rules.report(safety.layer)


def test_a_tighter_bound_holds_and_none_is_off() -> None:
    contract = load_task("quadruped_walk").contract
    readings = standing(contract)
    lean(readings, 50)
    assert Safety(contract, SafetyConfig(tilt_max_deg=45.0)).check(readings, 0.0) is Reason.FALLING
    lean(readings, 180)
    off = Safety(contract, SafetyConfig(tilt_max_deg=None))
    assert off.check(readings, 0.0) is FOLLOWING
    assert "upright: tilt_max_deg is not set" in rules.report(off.layer)


def test_a_vector_of_another_length_tells_the_same() -> None:
    contract = load_task("quadruped_walk").contract
    readings, safety = standing(contract), Safety(contract)
    for length in (0.5, 9.81):
        lean(readings, 81)
        np.multiply(readings.projected_gravity, length, out=readings.projected_gravity)
        assert safety.check(readings, 0.0) in (Reason.FALLING, Reason.READING_OUT_OF_RANGE)


def test_a_base_that_is_too_low_is_named_where_its_height_is_measured(measured_height: Contract) -> None:
    readings = standing(measured_height)
    readings.height[:] = 0.12
    assert Safety(measured_height).check(readings, 0.0) is FOLLOWING, "no bound is set"
    safety = Safety(measured_height, SafetyConfig(height_min_m=0.14))
    safety.settle(safety.check(readings, 0.0))
    assert (safety.state, safety.reason) == (State.DAMP, Reason.TOO_LOW)
    assert safety.detail == "height is 0.12 m, and must be 0.14 m or more"
    readings.height[:] = 0.2
    assert safety.check(readings, 0.0) is FOLLOWING


def test_what_cannot_fall_has_no_such_rules() -> None:
    for task in ("franka_reach", "arm_reach"):
        contract = load_task(task).contract
        assert not Upright.applies(contract)
        assert not HighEnough.applies(contract)
