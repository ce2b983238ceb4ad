"""What a policy reads of a base whose inertial unit and odometry are placed into the model."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from runtime.drivers.base import DriverOptions
from runtime.robot.readings import Readings
from runtime.unitree.body import Body, tilt_deg
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.rotations import quaternion_product
from sim2real.tasks.task import load_task


def about(axis: int, angle_deg: float) -> np.ndarray:
    turn = np.zeros(4)
    turn[0], turn[1 + axis] = math.cos(math.radians(angle_deg) / 2), math.sin(math.radians(angle_deg) / 2)
    return turn


def states(contract: Contract, orientation: np.ndarray) -> SimpleNamespace:
    home = np.array([joint.home_position for joint in contract.robot.joints])
    return SimpleNamespace(
        position=home,
        velocity=np.linspace(-1, 1, 12),
        effort=np.arange(12.0),
        orientation=orientation,
        angular_velocity=np.array([0.1, -0.2, 0.3]),
    )


def test_heading_is_odometry_s_and_leaning_the_inertial_unit_s(quadruped: Contract) -> None:
    body, out = Body(quadruped, DriverOptions()), Readings.of(quadruped)
    # The inertial unit's way ahead has drifted by 70 degrees; the robot leans forwards by 20.
    measured = states(quadruped, quaternion_product(np, about(2, 70), about(1, 20)))
    body.place_base(np.array([1.0, -2.0, 0.3]), math.radians(-30), measured)
    body.read(measured, out)
    assert out["base_pose"] == pytest.approx([1.0, -2.0, math.radians(-30)], abs=1e-6)
    assert out["base_orientation"] == pytest.approx(quaternion_product(np, about(2, -30), about(1, 20)), abs=1e-6)
    assert out["projected_gravity"] == pytest.approx([math.sin(math.radians(20)), 0, -math.cos(math.radians(20))])
    assert out["base_angular_velocity"] == pytest.approx([0.1, -0.2, 0.3])
    assert out["joint_velocity"] == pytest.approx(measured.velocity)
    assert out.joint_effort == pytest.approx(measured.effort)
    # It turns to the left by 50 degrees, which the inertial unit tells first.
    measured.orientation = quaternion_product(np, about(2, 120), about(1, 20))
    body.read(measured, out)
    assert out["base_pose"][2] == pytest.approx(math.radians(20))


ESTIMATED = """name: estimated
extends: quadruped_walk
readings: [joint_position, joint_velocity, joint_position_target, {kind: phase_clock, period_s: 0.36},
  {kind: base_linear_velocity, body: base, source: estimator},
  {kind: planar_pose, name: base_pose, of: base, source: odometry},
  {kind: orientation, name: base_orientation, of: base, source: odometry}]
"""


def test_readings_that_no_message_tells_are_named(tmp_path: Path) -> None:
    (tmp_path / "estimated.yaml").write_text(ESTIMATED)
    contract = load_task(tmp_path / "estimated.yaml").contract
    with pytest.raises(ShoalError, match=r"'base_linear_velocity' \(source estimator\) follow from no message"):
        Body(contract, DriverOptions())


@pytest.mark.parametrize("angle_deg", [0.0, 35.0, 90.0, 180.0])
def test_how_far_it_leans(angle_deg: float) -> None:
    assert tilt_deg(quaternion_product(np, about(2, 40), about(0, angle_deg))) == pytest.approx(angle_deg, abs=1e-5)
