from __future__ import annotations

import numpy as np
import pytest

from benchmarks.policies.drive_load import FEET, TASK, Watch
from benchmarks.policies.walking import walk
from sim2real.contract.schema import differences
from sim2real.tasks.task import load_task


def truth(**changes: np.ndarray) -> dict[str, np.ndarray]:
    """Two robots that stand still, one foot of each on the ground."""
    feet = {name: np.array([[0.0, 0.0, 0.1]] * 2) for name in FEET} | {FEET[0]: np.array([[0.0, 0.0, 0.022]] * 2)}
    still = {
        "joint_effort": np.zeros((2, 12)),
        "joint_velocity": np.zeros((2, 12)),
        "base_linear_velocity": np.zeros((2, 3)),
    }
    return feet | still | changes


def test_loads_are_shares_of_limits_and_robots_that_fell_count_no_more() -> None:
    task = load_task(TASK)
    joints, watch = task.contract.robot.joints, Watch(task)
    half = np.tile([0.5 * joint.effort_max for joint in joints], (2, 1))
    fast = np.tile([-0.1 * joint.velocity_max for joint in joints], (2, 1))
    moved = {FEET[0]: np.array([[0.004, 0.0, 0.022]] * 2)}
    watch(truth(), np.array([True, True]))
    watch(truth(joint_effort=half, joint_velocity=fast, **moved), np.array([True, False]))
    found = watch.load()
    assert found.effort_max == pytest.approx(0.5)
    assert found.effort_rms == pytest.approx(0.5 / np.sqrt(3))
    assert found.speed_max == pytest.approx(0.1)
    work = sum(0.05 * joint.effort_max * joint.velocity_max for joint in joints)
    assert found.power_mean_w == pytest.approx(work / 3)
    assert found.slip_m_s == pytest.approx(0.2 / 3)


def test_standing_asks_for_little_and_the_task_is_the_shipped_one_otherwise() -> None:
    task, shipped = load_task(TASK), load_task("quadruped_walk")
    assert {path for path, *_ in differences(task.contract, shipped.contract)} == {"task"}
    home = np.array([[joint.home_position for joint in task.contract.robot.joints]], np.float32).repeat(2, axis=0)
    watch = Watch(task)
    walk(task, lambda readings, request: home, goals=2, distance_m=1.0, seed=0, watch=watch)
    found = watch.load()
    assert 0.02 < found.effort_rms < 0.5
    assert found.power_mean_w < 5
    assert found.slip_m_s < 0.02
