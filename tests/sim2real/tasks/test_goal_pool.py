from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim2real.errors import ShoalError
from sim2real.tasks.goal_pool import (
    EVALUATION_SEED_OFFSET,
    GoalPool,
    joint_range,
    mix_in_wide_starts,
    sample_goal_pool,
)
from sim2real.tasks.task import Task, load_task

SIZE = 300


@pytest.fixture(scope="module", params=["franka_pose", "franka_reach"])
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(request.param)


@pytest.fixture(scope="module")
def pool(task: Task) -> GoalPool:
    return sample_goal_pool(task, size=SIZE, seed=3)


def with_config(task: Task, part: str, **fields: Any) -> Task:
    changed = getattr(task.config, part).model_copy(update=fields)
    return Task(task.config.model_copy(update={part: changed}), task.folder)


def placed(task: Task, joint_position: np.ndarray) -> mujoco.MjData:
    """The arm in a configuration, after MuJoCo's own forward pass."""
    data = mujoco.MjData(task.model)
    for name, value in zip(task.contract.joint_names, joint_position, strict=True):
        data.joint(name).qpos[:] = value
    mujoco.mj_forward(task.model, data)
    return data


def test_every_start_is_free_of_contact_and_has_the_stated_tool_pose(task: Task, pool: GoalPool) -> None:
    site = task.contract.robot.end_effector_frame
    for index in range(SIZE):
        data = placed(task, pool.joint_position[index].astype(np.float64))
        assert data.ncon == 0
        np.testing.assert_allclose(data.site(site).xpos, pool.goal[index, :3], atol=1e-5)
        if task.contract.turns:
            expected = np.zeros(4)
            mujoco.mju_mat2Quat(expected, data.site(site).xmat)
            assert abs(expected @ pool.goal[index, 3:]) == pytest.approx(1.0, abs=1e-5)


def test_every_goal_lies_in_the_box_and_every_start_within_range_and_limits(task: Task, pool: GoalPool) -> None:
    contract, spread = task.contract, np.array(task.config.resets[0].half_range)
    assert (pool.goal[:, :3] >= np.array(contract.goal.position_min_m) - 1e-6).all()
    assert (pool.goal[:, :3] <= np.array(contract.goal.position_max_m) + 1e-6).all()
    home = np.array([joint.home_position for joint in contract.robot.joints])
    assert (np.abs(pool.joint_position - home) <= spread + 1e-6).all()
    for column, joint in zip(pool.joint_position.T, contract.robot.joints, strict=True):
        assert joint.position_min < column.min()
        assert column.max() < joint.position_max


def test_pool_spreads_over_the_box(task: Task, pool: GoalPool) -> None:
    box = np.array(task.contract.goal.position_max_m) - np.array(task.contract.goal.position_min_m)
    assert (np.ptp(pool.goal[:, :3], axis=0) > 0.8 * box).all()


def test_seed_decides_the_pool_and_evaluation_never_repeats_training(task: Task, pool: GoalPool) -> None:
    again = sample_goal_pool(task, size=SIZE, seed=3)
    for left, right in zip(pool, again, strict=True):
        np.testing.assert_array_equal(left, right)
    held_out = sample_goal_pool(task, size=SIZE, seed=3 + EVALUATION_SEED_OFFSET)
    assert not np.isin(held_out.goal[:, :3], pool.goal[:, :3]).all(axis=1).any()


def test_larger_pool_begins_with_the_smaller(task: Task, pool: GoalPool) -> None:
    small = sample_goal_pool(task, size=20, seed=3)
    np.testing.assert_array_equal(small.joint_position, pool.joint_position[:20])


def test_box_that_the_arm_cannot_reach_is_refused(task: Task) -> None:
    far = with_config(task, "goal", position_min_m=(3.0, 3.0, 3.0), position_max_m=(3.5, 3.5, 3.5))
    with pytest.raises(ShoalError, match=r"resets: only 0 of \d+ random starts .* outside the goal's bounds"):
        sample_goal_pool(far, size=10, seed=0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_wild_goals_fill_a_larger_box_with_unit_quaternions(seed: int) -> None:
    contract, rng = load_task("franka_pose").contract, np.random.default_rng(seed)
    requests = contract.goal.between(np, contract, rng.random((400, 7)), rng.normal(size=(400, 7)), grown=1.4)
    position, orientation = requests[:, :3], requests[:, 3:]
    low, high = np.array(contract.goal.position_min_m), np.array(contract.goal.position_max_m)
    margin = 0.2 * (high - low)
    assert (position >= low - margin - 1e-6).all()
    assert (position <= high + margin + 1e-6).all()
    outside = ((position < low) | (position > high)).any(axis=1).mean()
    assert outside == pytest.approx(1 - 1.4**-3, abs=0.12)
    np.testing.assert_allclose(np.linalg.norm(orientation, axis=1), 1.0, atol=1e-5)
    assert position.dtype == orientation.dtype == np.float32


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_share_of_wide_starts(share: float, task: Task, pool: GoalPool) -> None:
    mixed = mix_in_wide_starts(task, pool, share=share, seed=5)
    replaced = (mixed.joint_position != pool.joint_position).any(axis=1)
    assert replaced.mean() == pytest.approx(share, abs=1 / SIZE)
    np.testing.assert_array_equal(mixed.start, mix_in_wide_starts(task, pool, share=share, seed=5).start)


def test_wide_starts_fill_the_joint_ranges_without_contact(task: Task, pool: GoalPool) -> None:
    starts = mix_in_wide_starts(task, pool, share=1.0, seed=5).joint_position
    joints = task.contract.robot.joints
    low, high = (np.array([getattr(j, f"position_{end}") for j in joints]) for end in ("min", "max"))
    assert ((starts > low) & (starts < high)).all()
    assert (np.ptp(starts, axis=0) > 0.9 * (high - low)).all()
    assert all(placed(task, start.astype(np.float64)).ncon == 0 for start in starts)


def test_starts_of_a_pool_look_no_names_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It used to, for every one of many thousand starts, which took most of the time."""
    task, asked = load_task("franka_push"), []
    assert {reset.kind for reset in task.config.resets} >= {"inside", "free_body"}
    task.contract, task.scene.addresses  # noqa: B018 - what is looked up for them is not counted
    by_id = mujoco.mj_name2id
    monkeypatch.setattr(mujoco, "mj_name2id", lambda *names: asked.append(names[-1]) or by_id(*names))
    sample_goal_pool(task, size=SIZE, seed=3)
    assert 0 < len(asked) < SIZE


def test_starts_around_home_are_uniform_draws_of_the_seed() -> None:
    """Seeds of pools are quoted in results, so that a faster way to draw must draw the same."""
    task = load_task("franka_reach")
    home = np.array([joint.home_position for joint in task.contract.robot.joints])
    (around,) = task.config.resets
    low, high = joint_range(task.contract)
    low, high = np.maximum(home - around.half_range, low), np.minimum(home + around.half_range, high)
    rng = np.random.default_rng(3)
    drawn = np.array([rng.uniform(low, high) for _ in range(2 * SIZE)], np.float32)
    starts = sample_goal_pool(task, size=SIZE // 10, seed=3).joint_position
    assert {tuple(row) for row in starts} <= {tuple(row) for row in drawn}
