"""What MJX senses, and when it says that an episode is over, is what native MuJoCo does: the ant, on every reading."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim2real.backends.mjx import MjxEnvironment
from sim2real.backends.native import NativeEnvironment
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task


def _replay(params: jax.Array, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
    return params


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ant_senses_and_falls_alike() -> None:
    task, count = load_task("ant"), 4
    pool = sample_goal_pool(task, size=20, seed=1)
    native = NativeEnvironment(task, num_envs=count, seed=3, pool=pool, privileged=True)
    mjx = MjxEnvironment(task, num_envs=count, seed=3, pool=pool, privileged=True)
    start, goal = pool.start[:count].copy(), pool.goal[:count]
    start[2, 2] = 1.5  # touches nothing for a while, so that solvers of contacts have no part in it
    start[3, 2] = 0.15  # too low from the beginning
    native.place(np.arange(count), start, goal)
    mjx.place(start, goal)
    first, second = native.true_readings(), mjx.true_readings()
    assert set(first) == {reading.name for reading in task.teacher_contract.readings}
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, atol=1e-5, err_msg=name)
    actions = np.random.default_rng(0).uniform(-1, 1, (3, count, 8)).astype(np.float32)
    for action in actions:
        ours, theirs = (env.rollout(_replay, jnp.asarray(action), jax.random.key(0), 1) for env in (native, mjx))
        np.testing.assert_array_equal(ours.terminated, theirs.terminated)
        np.testing.assert_array_equal(ours.last, theirs.last)
        first, second = native.true_readings(), mjx.true_readings()
        for name, value in first.items():
            bound = 0.2 if "velocity" in name else 5e-3  # joints meet their limits
            np.testing.assert_allclose(second[name][2], value[2], atol=bound, err_msg=name)
        for name in ("joint_position", "base_position", "base_orientation", "height"):
            np.testing.assert_allclose(second[name][:2], first[name][:2], atol=0.03, err_msg=name)
        assert ours.observation.shape[-1] == task.teacher_contract.observation.size
