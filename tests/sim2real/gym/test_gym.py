"""Tasks as Gymnasium environments: its own checker, `GoalEnv`'s conventions, and the same numbers as training."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import action_size
from sim2real.errors import ShoalError
from sim2real.gym.single import TaskEnv  # which registers all tasks
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.shipped import task_names
from sim2real.tasks.task import load_task

SMALL: dict[str, Any] = {"pool_size": 32}
STEPS = 4
"""Of an episode of the task `short`."""


def make(name: str = "franka_reach", **settings: Any) -> Any:
    return gymnasium.make(f"shoal/{name}-v0", **(SMALL | settings)).unwrapped


def make_many(count: int, task: Any = "franka_reach", **settings: Any) -> VectorEnv[Any, Any, Any]:
    return gymnasium.make_vec("shoal/task-v0", num_envs=count, task=task, **(SMALL | settings))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task file of one's own, whose episodes last four steps."""
    folder, path = load_task("franka_reach").folder, tmp_path_factory.mktemp("task") / "short.yaml"
    text = (folder / "franka_reach.yaml").read_text().replace("../robots", str(folder.parent / "robots"))
    path.write_text(text.replace("episode_s: 4.0", "episode_s: 0.16"))
    return path


@pytest.mark.parametrize(
    ("imports", "prefix"), [("import gymnasium, shoal.gym", ""), ("import gymnasium", "shoal.gym:")]
)
def test_one_import_or_one_prefix_is_enough(imports: str, prefix: str) -> None:
    program = f"""
{imports}
import sys
assert "mujoco" not in sys.modules  # registering costs nothing
env = gymnasium.make("{prefix}shoal/franka_reach-v0", pool_size=4)
print(env.reset(seed=1)[0]["desired_goal"].shape)
print(*sorted(name for name in gymnasium.registry if name.startswith("shoal/")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shape, names = done.stdout.splitlines()
    assert shape == "(3,)"
    assert names.split() == sorted(f"shoal/{name}-v0" for name in ("task", *task_names()))


@pytest.mark.parametrize("name", task_names())
def test_passes_gymnasiums_checker(name: str) -> None:
    env = make(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", category=RuntimeWarning)
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("settings", [{}, {"reward": "dense", "tolerance": "fine"}])
def test_rewards_and_ends_follow_from_goals_and_info_alone(settings: dict[str, str]) -> None:
    env = make(**settings)
    env.reset(seed=0)
    for _ in range(3):
        seen, reward, terminated, truncated, info = env.step(env.action_space.sample())
        goals = seen["achieved_goal"], seen["desired_goal"]
        assert reward == env.compute_reward(*goals, info)
        assert (terminated, truncated) == (env.compute_terminated(*goals, info), env.compute_truncated(*goals, info))
    # In hindsight, in batches, as replay buffers ask.
    batch = np.stack([goals[0]] * 4), np.stack([goals[0], goals[0] + 0.02, goals[0] + 1, goals[1]])
    rewards = env.compute_reward(*batch, np.array([info] * 4))
    assert rewards[0] == 0
    assert rewards[2] < -0.9
    assert rewards[3] == np.float32(reward)
    assert (rewards[1] < 0) == (settings != {})  # 3.5 cm away
    assert list(env.compute_terminated(*batch, np.array([info, {"terminated": True}, {}, {}]))) == [0, 1, 0, 0]


def test_steps_are_those_of_the_backend_that_trains() -> None:
    task = load_task("franka_pose")
    env = make("franka_pose", pool_seed=7)
    seen, _ = env.reset(seed=3)
    native = NativeEnvironment(task, num_envs=1, seed=0, pool=sample_goal_pool(task, size=32, seed=7))
    state = env._episodes._env.state_dict()
    native.place(np.arange(1), state["qpos"], state["goal"])
    rng = np.random.default_rng(0)
    for _ in range(5):
        action = rng.uniform(-1, 1, (1, 7)).astype(np.float32)
        seen, *_ = env.step(action[0])
        rollout = native.rollout_with(lambda o, g, action=action: action, 1)
    last = native.rollout_with(lambda o, g: np.zeros((1, 7), np.float32), 1)
    np.testing.assert_array_equal(seen["observation"], last.observation[0, 0])
    np.testing.assert_array_equal(seen["achieved_goal"], last.achieved[0, 0])
    np.testing.assert_array_equal(seen["desired_goal"], last.goal[0, 0])
    assert not np.array_equal(rollout.observation, last.observation)


@pytest.mark.parametrize("randomisation", ["off", "mild"])
def test_a_seed_says_everything(randomisation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim2real.randomised_robots.robots.POOL_SIZE", 16)

    def run(env: Any, seed: int) -> np.ndarray:
        seen = [env.reset(seed=seed)[0]]
        seen += [env.step(np.full(7, 0.3, np.float32))[0] for _ in range(3)]
        seen += [env.reset()[0], env.step(np.full(7, 0.3, np.float32))[0]]
        return np.concatenate([np.concatenate([*one.values()]) for one in seen])

    first, second = (make(randomisation=randomisation) for _ in range(2))
    one = run(first, 5)
    run(second, 6)
    np.testing.assert_array_equal(one, run(second, 5))
    assert not np.array_equal(one, run(second, 6))


def test_episodes_run_out_of_time_and_the_task_can_end_them() -> None:
    env = make()
    env.reset(seed=0)
    ends = [env.step(np.zeros(7, np.float32))[2:4] for _ in range(env._episodes.contract.timing.episode_steps)]
    assert ends[:-1] == [(False, False)] * (len(ends) - 1)
    assert ends[-1] == (False, True)
    fallen = make("ant")
    fallen.reset(seed=0)
    rng = np.random.default_rng(0)
    outcome = (False, False)
    while not any(outcome):
        *_, terminated, truncated, info = fallen.step(rng.choice([-1.0, 1.0], 8).astype(np.float32))
        outcome = terminated, truncated
    assert outcome == (info["terminated"], info["truncated"])


def test_a_goal_can_be_asked_for() -> None:
    env = make()
    seen, _ = env.reset(seed=0, options={"goal": [0.4, 0.1, 0.3]})
    np.testing.assert_array_equal(seen["desired_goal"], np.float32([0.4, 0.1, 0.3]))


@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        ({"reward": "shaped"}, {}, "reward 'shaped' should be one of sparse, dense"),
        ({"tolerance": "tight"}, {}, "tolerance 'tight' should be one of coarse, fine"),
        ({"pool_size": 0}, {}, "pool_size 0 should be at least 1"),
        ({"randomisation": "wild"}, {}, "'wild' is neither a preset"),
        ({"task": "franka_rech"}, {}, "unknown task 'franka_rech'"),
        ({}, {"goal": [1.0]}, "options.goal should be 3 finite numbers"),
        ({}, {"goals": [1.0]}, "options: unknown 'goals'"),
    ],
)
def test_mistakes_are_one_sentence(settings: dict[str, Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(ShoalError, match=said):
        TaskEnv(**({"task": "franka_reach"} | SMALL | settings)).reset(options=options)


def test_a_task_of_ones_own(short: Path) -> None:
    env = gymnasium.make("shoal/task-v0", task=short, **SMALL)
    env.reset(seed=0)
    assert [env.step(np.zeros(7, np.float32))[3] for _ in range(STEPS)] == [False] * (STEPS - 1) + [True]


def test_many_are_as_many_single_ones() -> None:
    many = make_many(3)
    seen, _ = many.reset(seed=0)
    assert seen in many.observation_space
    ones = [make() for _ in range(3)]
    for index, env in enumerate(ones):
        env.reset()
        state = many._episodes._env.state_dict()  # type: ignore[attr-defined]
        env._episodes._env.place(np.arange(1), state["qpos"][index : index + 1], state["goal"][index : index + 1])
        env._episodes._look()
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 7)).astype(np.float32)
    for _ in range(2):
        seen, reward, *_ = many.step(actions)
        for index, env in enumerate(ones):
            one, single_reward, *_ = env.step(actions[index])
            assert single_reward == reward[index]
            for name, values in one.items():
                np.testing.assert_array_equal(values, seen[name][index])


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_many_restart_as_gymnasiums_own_vector_does(mode: AutoresetMode, short: Path) -> None:
    """At the end of the first episode, and one step later: the same signals, keys, masks and shapes."""
    ours = make_many(2, short, autoreset_mode=mode)
    theirs = SyncVectorEnv([lambda: TaskEnv(short, **SMALL)] * 2, autoreset_mode=mode)
    zeros = np.zeros((2, 7), np.float32)
    for env in (ours, theirs):
        env.reset(seed=0)
    for count in range(1, STEPS + 3):
        (seen, *outcome, info), (their_seen, *their_outcome, their_info) = ours.step(zeros), theirs.step(zeros)
        if count < STEPS:
            continue
        for left, right in zip(outcome[1:], their_outcome[1:], strict=True):
            np.testing.assert_array_equal(left, right)
        assert {name: values.shape for name, values in seen.items()} == {n: v.shape for n, v in their_seen.items()}
        assert {*their_info} <= {*info}
        if "final_obs" in their_info:
            assert info["final_obs"][0] in ours.single_observation_space
            assert not np.array_equal(info["final_obs"][0]["desired_goal"], seen["desired_goal"][0])
            assert {*their_info["final_info"]} == {*info["final_info"]}


def test_with_next_step_the_action_after_the_end_counts_for_nothing(short: Path) -> None:
    env = make_many(2, short)
    env.reset(seed=0)
    zeros = np.zeros((2, 7), np.float32)
    last = [env.step(zeros) for _ in range(STEPS)][-1]
    assert last[3].all()
    seen, reward, terminated, truncated, info = env.step(zeros + 1)
    assert not np.concatenate([reward, terminated, truncated, info["truncated"]]).any()
    assert not np.array_equal(seen["desired_goal"], last[0]["desired_goal"])
    assert [env.step(zeros)[3].any() for _ in range(STEPS)] == [False] * (STEPS - 1) + [True]


def test_disabled_leaves_resets_to_the_caller(short: Path) -> None:
    env = make_many(2, short, autoreset_mode="Disabled")
    env.reset(seed=0)
    zeros = np.zeros((2, 7), np.float32)
    for _ in range(3):
        env.step(zeros)
    env.reset(options={"reset_mask": np.array([True, False])})
    ends = [env.step(zeros)[3] for _ in range(STEPS - 3)]
    assert list(ends[-1]) == [False, True]
    with pytest.raises(ShoalError, match="some episodes are over"):
        env.step(zeros)
    before = env.reset(options={"reset_mask": np.array([False, True])})[0]
    assert before in env.observation_space
    env.step(zeros)


@pytest.mark.slow
def test_draws_the_robot_and_its_goal() -> None:
    program = """
import gymnasium, numpy as np, shoal.gym
env = gymnasium.make("shoal/franka_reach-v0", pool_size=4, render_mode="rgb_array")
near = (env.reset(seed=1, options={"goal": [0.5, -0.3, 0.5]}), env.render())[1].astype(int)
far = (env.reset(seed=1, options={"goal": [0.5, 0.3, 0.5]}), env.render())[1].astype(int)
env.close()
assert near.shape == (480, 480, 3) and near.std() > 10, near.std()
changed = (np.abs(near - far).max(axis=2) > 20).sum()
print(changed)
"""
    from runtime.drivers.pictures.video import find_backend

    drawing = {**os.environ, "MUJOCO_GL": find_backend()}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=drawing, check=False)
    assert done.returncode == 0, done.stderr
    assert 200 < int(done.stdout.splitlines()[-1]) < 20_000


@pytest.mark.parametrize("name", task_names())
def test_actions_have_the_size_that_the_task_takes(name: str) -> None:
    assert make(name).action_space.shape == (action_size(load_task(name).contract),)
