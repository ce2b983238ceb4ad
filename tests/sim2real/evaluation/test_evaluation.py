from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim2real.backends.base import Rollout
from sim2real.contract import Contract
from sim2real.contract.interface import goal_vector, request_size
from sim2real.evaluation.success import episode_errors, score
from sim2real.tasks.task import load_task

STEPS = 100
NEAR, COARSE, FAR = 0.01, 0.04, 0.2
"""Distances in m: within the fine tolerance, within the coarse one only, outside."""


@pytest.fixture(scope="module")
def reach() -> Contract:
    return load_task("franka_reach").contract


@pytest.fixture(scope="module")
def pose() -> Contract:
    return load_task("franka_pose").contract


def hold_steps(contract: Contract) -> int:
    return round(contract.goal.hold_s / contract.timing.control_dt_s)


def turned(angle_deg: np.ndarray) -> np.ndarray:
    """Quaternions wxyz that turn by an angle about a fixed, slanted axis."""
    half, axis = np.radians(angle_deg)[..., None] / 2, np.array([1.0, -2.0, 2.0]) / 3
    return np.concatenate([np.cos(half), np.sin(half) * axis], axis=-1)


def rollout(contract: Contract, distance: np.ndarray, angle_deg: np.ndarray | float = 0.0) -> Rollout:
    """Episodes `[T, N]` whose tool is at given distances and angles from its goal."""
    angle = np.broadcast_to(np.asarray(angle_deg, float), distance.shape)
    position = np.array([0.5, 0.1, 0.3]) + distance[..., None] * np.array([0.6, 0.0, 0.8])
    goal_position = np.broadcast_to(np.array([0.5, 0.1, 0.3]), position.shape)
    size = request_size(contract)
    requests = (
        np.concatenate([place, turned(turn)], axis=-1)[..., :size]
        for place, turn in ((position, angle), (goal_position, np.zeros_like(angle)))
    )
    achieved, goal = (goal_vector(np, contract, request) for request in requests)
    empty, never = np.zeros((*distance.shape, 1)), np.zeros(distance.shape, bool)
    return Rollout(empty, achieved, goal, empty, never, never)


def test_a_goal_counts_only_while_held_to_the_end(reach: Contract) -> None:
    hold = hold_steps(reach)
    distance = np.full((STEPS, 5), FAR)
    distance[-hold:, 0] = NEAR  # held exactly long enough
    distance[-hold + 1 :, 1] = NEAR  # one step too short
    distance[: STEPS // 2, 2] = NEAR  # reached early and left
    distance[-hold:, 3] = NEAR
    distance[-3, 3] = FAR  # slipped once
    distance[-hold:, 4] = COARSE
    errors = episode_errors(reach, rollout(reach, distance))
    assert errors.coarse.tolist() == [True, False, False, False, True]
    assert errors.fine.tolist() == [True, False, False, False, False]


def test_score_counts_episodes_and_steps(reach: Contract) -> None:
    distance = np.full((STEPS, 4), FAR)
    distance[:, 0], distance[:, 1] = NEAR, COARSE
    distance[:30, 2] = NEAR
    found = score(reach, rollout(reach, distance))
    assert (found.episodes, found.success_coarse, found.success_fine) == (4, 0.5, 0.25)
    assert found.time_at_goal == pytest.approx((1 + 1 + 0.3 + 0) / 4)
    assert found.position_error_m == pytest.approx((COARSE + FAR) / 2)  # median of 0.01, 0.04, 0.2, 0.2
    assert found.angle_error_deg == 0.0


def test_pose_goals_need_position_and_angle(pose: Contract) -> None:
    goal = pose.goal
    angle = np.array([0.0, goal.fine_angle_deg - 1, goal.fine_angle_deg + 1, goal.coarse_angle_deg + 1, 179.0])
    distance = np.full((STEPS, 5), NEAR)
    errors = episode_errors(pose, rollout(pose, distance, np.broadcast_to(angle, distance.shape)))
    np.testing.assert_allclose(errors.angle_deg[-1], angle, atol=0.05)
    assert errors.coarse.tolist() == [True, True, True, False, False]
    assert errors.fine.tolist() == [True, True, False, False, False]
    far = episode_errors(pose, rollout(pose, np.full((STEPS, 1), FAR)))
    assert not far.coarse.any()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_fine_implies_coarse_and_success_implies_time_at_goal(seed: int) -> None:
    contract, rng = load_task("franka_pose").contract, np.random.default_rng(seed)
    distance = np.cumsum(rng.normal(scale=0.004, size=(STEPS, 20)), axis=0)
    angle = np.cumsum(rng.normal(scale=1.0, size=(STEPS, 20)), axis=0)
    episodes = rollout(contract, np.abs(distance), np.abs(angle))
    errors, found = episode_errors(contract, episodes), score(contract, episodes)
    assert not (errors.fine & ~errors.coarse).any()
    assert found.time_at_goal >= found.success_coarse * hold_steps(contract) / STEPS - 1e-9
    np.testing.assert_allclose(errors.position_m, np.abs(distance), atol=1e-6)
