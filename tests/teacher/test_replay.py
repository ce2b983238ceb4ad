"""The rings are filled with (environment, time) written into the arrays, so a sampled batch says where it is from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim2real.backends.base import Rollout
from teacher import replay

CAPACITY, ENVS, STEPS, GAMMA = 24, 3, 7, 0.9

insert = jax.jit(replay.insert)
sample = jax.jit(replay.sample, static_argnames=("batch_size", "gamma"))


def labelled(first: int, last: np.ndarray) -> Rollout:
    """A rollout `[T, N]` from time `first` whose every array holds (environment, time)."""
    steps, envs = last.shape
    where = np.stack(np.meshgrid(first + np.arange(steps), np.arange(envs), indexing="ij")[::-1], -1).astype(np.float32)
    return Rollout(
        observation=where, achieved=where, goal=where, action=where, last=last, terminated=jnp.zeros_like(last)
    )


def fill(last: np.ndarray, *, capacity: int = CAPACITY, steps: int = STEPS) -> replay.Replay:
    """Insert `[T, N]` episode ends in pieces of `steps`."""
    buffer = replay.create(capacity=capacity, num_envs=last.shape[1], observation=2, goal=2, action=2)
    for first in range(0, len(last), steps):
        buffer = insert(buffer, labelled(first, last[first : first + steps]))
    return buffer


def episode_number(last: np.ndarray) -> np.ndarray:
    """For every step `[T, N]` how many episodes ended before it."""
    return np.cumsum(last, axis=0) - last


@st.composite
def episode_ends(draw: st.DrawFn) -> np.ndarray:
    """Ends `[T, N]` of episodes of at least two steps, at random phases, over several inserts."""
    inserts = draw(st.integers(1, 8))
    last = np.zeros((inserts * STEPS, ENVS), bool)
    for env in range(ENVS):
        time = draw(st.integers(1, 12))
        while time < len(last):
            last[time, env] = True
            time += draw(st.integers(2, 20))
    return last


@settings(max_examples=60, deadline=None)
@given(last=episode_ends(), seed=st.integers(0, 2**16))
def test_hindsight_goal_is_later_in_the_same_episode(last: np.ndarray, seed: int) -> None:
    """Over episodes that span inserts, episodes that are still open, and wrapped rings."""
    batch = sample(fill(last), jax.random.key(seed), batch_size=256, gamma=GAMMA)
    env, time = np.asarray(batch.observation, int).T
    goal_env, goal_time = np.asarray(batch.goal, int).T
    number = episode_number(last)
    np.testing.assert_array_equal(goal_env, env)
    np.testing.assert_array_equal(batch.action, batch.observation)
    assert (goal_time > time).all()
    assert (time >= len(last) - CAPACITY).all()
    assert (goal_time < len(last)).all()
    np.testing.assert_array_equal(number[time, env], number[goal_time, env])


@settings(max_examples=30, deadline=None)
@given(last=episode_ends())
def test_ends_are_what_a_loop_over_the_steps_finds(last: np.ndarray) -> None:
    buffer = fill(last)
    for env in range(ENVS):
        for time in range(max(0, len(last) - CAPACITY), len(last)):
            later = np.flatnonzero(last[time:, env])
            expected = time + later[0] if later.size else -1
            assert int(buffer.end[time % CAPACITY, env]) == expected


def test_insert_wraps_and_overwrites_the_oldest() -> None:
    last = np.zeros((5 * STEPS, ENVS), bool)
    buffer = fill(last)
    times = np.asarray(buffer.observation)[:, 0, 1]
    assert int(buffer.head) == len(last)
    assert sorted(times) == list(range(len(last) - CAPACITY, len(last)))
    assert all(int(time) % CAPACITY == row for row, time in enumerate(times))


def test_sampling_is_uniform_over_environments_and_steps() -> None:
    last = np.zeros((3 * STEPS, ENVS), bool)
    last[9::10] = True
    batch = sample(fill(last), jax.random.key(0), batch_size=60_000, gamma=GAMMA)
    env, time = np.asarray(batch.observation, int).T
    np.testing.assert_allclose(np.bincount(env, minlength=ENVS) / env.size, 1 / ENVS, atol=0.01)
    inner = np.bincount(time, minlength=len(last))[1:8]
    np.testing.assert_allclose(inner / inner.mean(), 1.0, atol=0.06)


def probabilities(furthest: int, gamma: float) -> np.ndarray:
    weights = gamma ** np.arange(1, furthest + 1)
    return weights / weights.sum()


def test_what_a_termination_takes_is_the_discounted_rest_and_what_is_cut_off_loses_nothing() -> None:
    last = np.zeros((2 * STEPS, ENVS), bool)
    last[9] = True
    terminated = last & (np.arange(ENVS) == 1)
    buffer = replay.create(capacity=CAPACITY, num_envs=ENVS, observation=2, goal=2, action=2)
    for first in (0, STEPS):
        rows = slice(first, first + STEPS)
        buffer = insert(buffer, labelled(first, last[rows])._replace(terminated=terminated[rows]))
    batch = sample(buffer, jax.random.key(0), batch_size=512, gamma=GAMMA)
    env, time = np.asarray(batch.observation, int).T
    expected = np.where((env == 1) & (time <= 9), GAMMA ** (9.0 - time), 0.0)
    np.testing.assert_allclose(batch.over, expected, rtol=1e-5)
    assert len(set(expected)) > 5


@pytest.mark.parametrize(("furthest", "gamma"), [(1, 0.99), (2, 0.5), (10, 0.9), (99, 0.99), (40, 0.999)])
def test_truncated_geometric_has_the_exact_probabilities(furthest: int, gamma: float) -> None:
    count = 200_000
    offsets = replay.truncated_geometric(jax.random.key(1), jnp.full(count, furthest), gamma=gamma)
    expected = count * probabilities(furthest, gamma)
    observed = np.bincount(np.asarray(offsets), minlength=furthest + 1)[1:]
    chi_square = ((observed - expected) ** 2 / expected).sum()
    freedom = furthest - 1
    assert chi_square <= freedom + 5 * np.sqrt(2 * freedom)  # five standard deviations of the statistic


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**16), gamma=st.sampled_from([0.01, 0.5, 0.99, 0.9999]), longest=st.integers(1, 100_000))
def test_truncated_geometric_stays_in_bounds(seed: int, gamma: float, longest: int) -> None:
    furthest = jax.random.randint(jax.random.key(seed + 1), (512,), 1, longest + 1)
    offsets = replay.truncated_geometric(jax.random.key(seed), furthest, gamma=gamma)
    assert offsets.dtype == jnp.int32
    assert bool(jnp.all((offsets >= 1) & (offsets <= furthest)))


def test_hindsight_offsets_in_a_long_episode_follow_gamma() -> None:
    last = np.zeros((20, 1), bool)
    batch = sample(fill(last, steps=20), jax.random.key(2), batch_size=60_000, gamma=GAMMA)
    time, goal_time = np.asarray(batch.observation, int)[:, 1], np.asarray(batch.goal, int)[:, 1]
    offsets = (goal_time - time)[time == 5]
    expected = probabilities(14, GAMMA)
    np.testing.assert_allclose(np.bincount(offsets, minlength=15)[1:] / offsets.size, expected, atol=0.03)


def resting(last: np.ndarray, moves_at: int) -> replay.Replay:
    """A buffer as of `fill` whose achieved place is 0 until `moves_at` steps and 1 m afterwards."""
    buffer = fill(last)
    time = np.arange(CAPACITY)[:, None, None]
    achieved = np.broadcast_to(time >= moves_at, buffer.achieved.shape).astype(np.float32)
    return buffer._replace(achieved=jnp.asarray(achieved))


def test_a_share_of_the_goals_lies_elsewhere_than_what_was_achieved() -> None:
    last = np.zeros((CAPACITY - 3, ENVS), bool)
    last[-1] = True
    buffer, rows = resting(last, moves_at=10), 2000
    moving = jax.jit(replay.sample, static_argnames=("batch_size", "gamma", "moving_share"))
    shares = {}
    for share in (0.0, 0.6):
        batch = moving(buffer, jax.random.key(5), batch_size=rows, gamma=GAMMA, moving_share=share)
        env, time = np.asarray(batch.observation, int).T
        moved = (np.asarray(batch.goal)[:, 0] == 1) & (time < 10)
        shares[share] = moved.mean()
        assert set(env) == set(range(ENVS))
        # The step, its action and its goal are still of one and the same episode and moment.
        np.testing.assert_array_equal(batch.observation, batch.action)
        assert (time < len(last) - 1).all()
    by_chance = shares[0.0]
    assert by_chance < 0.35
    assert shares[0.6] == pytest.approx(0.6 + 0.4 * by_chance, abs=0.06)


def test_where_nothing_moves_goals_are_drawn_all_the_same() -> None:
    last = np.zeros((CAPACITY - 3, ENVS), bool)
    last[-1] = True
    batch = replay.sample(resting(last, moves_at=10_000), jax.random.key(0), batch_size=64, gamma=GAMMA, moving_share=1)
    assert not np.asarray(batch.goal).any()
