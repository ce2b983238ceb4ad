"""Both backends give the same robots the same lives: same sampled values, same noise, delays, losses and pushes.

Stated bounds: 2e-5 rad and m after 30 control steps (300 physics steps); measured 1e-6 on x86-64.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim2real.backends.mjx import MjxEnvironment
from sim2real.backends.native import NativeEnvironment
from sim2real.randomised_robots.disturbances import Signals
from sim2real.randomised_robots.noise import normal, uniform
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task
from tests.sim2real.randomised_robots.robots import CHANGES, heavy_arm, one_robot_per_term, swinging

Pair = tuple[NativeEnvironment, MjxEnvironment]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return heavy_arm(tmp_path_factory.mktemp("arm"))


@pytest.fixture(scope="module")
def pair(task: Task) -> Pair:
    """One environment for every term, and the same in MJX."""
    pool, draws = sample_goal_pool(task, size=60, seed=0), one_robot_per_term(task)
    settings: dict[str, Any] = {"num_envs": draws.num_robots, "seed": 3, "pool": pool, "draws": draws}
    return NativeEnvironment(task, **settings), MjxEnvironment(task, **settings)


def replay(params: jax.Array, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
    """A policy that plays the given actions: its parameters."""
    return params


def disturbed_state(env: NativeEnvironment | MjxEnvironment) -> dict[str, np.ndarray]:
    names = {"robot_starts", "tick", *(f"signals_{name}" for name in Signals._fields)}
    return {name: value for name, value in env.state_dict().items() if name in names}


def test_every_term_does_the_same_in_both(pair: Pair) -> None:
    native, mjx = pair
    count = native.num_envs
    start = np.repeat(np.float32([[0.3, 0.5]]), count, axis=0)  # type: ignore[arg-type]
    goal = native.pool.goal[:1].repeat(count, 0)
    native.place(np.arange(count), start, goal)
    mjx.place(start, goal)
    effect = np.zeros(count)
    for step in range(30):
        action = jnp.asarray(swinging(step, count))
        seen, _ = (env.rollout(replay, action, jax.random.key(0), 1) for env in pair)
        effect = np.maximum(effect, np.abs(seen.observation[0] - seen.observation[0, :1]).max(axis=1))
        if step not in (0, 9, 29):
            continue
        theirs, truth = mjx.readings(), mjx.true_readings()
        for name, value in native.readings().items():
            bound = 2e-3 if name == "joint_velocity" else 2e-5
            difference = np.abs(value - theirs[name]).max(axis=1)
            worst = int(difference.argmax())
            assert difference[worst] < bound, (step, name, ["the model", *CHANGES][worst], difference[worst])
        for name, value in native.true_readings().items():
            np.testing.assert_allclose(value, truth[name], atol=2e-3 if "velocity" in name else 2e-5)
    # The first robot is the model itself; each other one must have gone its own way.
    index = native._disturbed.index if native._disturbed else np.zeros(count)
    assert (effect[index != index[0]] > 1e-3).sum() >= count - 2
    left, right = disturbed_state(native), disturbed_state(mjx)
    assert left.keys() == right.keys()
    for name, value in left.items():
        np.testing.assert_allclose(value, right[name], atol=2e-3 if "velocity" in name else 2e-5, err_msg=name)


def test_both_change_robots_alike_and_mjx_continues_from_its_state(pair: Pair) -> None:
    native, mjx = pair
    assert native.robots is not None
    assert mjx.robots is not None
    for name in native.robots.draws._fields:
        np.testing.assert_array_equal(getattr(native.robots.draws, name), getattr(mjx.robots.draws, name))
    for name, values in native.robots.dynamics.fields.items():
        np.testing.assert_array_equal(values, mjx.robots.dynamics.fields[name], err_msg=name)
    for env in pair:
        env.reset()
    assert native._disturbed is not None
    assert mjx._disturbances is not None
    index = np.asarray(mjx._disturbances._index(mjx._state.disturbed))
    np.testing.assert_array_equal(native._disturbed.index, index)
    models, _ = mjx._disturbances.models(mjx._state.disturbed)
    for name in native.robots.dynamics.fields:
        np.testing.assert_allclose(getattr(models, name), native._batch.expand(name), rtol=1e-6, err_msg=name)
    action = jnp.asarray(swinging(0, mjx.num_envs))
    state = mjx.state_dict()
    mjx.rollout(replay, action, jax.random.key(0), 1)
    expected = mjx.readings()
    mjx.load_state_dict(state)
    mjx.rollout(replay, action, jax.random.key(0), 1)
    for name, value in mjx.readings().items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_noise_is_the_same_function_in_both() -> None:
    for draw in (uniform, normal):
        ours, theirs = (np.asarray(draw(xp, 7, 3, xp.uint32(11), 50, 4)) for xp in (np, jnp))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_noise_looks_random() -> None:
    values = np.stack([uniform(np, 0, 1, np.uint32(tick), 200, 5) for tick in range(200)])
    assert values.min() > 0
    assert values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=0.003)
    for axis in range(3):
        first, second = np.split(np.moveaxis(values, axis, 0)[: values.shape[axis] // 2 * 2], 2)
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.01, axis
    assert abs(np.corrcoef(values[1:].ravel(), values[:-1].ravel())[0, 1]) < 0.01
    other = np.stack([uniform(np, 0, 2, np.uint32(tick), 200, 5) for tick in range(200)])
    assert abs(np.corrcoef(values.ravel(), other.ravel())[0, 1]) < 0.01
    normals = np.stack([normal(np, 0, 1, np.uint32(tick), 200, 5) for tick in range(200)])
    assert normals.std() == pytest.approx(1.0, abs=0.01)
    assert (normals**4).mean() == pytest.approx(3.0, abs=0.1)
