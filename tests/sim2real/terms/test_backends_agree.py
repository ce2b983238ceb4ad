"""What MJX senses, and when it says that an episode is over, is what native MuJoCo does: bases that move, a gripper and
two arms, on every reading.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from sim2real.backends.mjx import MjxEnvironment
from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import action_size
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.shipped import task_names
from sim2real.tasks.task import load_task

_IN_THE_AIR, _OVER = 2, 3
"""Environments: one that touches nothing for a while, so that solvers of contacts have no part in it, and one that is
over from the beginning."""
STARTS: dict[str, tuple[tuple[int, float], tuple[int, float] | None]] = {
    "ant": ((2, 1.5), (4, 5.0)),  # on its back; pressed into the ground, its legs throw it up within a step
    "ant_u4_maze": ((2, 1.5), (4, 5.0)),
    "humanoid": ((2, 2.0), (2, 0.5)),
    "quadruped_walk": ((2, 1.5), (2, 0.1)),
    "mobile_base": ((2, 1.0), (0, 5.0)),
    "mobile_base_maze": ((2, 9.0), None),
    "franka_push": ((7, 0.3), None),  # x of the puck
    "swimmer": ((0, 0.3), None),
    "gripper_pick": ((10, 1.0), None),  # z of the cube
    "two_arms": ((0, 0.1), None),
}
"""Entries of `qpos` and their values in these two environments."""
LIKE = {
    "ant_big_maze": "ant_u4_maze",
    "ant_hardest_maze": "ant_u4_maze",
    "ant_u5_maze": "ant_u4_maze",
    "humanoid_big_maze": "humanoid",
    "humanoid_u_maze": "humanoid",
    "arm_binpick_hard": "gripper_pick",
    "arm_push_easy": "gripper_pick",
    "arm_push_hard": "gripper_pick",
    "arm_reach": "gripper_pick",
    "gripper_push": "gripper_pick",
    "franka_reach": "franka_pose",  # which tests/sim2real/backends compares
}
"""Tasks that are the same to physics as one that is compared: the same robot and objects, among other boxes."""
_MOVING = ("jnt_type", "jnt_range", "jnt_stiffness", "dof_damping", "dof_armature", "eq_type", "tendon_range")
_DRIVES = ("actuator_gainprm", "actuator_biasprm", "actuator_forcerange", "actuator_ctrlrange", "actuator_dyntype")
_GEOMS = ("geom_type", "geom_size", "geom_friction", "geom_condim", "geom_contype", "geom_conaffinity")
_ON_THE_GROUND = {"mobile_base_maze": 0.1}
"""rad or m, by which robots may be apart that stand on the ground, after 75 physics steps of turning wheels; others
0.03."""


def _replay(params: jax.Array, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
    return params


@pytest.mark.parametrize("name", sorted({*task_names()} - {*STARTS, "franka_pose"}))
def test_every_other_task_is_the_same_to_physics_as_one_that_is_compared(name: str) -> None:
    task, compared = load_task(name), load_task(LIKE[name])
    model, other = task.model, compared.model
    for field in (*_MOVING, *_DRIVES):
        np.testing.assert_array_equal(getattr(model, field), getattr(other, field), err_msg=field)
    for bodies in ("body_mass", "body_inertia"):
        moving, theirs = (getattr(m, bodies)[m.body_weldid > 0] for m in (model, other))
        np.testing.assert_array_equal(moving, theirs, err_msg=bodies)
    moves, others = (m.body_weldid[m.geom_bodyid] > 0 for m in (model, other))
    for field in _GEOMS:
        np.testing.assert_array_equal(getattr(model, field)[moves], getattr(other, field)[others], err_msg=field)
    assert {*model.geom_type[~moves]} <= {*other.geom_type[~others], int(mujoco.mjtGeom.mjGEOM_BOX)}
    assert task.contract.terminations == compared.contract.terminations
    kinds, known = ({reading.kind for reading in t.teacher_contract.readings} for t in (task, compared))
    assert kinds <= known


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", STARTS)
def test_robots_sense_and_fall_alike(name: str) -> None:
    task, count = load_task(name), 4
    pool = sample_goal_pool(task, size=20, seed=1)
    native = NativeEnvironment(task, num_envs=count, seed=3, pool=pool, privileged=True)
    mjx = MjxEnvironment(task, num_envs=count, seed=3, pool=pool, privileged=True)
    start, goal = pool.start[:count].copy(), pool.goal[:count]
    for env, place in zip((_IN_THE_AIR, _OVER), STARTS[name], strict=True):
        if place is not None:
            start[env, place[0]] = place[1]
    native.place(np.arange(count), start, goal)
    mjx.place(start, goal)
    first, second = native.true_readings(), mjx.true_readings()
    assert set(first) == {reading.name for reading in task.teacher_contract.readings}
    for reading, value in first.items():
        bound = 5.0 if "contact" in reading else 1e-5  # N
        np.testing.assert_allclose(second[reading], value, atol=bound, err_msg=reading)
    actions = np.random.default_rng(0).uniform(-1, 1, (3, count, action_size(task.contract))).astype(np.float32)
    over = []
    for action in actions:
        ours, theirs = (env.rollout(_replay, jnp.asarray(action), jax.random.key(0), 1) for env in (native, mjx))
        np.testing.assert_array_equal(ours.terminated, theirs.terminated)
        np.testing.assert_array_equal(ours.last, theirs.last)
        over.append(np.asarray(ours.terminated[0]))
        first, second = native.true_readings(), mjx.true_readings()
        for reading, value in first.items():
            bound = 0.2 if "velocity" in reading else 5e-3  # joints meet their limits
            np.testing.assert_allclose(second[reading][_IN_THE_AIR], value[_IN_THE_AIR], atol=bound, err_msg=reading)
        for reading in ("joint_position", *native.contract.goal.needs):
            np.testing.assert_allclose(
                second[reading][:2], first[reading][:2], atol=_ON_THE_GROUND.get(name, 0.03), err_msg=reading
            )
        assert ours.observation.shape[-1] == task.teacher_contract.observation.size
    assert over[0].tolist() == [False, False, False, STARTS[name][1] is not None]
