from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from sim2real.backends.base import Rollout
from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import command, goal_vector, observe
from sim2real.tasks.goal_pool import GoalPool, sample_goal_pool
from sim2real.tasks.task import Task, load_task

ENVS = 6


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("franka_pose")


@pytest.fixture(scope="module")
def pool(task: Task) -> GoalPool:
    return sample_goal_pool(task, size=200, seed=0)


@pytest.fixture
def make(task: Task, pool: GoalPool) -> Callable[..., NativeEnvironment]:
    return lambda **settings: NativeEnvironment(task, **({"num_envs": ENVS, "seed": 1, "pool": pool} | settings))


def wandering(observation: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """A deterministic policy that depends on everything it sees."""
    return np.sin(17.0 * observation[:, :7] + 3.0 * goal[:, :1]).astype(np.float32)


def pushing(observation: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Full speed in one direction."""
    return np.ones((len(observation), 7), np.float32)


def assert_equal(left: Rollout, right: Rollout) -> None:
    for name, a, b in zip(Rollout._fields, left, right, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_starts_and_goals_are_new_in_every_episode(make: Callable[..., NativeEnvironment]) -> None:
    env = make()
    steps = env.contract.timing.episode_steps
    rollout = env.rollout_with(wandering, 3 * steps)
    ends = np.flatnonzero(rollout.last.all(axis=1))
    assert list(ends) == [steps - 1, 2 * steps - 1, 3 * steps - 1]
    assert rollout.last.sum() == 3 * ENVS
    for episode in range(3):
        goals = rollout.goal[episode * steps : (episode + 1) * steps]
        np.testing.assert_array_equal(goals, np.broadcast_to(goals[0], goals.shape))
    first = rollout.goal[::steps], rollout.observation[::steps]
    for values in first:
        rows = values.reshape(3 * ENVS, -1)
        assert len(np.unique(rows, axis=0)) > 3 * ENVS - 3  # a pool of 200 repeats itself now and then


def test_reset_poses_and_goals_come_from_the_pool(make: Callable[..., NativeEnvironment], pool: GoalPool) -> None:
    env = make(num_envs=40)
    readings = env.readings()
    requests = env.goals()
    for env_id in range(env.num_envs):
        start = np.flatnonzero((pool.joint_position == readings["joint_position"][env_id]).all(axis=1))
        goal = np.flatnonzero((pool.goal == requests[env_id]).all(axis=1))
        assert len(start) == 1
        assert len(goal) == 1
        np.testing.assert_allclose(readings["end_effector_position"][env_id], pool.goal[start[0], :3], atol=1e-6)
        turn = np.abs(readings["end_effector_orientation"][env_id] @ pool.goal[start[0], 3:])
        assert turn == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_array_equal(readings["joint_position_target"], readings["joint_position"])
    np.testing.assert_array_equal(readings["joint_velocity"], 0.0)


def test_rollout_records_the_interface_functions(make: Callable[..., NativeEnvironment]) -> None:
    env = make()
    readings, goals = env.readings(), env.goals()
    expected = observe(np, env.contract, {name: value.copy() for name, value in readings.items()})
    rollout = env.rollout_with(wandering, 1)
    np.testing.assert_array_equal(rollout.observation[0], expected.astype(np.float32))
    np.testing.assert_array_equal(rollout.goal[0], goal_vector(np, env.contract, goals).astype(np.float32))
    np.testing.assert_array_equal(rollout.action[0], wandering(rollout.observation[0], rollout.goal[0]))


@pytest.mark.parametrize("when", [1, 37])
def test_saved_state_continues_bit_for_bit(when: int, make: Callable[..., NativeEnvironment]) -> None:
    """Across an episode's end too, so that the random generator is part of the state."""
    env, other = make(out_of_distribution_goal_share=0.5), make(seed=99, out_of_distribution_goal_share=0.5)
    env.rollout_with(wandering, when)
    state = {name: value.copy() for name, value in env.state_dict().items()}
    expected = env.rollout_with(wandering, 120)
    other.load_state_dict(state)
    assert_equal(other.rollout_with(wandering, 120), expected)
    for name, value in env.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value, err_msg=name)


def test_state_is_a_copy(make: Callable[..., NativeEnvironment]) -> None:
    env = make()
    state = env.state_dict()
    before = {name: value.copy() for name, value in state.items()}
    env.rollout_with(pushing, 3)
    for name, value in before.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)


def test_number_of_threads_changes_nothing(make: Callable[..., NativeEnvironment]) -> None:
    assert_equal(*(make(threads=threads).rollout_with(wandering, 110) for threads in (1, 3)))


def test_seed_decides_everything(make: Callable[..., NativeEnvironment]) -> None:
    first, same, other = (make(seed=seed).rollout_with(wandering, 5) for seed in (4, 4, 5))
    assert_equal(first, same)
    assert not np.array_equal(first.goal, other.goal)


def test_servo_targets_move_linearly_and_never_faster_than_the_limit(make: Callable[..., NativeEnvironment]) -> None:
    env = make()
    contract, timing = env.contract, env.contract.timing
    speed = np.array([joint.velocity_max for joint in contract.robot.joints])
    previous = env.readings()["joint_position_target"].astype(np.float64)
    for _ in range(12):
        target = command(np, contract, np.ones((ENVS, 7), np.float32), env.readings())
        env.advance(target)
        controls = env._control[:, :, env._addresses.actuator]
        path = np.concatenate([previous[:, None], controls], axis=1)
        moves = np.diff(path, axis=1)
        assert moves.shape[1] == timing.substeps
        np.testing.assert_allclose(moves, np.broadcast_to(moves[:, :1], moves.shape), atol=1e-12)
        np.testing.assert_allclose(path[:, -1], target, atol=1e-12)
        assert (np.abs(moves) / timing.physics_dt_s <= speed * (1 + 1e-6)).all()
        previous = target.astype(np.float64)


