"""Robots and disturbances in the native backend: each acts as its name says, and off means off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sim2real.backends.base import Rollout
from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import command
from sim2real.randomisation.config import load_randomisation
from sim2real.randomised_robots.sampling import Draws, neutral_draws, sample
from sim2real.tasks.goal_pool import GoalPool, sample_goal_pool
from sim2real.tasks.task import Task
from tests.sim2real.randomised_robots.robots import CHANGES, heavy_arm, one_robot_per_term, swinging

ENVS = 5


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return heavy_arm(tmp_path_factory.mktemp("arm"))


@pytest.fixture(scope="module")
def pool(task: Task) -> GoalPool:
    return sample_goal_pool(task, size=60, seed=0)


@pytest.fixture(scope="module")
def robots(task: Task) -> Draws:
    return sample(load_randomisation("hard"), task, count=40, seed=0)


def make(task: Task, pool: GoalPool, draws: Draws | None, **settings: Any) -> NativeEnvironment:
    return NativeEnvironment(task, pool=pool, draws=draws, **({"num_envs": ENVS, "seed": 1} | settings))


def wandering(observation: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """A deterministic policy that depends on everything it sees."""
    return np.sin(17.0 * observation[:, :2] + 3.0 * goal[:, :1]).astype(np.float32)


def assert_equal(left: Rollout, right: Rollout) -> None:
    for name, a, b in zip(Rollout._fields, left, right, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def one(task: Task, **values: Any) -> Draws:
    """`ENVS` robots that differ from the model in the given terms only."""
    neutral = neutral_draws(task, count=ENVS)
    return neutral._replace(**{name: np.full_like(getattr(neutral, name), value) for name, value in values.items()})


def test_neutral_robots_take_the_path_without_randomisation(task: Task, pool: GoalPool) -> None:
    plain, neutral = make(task, pool, None), make(task, pool, neutral_draws(task, count=3))
    assert neutral.robots is None
    assert plain.state_dict().keys() == neutral.state_dict().keys()
    assert_equal(plain.rollout_with(wandering, 30), neutral.rollout_with(wandering, 30))


def test_each_term_changes_what_the_policy_sees_or_where_the_arm_goes(task: Task, pool: GoalPool) -> None:
    draws = one_robot_per_term(task)
    env = make(task, pool, draws, num_envs=draws.num_robots, keep_robots=True)
    count = draws.num_robots
    env.place(np.arange(count), np.repeat([[0.3, 0.5]], count, axis=0), env.goals()[:1].repeat(count, 0))
    seen, true = [], []
    for step in range(40):
        seen.append(np.concatenate(list(env.readings().values()), axis=1))
        true.append(env.true_readings()["joint_position"])
        env.advance(command(np, task.contract, swinging(step, count), env.readings()))
    for row, name in enumerate(CHANGES, start=1):
        assert np.abs(np.array(seen)[:, row] - np.array(seen)[:, 0]).max() > 1e-4, name
    moved = np.abs(np.array(true) - np.array(true)[:, :1]).max(axis=(0, 2))[1:]
    for name, distance in zip(CHANGES, moved, strict=True):
        # Errors of readings move the arm through the policy only, and this one doesn't look.
        assert distance > 1e-6 or name.startswith(("joint_", "tool_", "observation_", "dropped_")), name


def test_saved_state_continues_bit_for_bit(task: Task, pool: GoalPool, robots: Draws) -> None:
    settings: dict[str, Any] = {"continue_share": 0.4}
    env, other = make(task, pool, robots, **settings), make(task, pool, robots, **settings)
    env.rollout_with(wandering, 37)
    state = {name: value.copy() for name, value in env.state_dict().items()}
    expected = env.rollout_with(wandering, 220)
    other.load_state_dict(state)
    assert_equal(other.rollout_with(wandering, 220), expected)


def test_number_of_threads_changes_nothing(task: Task, pool: GoalPool, robots: Draws) -> None:
    assert_equal(*(make(task, pool, robots, threads=threads).rollout_with(wandering, 110) for threads in (1, 3)))


def test_looking_twice_changes_nothing(task: Task, pool: GoalPool, robots: Draws) -> None:
    env = make(task, pool, robots)
    env.rollout_with(wandering, 3)
    first, second = env.readings(), env.readings()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_a_new_start_brings_another_robot_and_a_continued_episode_does_not(
    task: Task, pool: GoalPool, robots: Draws
) -> None:
    steps = task.contract.timing.episode_steps
    for share, keep, changed in ((0.0, False, True), (1.0, False, False), (0.0, True, False)):
        env = make(task, pool, robots, continue_share=share, keep_robots=keep)
        assert env.robots is not None
        assert env._disturbed is not None
        before = env._disturbed.index.copy()
        np.testing.assert_array_equal(before, np.arange(ENVS))
        fields = {name: values[before] for name, values in env.robots.dynamics.fields.items()}
        env.rollout_with(wandering, steps)
        after = env._disturbed.index
        assert (before != after).all() if changed else (before == after).all()
        for name, values in env.robots.dynamics.fields.items():
            np.testing.assert_array_equal(env._batch.expand(name), values[after], err_msg=name)
            assert changed or np.array_equal(values[after], fields[name])


def test_noise_and_bias_have_the_sizes_that_they_are_given(task: Task, pool: GoalPool) -> None:
    values = {
        "joint_position_noise_std_rad": 0.02,
        "joint_velocity_noise_std_rad_s": 0.3,
        "joint_velocity_bias_rad_s": 0.5,
    }
    env = make(task, pool, one(task, **values), num_envs=400)
    errors: dict[str, list[np.ndarray]] = {"joint_position": [], "joint_velocity": []}
    for _ in range(10):
        for name, rows in errors.items():
            rows.append(env.readings()[name] - env.true_readings()[name])
        env.advance(env.readings()["joint_position_target"])
    position, velocity = (np.stack(rows) for rows in errors.values())
    assert position.std() == pytest.approx(0.02, rel=0.03)
    assert abs(position.mean()) < 0.001
    assert velocity.std() == pytest.approx(0.3, rel=0.03)
    assert velocity.mean() == pytest.approx(0.5, rel=0.03)
    flat = position.reshape(10, -1)
    correlation = np.corrcoef(flat)[np.triu_indices(10, 1)]
    assert np.abs(correlation).max() < 0.15, "noise must be new in every step"


def test_the_tools_pose_follows_from_noisy_joints_and_has_errors_of_its_own(task: Task, pool: GoalPool) -> None:
    env = make(task, pool, one(task, joint_offset_rad=0.01, tool_position_bias_m=0.02, tool_orientation_bias_rad=0.1))
    seen, true = env.readings(), env.true_readings()
    np.testing.assert_allclose(seen["joint_position"] - true["joint_position"], 0.01, atol=1e-6)
    shift = np.linalg.norm(seen["end_effector_position"] - 0.02 - true["end_effector_position"], axis=1)
    assert np.all((shift > 1e-4) & (shift < 0.01 * (0.3 + 0.2 + 0.2)))
    turn = np.abs((seen["end_effector_orientation"] * true["end_effector_orientation"]).sum(axis=1))
    angle = 2 * np.arccos(np.clip(turn, 0, 1))
    assert np.all(np.abs(angle - 0.1 * np.sqrt(3)) < 0.021), "the bias, and two joints off by 0.01"


def test_an_encoder_that_is_off_moves_the_servo_too(task: Task, pool: GoalPool) -> None:
    """An arm told to stay stays, although its reading is wrong."""
    env = make(task, pool, one(task, joint_offset_rad=0.05))
    before = env.true_readings()["joint_position"].copy()
    np.testing.assert_allclose(env.readings()["joint_position_target"], before + 0.05, atol=1e-6)
    for _ in range(20):
        env.advance(env.readings()["joint_position_target"])
    np.testing.assert_allclose(env.true_readings()["joint_position"], before, atol=2e-3)


def test_readings_are_as_old_as_their_delay(task: Task, pool: GoalPool) -> None:
    control, physics = task.contract.timing.control_dt_s, task.contract.timing.physics_dt_s
    env = make(task, pool, one(task, observation_delay_s=2 * control))
    past = [env.true_readings() for _ in range(3)]
    for step in range(12):
        for name, value in env.readings().items():
            np.testing.assert_allclose(value, past[-3][name] if "target" not in name else value, atol=1e-6)
        env.advance(command(np, task.contract, swinging(step, ENVS), env.readings()))
        past.append(env.true_readings())
    # And to the physics step: late by d, a steadily moving joint reads d times its speed less.
    late = make(task, pool, one(task, observation_delay_s=3 * physics))
    for _ in range(25):
        late.advance(late.readings()["joint_position_target"] + np.float32(0.002))
    lag = late.true_readings()["joint_position"] - late.readings()["joint_position"]
    np.testing.assert_allclose(lag, 3 * physics * 0.002 / control, rtol=0.05)


def test_commands_arrive_as_late_as_their_delay(task: Task, pool: GoalPool) -> None:
    control = task.contract.timing.control_dt_s
    env, prompt = make(task, pool, one(task, action_delay_s=2 * control)), make(task, pool, None)
    start = env.true_readings()["joint_position"].copy()
    np.testing.assert_array_equal(start, prompt.true_readings()["joint_position"])
    sent = [start, start]
    for step in range(15):
        sent.append(start + 0.01 * np.float32(step + 1))
        env.advance(sent[-1])
        prompt.advance(sent[-3])
        for name in ("joint_position", "joint_velocity"):
            np.testing.assert_allclose(env.true_readings()[name], prompt.true_readings()[name], atol=1e-5)


def test_jitter_is_new_in_every_step_and_never_beyond_its_bound(task: Task, pool: GoalPool) -> None:
    physics = task.contract.timing.physics_dt_s
    env = make(task, pool, one(task, observation_delay_s=2 * physics, observation_jitter_s=6 * physics), num_envs=100)
    steps = []
    assert env.robots is not None
    rows = env.robots.signal_draws.rows(np.zeros(100, np.int64))
    for tick in range(60):
        delays = (rows.observation_delay_s, rows.observation_jitter_s)
        steps.append(env.robots.disturbances._steps(np, *delays, "observation", np.uint32(tick)))
    assert set(np.unique(steps)) == set(range(2, 9))
    assert len(np.unique(np.stack(steps)[:, 0])) > 4


def test_lost_readings_repeat_the_last_one(task: Task, pool: GoalPool) -> None:
    env = make(task, pool, one(task, dropped_reading_probability=0.3), num_envs=200)
    seen = []
    for step in range(40):
        seen.append(env.readings()["joint_position"])
        env.advance(command(np, task.contract, swinging(step, 200), env.readings()))
    repeated = (np.diff(np.stack(seen), axis=0) == 0).all(axis=2)
    assert repeated[1:].mean() == pytest.approx(0.3, abs=0.02)


def test_a_lagging_drive_follows_a_step_exponentially(task: Task, pool: GoalPool) -> None:
    env = make(task, pool, one(task, actuator_lag_s=0.03))
    assert env.robots is not None
    timing, disturbances = task.contract.timing, env.robots.disturbances
    rows = env.robots.signal_draws.rows(np.arange(ENVS))
    signals = disturbances.begin(np, rows, np.zeros((ENVS, 2)), env.true_readings())
    path = []
    for tick in range(8):
        servo, signals = disturbances.actuate(np, rows, signals, np.ones((ENVS, timing.substeps, 2)), np.uint32(tick))
        path.append(servo)
    time_s = timing.physics_dt_s * (1 + np.arange(8 * timing.substeps))
    np.testing.assert_allclose(np.concatenate(path, axis=1)[0, :, 0], 1 - np.exp(-time_s / 0.03), atol=1e-5)


def test_a_drives_target_is_no_faster_than_its_limit(task: Task, pool: GoalPool) -> None:
    env = make(task, pool, one(task, target_speed_scale=0.2))
    top = 0.2 * np.array([joint.velocity_max for joint in task.contract.robot.joints])
    for _ in range(30):
        env.advance(command(np, task.contract, np.ones((ENVS, 2), np.float32), env.readings()))
        steps = np.diff(env._control[:, :, env._addresses.actuator], axis=1) / task.contract.timing.physics_dt_s
        assert np.all(np.abs(steps) <= top * (1 + 1e-3))
    assert np.abs(steps).max() > 0.9 * top.min()


def test_pushes_have_their_size_and_their_share_of_the_time(task: Task, pool: GoalPool) -> None:
    draws = one(task, push_force_n=5.0, push_duration_s=0.06, push_interval_s=0.3)
    env = make(task, pool, draws, num_envs=300)
    forces = []
    for _ in range(60):
        env.advance(env.readings()["joint_position_target"])
        forces.append(env._batch.bind("xfrc_applied")[:, env._addresses.body, :3].copy())
    size = np.linalg.norm(np.stack(forces), axis=2)
    pushed = size > 0
    np.testing.assert_allclose(size[pushed], 5.0, rtol=1e-5)
    assert pushed.mean() == pytest.approx(0.2, abs=0.03)
    lengths = np.diff(np.flatnonzero(np.diff(np.pad(pushed[:, 0], 1).astype(int))))[::2]
    assert np.all(lengths % 3 == 0), "0.06 s are three control steps"
    assert np.abs(np.stack(forces)[pushed].mean(axis=0)).max() < 0.5, "from all sides"
