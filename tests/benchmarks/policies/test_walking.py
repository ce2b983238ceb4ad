from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks.policies.walking import STEPS, _judged, teacher_targets, walk
from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import command
from sim2real.errors import ShoalError
from sim2real.tasks.task import load_task
from teacher.policies import greedy
from teacher.trained import load_teacher


def test_time_at_goal_ends_with_a_fall_and_arriving_means_staying() -> None:
    task = load_task("ant")
    away, turned, alive = np.full((STEPS, 4), 5.0), np.zeros((STEPS, 4)), np.ones((STEPS, 4), bool)
    away[400:, 0] = 0.1  # arrives
    away[200:990, 1] = 0.1  # leaves again
    away[300:, 2] = 0.1  # falls
    alive[500:, 2] = False
    found = _judged(task, away, turned, alive, (5.0, 5.0))
    assert found.arrived == 0.25
    assert found.arrived_interval[0] < 0.25 < found.arrived_interval[1]
    assert found.time_at_goal == pytest.approx((600 + 790 + 200) / 4)
    assert found.seconds_to_goal == pytest.approx(301 * task.contract.timing.control_dt_s)
    assert found.fell == 0.25


def test_a_robot_that_stands_is_at_near_goals_and_at_no_far_ones() -> None:
    task = load_task("ant")
    home = np.array([[joint.home_position for joint in task.contract.robot.joints]], np.float32).repeat(3, axis=0)
    near, far = (walk(task, lambda readings, request: home, goals=3, distance_m=d, seed=1) for d in (0.2, 3.0))
    assert (near.arrived, near.time_at_goal, near.fell) == (1.0, STEPS, 0.0)
    assert (far.arrived, far.time_at_goal) == (0.0, 0.0)
    assert far.final_distance_m == pytest.approx(3.0, abs=0.3)
    with pytest.raises(ShoalError, match=r"--distance"):
        walk(task, lambda readings, request: home, goals=3, distance_m=30.0, seed=1)


def test_a_goal_that_says_where_to_face_is_reached_only_facing_there() -> None:
    task = load_task("quadruped_walk")
    goal = task.contract.goal
    away, alive = np.full((STEPS, 3), 0.9 * goal.coarse_position_m), np.ones((STEPS, 3), bool)
    turned = np.array([[0.9, 1.1, 9.0]]) * goal.coarse_angle_deg * np.ones((STEPS, 1))
    found = _judged(task, away, turned, alive, (1.0, 3.0))
    assert found.arrived == pytest.approx(1 / 3)
    assert found.final_angle_deg == pytest.approx(1.1 * goal.coarse_angle_deg)


def test_goals_between_two_distances_lie_there_and_face_anywhere() -> None:
    task, asked = load_task("quadruped_walk"), []
    home = np.array([[joint.home_position for joint in task.contract.robot.joints]], np.float32).repeat(40, axis=0)

    def stand(readings: dict[str, np.ndarray], request: np.ndarray) -> np.ndarray:
        asked.append(request - readings["base_pose"] if not asked else request)
        return home

    found = walk(task, stand, goals=40, nearest_m=1.0, distance_m=3.0, seed=1)
    distance = np.linalg.norm(asked[0][:, :2], axis=-1)
    assert 1.0 <= distance.min() < 1.3
    assert 2.7 < distance.max() <= 3.0
    assert np.ptp(asked[1][:, 2]) > 5.5
    assert (found.nearest_m, found.arrived, found.fell) == (1.0, 0.0, 0.0)


def test_a_teachers_run_is_judged_by_its_mean_actions(teacher_run: Path) -> None:
    task, targets = teacher_targets(teacher_run)
    env = NativeEnvironment(task, num_envs=3, seed=0, privileged=True)
    rollout = env.rollout(greedy((teacher := load_teacher(teacher_run)).networks), teacher.actor, jax.random.key(0), 1)
    again = NativeEnvironment(task, num_envs=3, seed=0, privileged=True)
    told = targets(again.readings(), again.goals())
    expected = command(np, task.teacher_contract, rollout.action[0], again.readings())
    np.testing.assert_allclose(told, expected, atol=1e-6)
    assert np.abs(told - again.readings()["joint_position_target"]).max() > 1e-3