def test_step_equals_plain_mujoco_with_the_same_controls(
    make: Callable[..., NativeEnvironment], task: Task, pool: GoalPool
) -> None:
    env = make()
    data = mujoco.MjData(task.model)
    a = env._addresses
    data.qpos[a.qpos] = env.readings()["joint_position"][2]
    for _ in range(5):
        env.advance(command(np, env.contract, np.full((ENVS, 7), 0.7, np.float32), env.readings()))
        for control in env._control[2]:
            data.ctrl[:] = control
            mujoco.mj_step(task.model, data)
    readings = env.readings()
    np.testing.assert_allclose(readings["joint_position"][2], data.qpos[a.qpos], atol=1e-6)
    np.testing.assert_allclose(readings["joint_velocity"][2], data.qvel[a.dof], atol=1e-5)
    mujoco.mj_kinematics(task.model, data)
    np.testing.assert_allclose(readings["end_effector_position"][2], data.site_xpos[a.site], atol=1e-6)


def test_placing_some_arms_leaves_the_others_alone(make: Callable[..., NativeEnvironment], pool: GoalPool) -> None:
    env, undisturbed = make(), make()
    for each in (env, undisturbed):
        each.rollout_with(wandering, 5)
    ids = np.array([1, 4])
    env.place(ids, pool.start[:2], pool.goal[5:7])
    left, right = env.rollout_with(wandering, 20), undisturbed.rollout_with(wandering, 20)
    kept = np.setdiff1d(np.arange(ENVS), ids)
    for name, a, b in zip(Rollout._fields, left, right, strict=True):
        np.testing.assert_array_equal(a[:, kept], b[:, kept], err_msg=name)
    np.testing.assert_allclose(left.goal[0, ids, :3], pool.goal[5:7, :3], atol=1e-7)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.0), (0.5, 0.4, 0.6), (1.0, 1.0, 1.0)])
def test_share_of_wild_goals(
    share: float, low: float, high: float, make: Callable[..., NativeEnvironment], pool: GoalPool
) -> None:
    requests = make(num_envs=800, out_of_distribution_goal_share=share).goals()
    wild = ~np.isin(requests[:, 0], pool.goal[:, 0])
    assert low <= wild.mean() <= high
    np.testing.assert_allclose(np.linalg.norm(requests[:, 3:], axis=1), 1.0, atol=1e-5)


def test_some_episodes_continue_where_the_last_one_ended(task: Task, make: Callable[..., NativeEnvironment]) -> None:
    env = make(num_envs=64, continue_share=0.5)
    steps = task.contract.timing.episode_steps
    still = np.zeros((64, 7), np.float32)
    before = env.readings()["joint_position"].copy()
    goals = env.goals().copy()
    env.rollout_with(lambda observation, goal: still, steps)
    stayed = np.abs(env.readings()["joint_position"] - before).max(axis=1) < 1e-2
    assert 0.25 < stayed.mean() < 0.75
    assert (np.abs(env.goals() - goals).max(axis=1) > 1e-6).mean() > 0.9
    env.reset()
    stayed = np.abs(env.readings()["joint_position"] - before).max(axis=1) < 1e-2
    assert stayed.mean() < 0.1


def test_wide_starts_are_used_and_goals_stay_in_the_pool(
    make: Callable[..., NativeEnvironment], pool: GoalPool
) -> None:
    env = make(num_envs=400, wide_start_share=0.5)
    wide = ~np.isin(env.readings()["joint_position"][:, 0], pool.joint_position[:, 0])
    assert 0.4 < wide.mean() < 0.6
    assert np.isin(env.goals()[:, 0], pool.goal[:, 0]).all()


def test_without_resampling_every_arm_repeats_its_own_start_and_goal(make: Callable[..., NativeEnvironment]) -> None:
    env = make(resample=False)
    steps = env.contract.timing.episode_steps
    rollout = env.rollout_with(wandering, 3 * steps)
    np.testing.assert_array_equal(rollout.goal[0], rollout.goal[2 * steps])
    np.testing.assert_array_equal(rollout.observation[0], rollout.observation[2 * steps])
    assert len(np.unique(rollout.goal[0], axis=0)) == ENVS


def test_where_bodies_are_is_that_of_the_present_state_and_contacts_still_hold() -> None:
    task = load_task("mobile_base")
    env = NativeEnvironment(task, num_envs=2, seed=0, pool=sample_goal_pool(task, size=10, seed=0))
    env.rollout_with(lambda observation, goal: np.ones((2, 2), np.float32), 20)
    data = mujoco.MjData(task.model)
    for qpos, qvel, pose in zip(env._qpos, env._qvel, env.true_readings()["base_pose"], strict=True):
        data.qpos[:], data.qvel[:] = qpos, qvel
        mujoco.mj_forward(task.model, data)
        assert pose == pytest.approx(task.scene.simulated([data]).values(np, task.contract.readings)["base_pose"][0])
        assert data.qpos[2] == pytest.approx(task.home.qpos[2], abs=0.01), "nothing sinks into the ground"
