"""Tasks whose goals are places of an object: what they must say, where they start, and what pushing does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml

from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract, require_same_interface
from sim2real.contract.interface import achieved, goal_size, joint_position, observation_size, observe
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import GoalPool, mix_in_wide_starts, sample_goal_pool
from sim2real.tasks.task import Task, load_task
from sim2real.terms.reset import FreeBody
from sim2real.world.objects import ObjectAddresses

PLANAR = Path(__file__).parents[3] / "benchmarks" / "tasks" / "planar_push.yaml"
FREE = """
<mujoco>
  <worldbody>
    <geom type="plane" size="1 1 0.1"/>
    <body name="cube" pos="0.3 0 0.02"><freejoint/><geom type="box" size="0.02 0.02 0.02" mass="0.1"/></body>
    <body name="stand" pos="0 0.5 0.1">
      <body name="lid"><joint name="lid" type="hinge" axis="0 0 1"/><geom type="sphere" size="0.01" mass="0.1"/></body>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture(scope="module", params=["planar", "franka"])
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(PLANAR if request.param == "planar" else "franka_push")


@pytest.fixture(scope="module")
def pool(task: Task) -> GoalPool:
    return sample_goal_pool(task, size=150, seed=4)


def written(folder: Path, **changes: Any) -> Path:
    """The planar task's YAML with top-level sections updated, beside its MJCF."""
    data = yaml.safe_load(PLANAR.read_text())
    data["robot"]["mjcf"] = str(PLANAR.with_suffix(".xml"))
    for section, fields in changes.items():
        if isinstance(fields, dict):
            data[section].update(fields)
        else:
            data[section] = fields
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


PUCK = {"kind": "free_body", "min_m": [0.15, -0.25], "max_m": [0.45, 0.25]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resets": [PUCK | {"body": "cup"}]}, "free_body: the MJCF has no body 'cup'; it has .*'puck'"),
        ({"resets": [PUCK | {"body": "lower"}]}, "body 'lower' must hang on the world by a free joint, or by slide"),
        (
            {"resets": [PUCK | {"body": "puck", "turned": True}]},
            "turned: body 'puck' has no free joint, so it only slides",
        ),
        ({"readings": ["joint_position", "joint_position_target"]}, "goal object_position needs object_position"),
        ({"readings": [{"kind": "object_position", "of": "cup"}]}, "the MJCF has no site and no body 'cup'"),
    ],
)
def test_what_a_task_with_an_object_must_say(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    changes = changes if "features" in changes or "readings" not in changes else changes | {"features": []}
    with pytest.raises(ShoalError, match=message):
        load_task(written(tmp_path, **changes)).contract  # noqa: B018


def test_an_object_on_a_free_joint_is_put_where_it_should_be() -> None:
    model = mujoco.MjModel.from_xml_string(FREE)
    data, where = mujoco.MjData(model), ObjectAddresses.of(model, "cube")
    where.put(data.qpos, np.array([0.4, -0.2, 0.05]))
    mujoco.mj_kinematics(model, data)
    np.testing.assert_allclose(data.body("cube").xpos, [0.4, -0.2, 0.05])
    with pytest.raises(ShoalError, match="'lid' must hang on the world"):
        ObjectAddresses.of(model, "lid")


def test_the_contract_says_what_is_brought_to_goals(task: Task) -> None:
    contract = task.contract
    assert contract.goal.kind == "object_position"
    assert contract.tracked == "object_position"
    reading = contract.reading("object_position")
    assert (reading.size, reading.unit, reading.of, reading.source) == (3, "m", "puck", "tracker")  # type: ignore[attr-defined]
    again = Contract.model_validate_json(contract.model_dump_json())
    assert again.digest == contract.digest
    assert goal_size(contract) == 3


def test_another_object_is_another_interface(task: Task) -> None:
    readings = tuple(
        reading.model_copy(update={"of": "cup"}) if reading.name == "object_position" else reading
        for reading in task.contract.readings
    )
    other = task.contract.model_copy(update={"readings": readings})
    with pytest.raises(ContractMismatch, match=r"readings\[5\]\.of: 'puck' in a, 'cup' in b"):
        require_same_interface(task.contract, other, left_name="a", right_name="b")


def test_starts_touch_nothing_and_put_the_object_near_the_tool_as_often_as_told(task: Task, pool: GoalPool) -> None:
    model, contract = task.model, task.contract
    data, reset = mujoco.MjData(model), task.config.resets[-1]
    assert isinstance(reset, FreeBody)
    assert reset.near is not None
    near = []
    for start, goal in zip(pool.start, pool.goal, strict=True):
        data.qpos[:] = start
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(data.body("puck").xpos, goal, atol=1e-6)
        assert not data.ncon
        near.append(np.linalg.norm((data.body("puck").xpos - data.site("tool").xpos)[:2]) <= reset.near.distance_m)
    low, high = np.array(contract.goal.position_min_m), np.array(contract.goal.position_max_m)
    assert (pool.goal >= low - 1e-6).all()
    assert (pool.goal <= high + 1e-6).all()
    assert np.mean(near) > 0.5 * reset.near.share


def test_wide_starts_have_an_object_too(task: Task, pool: GoalPool) -> None:
    wide = mix_in_wide_starts(task, pool, share=0.2, seed=0)
    assert wide.start.shape == pool.start.shape
    assert not np.array_equal(wide.start, pool.start)
    np.testing.assert_array_equal(wide.goal, pool.goal)


def towards_object(env: NativeEnvironment, goal_offset: np.ndarray) -> np.ndarray:
    """Joint increments `[N, J]` that move the tool towards the object, plus an offset `[3]` m."""
    contract, readings = env.contract, env.readings()
    model = mujoco.MjData(env.task_model)
    addresses, actions = Addresses.of(env.task_model, contract.robot), []
    for row in range(env.num_envs):
        model.qpos[addresses.qpos] = readings["joint_position"][row]
        mujoco.mj_forward(env.task_model, model)
        jacobian = np.zeros((3, env.task_model.nv))
        mujoco.mj_jacSite(env.task_model, model, jacobian, None, addresses.site)
        way = readings["object_position"][row] + goal_offset - readings["end_effector_position"][row]
        step = np.linalg.pinv(jacobian[:, addresses.dof], rcond=0.1) @ (0.02 * way / max(np.linalg.norm(way), 1e-6))
        actions.append(step / contract.action.step_max)
    return np.clip(np.array(actions), -1, 1)


def test_pushing_moves_the_object_and_that_is_what_is_achieved(task: Task, pool: GoalPool) -> None:
    env = NativeEnvironment(task, num_envs=4, seed=0, pool=pool)
    env.task_model = task.model  # type: ignore[attr-defined]
    env.reset()
    before = env.true_readings()["object_position"].copy()
    assert env.readings()["object_position"].shape == (4, 3)
    for _ in range(60):
        action = towards_object(env, np.zeros(3))
        rollout = env.rollout_with(lambda observation, goal, action=action: action, steps=1)  # type: ignore[misc]
    after = env.true_readings()["object_position"]
    moved = np.linalg.norm(after - before, axis=1)
    assert (moved > 0.02).any(), moved
    np.testing.assert_allclose(after[:, 2], before[:, 2], atol=1e-6)
    assert rollout.observation.shape == (1, 4, observation_size(task.contract))
    assert rollout.achieved.shape == (1, 4, 3)
    np.testing.assert_array_equal(achieved(np, task.contract, env.true_readings()), after)


def test_saved_state_holds_the_object(task: Task, pool: GoalPool) -> None:
    first = NativeEnvironment(task, num_envs=3, seed=1, pool=pool)
    joints = len(task.contract.robot.joints)
    act = lambda observation, goal: np.full((3, joints), 0.3)  # noqa: E731
    first.rollout_with(act, 5)
    second = NativeEnvironment(task, num_envs=3, seed=2, pool=pool)
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first.rollout_with(act, 5).achieved, second.rollout_with(act, 5).achieved)


