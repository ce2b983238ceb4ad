"""MJX against native MuJoCo: the same starts and actions lead to the same arms, and both keep the same promises.

MJX computes in float32, C MuJoCo in float64. Stated bounds: 1e-5 rad and 1e-5 m after one control step (20 physics
steps), 1e-4 after 25 (500 physics steps); measured 5e-7 on x86-64.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from sim2real.backends.mjx import MjxEnvironment, put_model
from sim2real.backends.mjx_library import mjx, step
from sim2real.backends.native import NativeEnvironment
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task, load_task

_ENVS, _STEPS = 4, 25


def _replay(params: jax.Array, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
    """A policy that plays the given actions: its parameters."""
    return params


@pytest.fixture(scope="module")
def pair() -> tuple[NativeEnvironment, MjxEnvironment]:
    shipped = load_task("franka_pose")
    # Long enough for the comparison, and short enough to wait for its end: a step takes half a second here.
    timing = shipped.config.timing.model_copy(update={"episode_steps": _STEPS + 3})
    task = Task(shipped.config.model_copy(update={"timing": timing}), shipped.folder)
    native = NativeEnvironment(task, num_envs=_ENVS, seed=3)
    return native, MjxEnvironment(task, num_envs=_ENVS, seed=3, pool=native.pool)


def _difference(native: NativeEnvironment, mjx: MjxEnvironment) -> dict[str, float]:
    first, second = native.readings(), mjx.readings()
    return {name: float(np.abs(first[name] - second[name]).max()) for name in first}


def test_same_starts_and_actions_give_the_same_arms(pair: tuple[NativeEnvironment, MjxEnvironment]) -> None:
    native, mjx = pair
    start, goal = native.pool.start[:_ENVS], native.pool.goal[_ENVS : 2 * _ENVS]
    native.place(np.arange(_ENVS), start, goal)
    mjx.place(start, goal)
    assert max(_difference(native, mjx).values()) < 1e-6
    actions = np.random.default_rng(0).uniform(-1, 1, (_STEPS, _ENVS, 7)).astype(np.float32)
    for index, action in enumerate(actions):
        rollouts = [env.rollout(_replay, jnp.asarray(action), jax.random.key(0), 1) for env in (native, mjx)]
        bound = 1e-5 if index == 0 else 1e-4
        difference = _difference(native, mjx)
        velocity = difference.pop("joint_velocity")
        assert max(difference.values()) < bound, (index, difference)
        assert velocity < 100 * bound
        # Observations are assembled by one function, so they agree as the readings do.
        np.testing.assert_allclose(rollouts[0].observation, rollouts[1].observation, atol=1e-2)
    moved = np.abs(native.readings()["joint_position"] - start).max()
    assert moved > 0.05, "actions that move nothing would prove nothing"


@pytest.mark.slow
def test_mjx_restarts_with_new_goals_and_continues_from_its_state(
    pair: tuple[NativeEnvironment, MjxEnvironment],
) -> None:
    _, mjx = pair
    mjx.reset()
    hold = jnp.zeros((_ENVS, 7))
    steps = mjx.contract.timing.episode_steps
    goals, lasts = [], []
    for _ in range(steps + 2):
        rollout: Any = mjx.rollout(_replay, hold, jax.random.key(0), 1)
        goals.append(np.asarray(rollout.goal[0]))
        lasts.append(np.asarray(rollout.last[0]))
    assert np.flatnonzero(np.stack(lasts).all(axis=1)).tolist() == [steps - 1]
    assert not np.stack(lasts)[: steps - 1].any()
    np.testing.assert_array_equal(goals[0], goals[steps - 1])
    assert (np.abs(goals[steps] - goals[0]).max(axis=1) > 1e-3).all()
    state = mjx.state_dict()
    action = jnp.full((_ENVS, 7), 0.3)
    mjx.rollout(_replay, action, jax.random.key(0), 1)
    expected = mjx.readings()
    mjx.load_state_dict(state)
    mjx.rollout(_replay, action, jax.random.key(0), 1)
    for name, value in mjx.readings().items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_mjx_refuses_delays_that_it_would_ignore() -> None:
    spec = mujoco.MjSpec.from_file(str(load_task("franka_pose").mjcf_path))
    spec.actuators[0].delay = 0.01
    spec.actuators[0].nsample = 8
    with pytest.raises(ShoalError, match="MJX leaves out without a word: delay or nsample of actuator 'fr3_joint1'"):
        put_model(spec.compile())


_WHEEL = """
<mujoco>
  <option timestep="0.01" integrator="{integrator}"/>
  <worldbody>
    <body><joint name="wheel" axis="0 0 1" armature="0.002" damping="0.001"/><geom size=".01" mass="1e-3"/></body>
  </worldbody>
  <actuator><position joint="wheel" kp="2" kv="0.1" {limit}/></actuator>
</mujoco>
"""


@pytest.mark.parametrize("integrator", ["implicitfast", "Euler"])
@pytest.mark.parametrize("limit", ["", 'forcerange="-.3 .3"'])
def test_a_servo_at_its_limit_is_as_fast_in_mjx(integrator: str, limit: str) -> None:
    model = mujoco.MjModel.from_xml_string(_WHEEL.format(integrator=integrator, limit=limit))
    data, device = mujoco.MjData(model), put_model(model)
    data.ctrl[:] = 2.0
    theirs = mjx.make_data(model, impl="jax").replace(ctrl=jnp.full(1, 2.0))
    advance = jax.jit(step)
    for _ in range(12):
        mujoco.mj_step(model, data)
        theirs = advance(device, theirs)
        assert float(theirs.qvel[0]) == pytest.approx(data.qvel[0], rel=1e-4)
    assert data.qpos[0] > 0.3, "a wheel that stands still would prove nothing"
