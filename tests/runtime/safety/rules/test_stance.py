"""Robots on legs that are idle, held or stopped stand as they do at home, whatever stride that found them in."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.diagnostics.chaos.rig import Rig, copied, copy_readings
from runtime.inference.policy import Policy
from runtime.robot.readings import Readings
from runtime.safety import Safety, SafetyConfig, load_safety
from runtime.status import Reason, State
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.tasks.task import load_task
from tests.runtime.velocity_arm import velocity_task

MODELS = Path(__file__).parents[4] / "models"
SETTINGS = load_safety(MODELS / "quadruped_walk.safety.yaml")
TASK_MAX_DEG = 60.0


@pytest.fixture(scope="module")
def quadruped() -> Contract:
    return load_task("quadruped_walk").contract


def home(contract: Contract) -> np.ndarray:
    return np.array([joint.home_position for joint in contract.robot.joints])


@pytest.mark.parametrize("reason", [Reason.NO_GOAL, Reason.READING_STALE, Reason.ODOMETRY_LOST])
def test_the_target_goes_home_at_a_share_of_its_limits(quadruped: Contract, reason: Reason) -> None:
    safety = Safety(quadruped, SafetyConfig(stand_speed_share=0.1))
    safety.start(home(quadruped) + np.linspace(-0.3, 0.3, 12))
    previous, ticks = safety.target.copy(), 0
    while not np.array_equal(safety.target, home(quadruped)):
        safety.settle(reason)
        step = np.abs(safety.target - previous)
        assert (step <= 0.1 * safety.max_step * (1 + 1e-9)).all()
        previous, ticks = safety.target.copy(), ticks + 1
        assert ticks < 100
    assert ticks > 5


def test_a_stopped_robot_stands_and_one_in_an_emergency_stop_yields(quadruped: Contract) -> None:
    safety, away = Safety(quadruped, SafetyConfig(stand_speed_share=0.1)), home(quadruped) + 0.2
    for stop, ends in ((safety.stop, home(quadruped)), (safety.estop, away)):
        safety.start(away)
        stop()
        for _ in range(100):
            safety.settle(Reason.NO_GOAL)
        np.testing.assert_allclose(safety.target, ends)
    assert safety.state is State.ESTOP


def test_without_the_setting_the_target_stays(quadruped: Contract) -> None:
    safety, away = Safety(quadruped), home(quadruped) + 0.2
    safety.start(away)
    for reason in (Reason.NO_GOAL, Reason.READING_STALE):
        safety.settle(reason)
    np.testing.assert_array_equal(safety.target, away)


def test_robots_that_cannot_fall_or_are_told_no_positions_refuse_it(tmp_path: Path) -> None:
    for contract in (load_task("franka_pose").contract, velocity_task(tmp_path).contract):
        with pytest.raises(ShoalError, match=r"stand_speed_share is for robots that can fall .* is none; leave it out"):
            Safety(contract, SafetyConfig(stand_speed_share=0.1))


def stopped_in_a_stride(rig: Rig, spoil: Callable[[Readings], object]) -> float:
    """How far the robot leans at most, deg, in three seconds of a fault and three more after it."""
    leaned = 0.0
    for fault in (spoil, lambda out: None):
        with rig.fault(fault):
            for _ in range(150):
                rig.tick(1)
                down = rig.robot.data.qpos[4:6]
                leaned = max(leaned, math.degrees(2 * math.asin(min(1.0, float(np.hypot(*down))))))
    return leaned


@pytest.mark.parametrize("fault", ["stale", "no odometry"])
def test_whatever_stride_a_fault_finds_it_in_it_does_not_fall(fault: str) -> None:
    policy, fallen = Policy(MODELS / "quadruped_walk.onnx"), {True: 0, False: 0}
    for stands in (True, False):
        config = SETTINGS if stands else SETTINGS.model_copy(update={"stand_speed_share": None})
        for stride in range(0, 18, 2):
            rig = Rig(policy, config=config)
            rig.move()
            rig.tick(60 + stride)
            kept = copied(rig.driver.newest())

            def spoil(out: Readings, kept: Readings = kept) -> None:
                if fault == "stale":
                    copy_readings(kept, out)
                else:
                    out.base_pose[:] = out.base_orientation[:] = math.nan

            fallen[stands] += stopped_in_a_stride(rig, spoil) > TASK_MAX_DEG
            assert rig.witness.problems == []
    assert fallen[True] == 0
    assert fallen[False] > 0, "a robot that stops in its stride falls at times, or this test shows nothing"