def test_observation_says_where_the_object_is_from_the_tool(task: Task, pool: GoalPool) -> None:
    contract, rng = task.contract, np.random.default_rng(0)
    readings = {reading.name: rng.normal(size=(5, reading.size)).astype(np.float32) for reading in contract.readings}
    seen = observe(np, contract, readings)
    assert seen.shape == (5, observation_size(contract))
    np.testing.assert_allclose(joint_position(np, contract, seen), readings["joint_position"], atol=1e-5)
    moved = dict(readings)
    for name in ("object_position", "end_effector_position"):
        moved[name] = readings[name] + np.float32(0.1)
    # Tool and object moved together: only their places change, not where one is from the other.
    np.testing.assert_allclose(observe(np, contract, moved)[:, -3:], seen[:, -3:], atol=1e-4)
    assert not np.allclose(observe(np, contract, moved)[:, -6:-3], seen[:, -6:-3])


@pytest.mark.slow
def test_both_backends_move_the_object_alike() -> None:
    import jax
    import jax.numpy as jnp

    from sim2real.backends.mjx import MjxEnvironment

    task, count = load_task(PLANAR), 24
    pool = sample_goal_pool(task, size=60, seed=1)
    native = NativeEnvironment(task, num_envs=count, seed=3, pool=pool)
    mjx = MjxEnvironment(task, num_envs=count, seed=3, pool=pool)
    begin = pool.start[:count], pool.goal[count : 2 * count]
    native.place(np.arange(count), *begin)
    mjx.place(*begin)
    before = native.true_readings()["object_position"]
    # Held, so that tips travel far enough to meet a puck.
    action = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (count, 2)), jnp.float32)
    for _ in range(12):
        for env in (native, mjx):
            env.rollout(lambda params, observation, goal, key: params, action, jax.random.key(0), 1)
        first, second = native.true_readings()["object_position"], mjx.true_readings()["object_position"]
        np.testing.assert_allclose(first, second, atol=3e-3)
    moved = np.linalg.norm((first - before)[:, :2], axis=1) > 0.01
    assert moved.sum() >= 3
