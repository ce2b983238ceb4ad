"""When goals are first reached, against a loop over the steps."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim2real.backends.base import Rollout
from teacher import replay
from teacher.objectives import reaching
from teacher.objectives.base import goal_radius
from tests.teacher.tiny import contract

ENVS, STEPS, CAPACITY, WINDOW, RADIUS = 3, 60, 44, 7, 0.3
sample = jax.jit(
    lambda buffer, key: reaching.sample(
        buffer,
        key,
        batch_size=64,
        gamma=0.8,
        window=WINDOW,
        radius=RADIUS,
        own_goal_share=0.2,
        other_goal_share=0.3,
        chunk=2,
    )
)


def rollout(seed: int) -> Rollout:
    """Random walks in a plane; observations say where they are from, actions are the times of their steps."""
    rng = np.random.default_rng(seed)
    achieved = np.cumsum(rng.normal(size=(STEPS, ENVS, 2)) * 0.2, axis=0).astype(np.float32)
    where = np.stack(np.meshgrid(np.arange(STEPS), np.arange(ENVS), indexing="ij")[::-1], -1).astype(np.float32)
    last = rng.random((STEPS, ENVS)) < 0.1
    last[1:] &= ~last[:-1]  # episodes of two steps or more
    last[0] = False
    return Rollout(where, achieved, achieved, where[..., 1:], last, last & (rng.random(last.shape) < 0.5))


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_first_times_are_what_a_loop_over_the_steps_finds(seed: int) -> None:
    """Over wrapped rings, episodes that are open, cut off and terminated."""
    seen = rollout(seed)
    buffer = replay.create(capacity=CAPACITY, num_envs=ENVS, observation=2, goal=2, action=1)
    for first in range(0, STEPS, 20):
        buffer = replay.insert(buffer, Rollout(*(column[first : first + 20] for column in seen)))
    batch = sample(buffer, jax.random.key(seed))
    for row in range(64):
        env, time = (int(x) for x in batch.observation[row])
        ends = np.flatnonzero(seen.last[time:, env])
        end = time + int(ends[0]) if ends.size else STEPS - 1
        terminated = bool(ends.size and seen.terminated[end, env])
        ahead = seen.achieved[time : min(end, time + WINDOW) + 1, env]
        distance = np.linalg.norm(ahead - np.asarray(batch.goal[row]), axis=-1)
        within = np.flatnonzero(distance <= RADIUS)
        np.testing.assert_allclose(batch.distance[row, : len(distance)], distance, atol=1e-5)
        assert np.isinf(batch.distance[row, len(distance) :]).all()
        assert bool(batch.terminated[row]) == terminated
        assert bool(batch.reaching.reached[row]) == bool(within.size)
        assert int(batch.reaching.time[row]) == (within[0] if within.size else WINDOW + 1)
        assert int(batch.reaching.observed[row]) == (WINDOW if terminated else min(end - time, WINDOW))
        assert batch.action[row].tolist() == [time, min(time + 1, end)]


def test_a_share_of_the_goals_is_what_was_achieved_already() -> None:
    seen = rollout(0)
    buffer = replay.insert(replay.create(capacity=STEPS, num_envs=ENVS, observation=2, goal=2, action=1), seen)
    batches = [sample(buffer, jax.random.key(seed)) for seed in range(30)]
    own = np.mean([np.mean(np.asarray(batch.distance[:, 0]) == 0) for batch in batches])
    assert own == pytest.approx(0.2, abs=0.04)


def test_large_windows_are_gone_through_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = replay.insert(replay.create(capacity=STEPS, num_envs=ENVS, observation=2, goal=2, action=1), rollout(1))
    steps = replay.draw(buffer, jax.random.key(0), batch_size=24, gamma=0.8)
    goal = replay.take(buffer.achieved, steps.time + steps.offset, steps.env)
    whole = reaching.distances(buffer, steps, goal, WINDOW)
    monkeypatch.setattr(reaching, "_FLOATS_AT_ONCE", 5 * 2 * (WINDOW + 1))
    np.testing.assert_array_equal(reaching.distances(buffer, steps, goal, WINDOW), whole)


def test_the_radius_is_the_coarse_tolerance() -> None:
    assert goal_radius(contract("franka_reach")) == contract("franka_reach").goal.coarse_position_m
    goal = contract("franka_pose").goal
    rotation = goal.orientation_weight_m * np.radians(goal.coarse_angle_deg)
    assert goal_radius(contract("franka_pose")) == pytest.approx(np.hypot(goal.coarse_position_m, rotation))
