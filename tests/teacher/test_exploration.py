"""Robots that explore random postures visit those of the goal pool; the others follow the policy all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from sim2real.backends.native import NativeEnvironment
from sim2real.contract.interface import joint_position
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task
from teacher.config import LearnerConfig, TeacherConfig
from teacher.defaults import settings_for
from teacher.exploration import Collector
from teacher.learner import Learner
from teacher.run.folder import RunFolder
from teacher.train import Trainer
from teacher.trained import load_teacher
from tests.teacher.tiny import LEARNER, NETWORK, tiny_config

PLANAR = Path(__file__).parents[2] / "benchmarks" / "tasks" / "planar_push.yaml"
ENVS, STEPS = 64, 100


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(PLANAR)


def collect(task: Task, *, share: float, chunk: int = 1) -> tuple[NativeEnvironment, Any, Any]:
    """An environment that has been rolled out, its rollout, and the untrained policy's parameters."""
    env = NativeEnvironment(task, num_envs=ENVS, seed=0, pool=sample_goal_pool(task, size=40, seed=0))
    learner = Learner(task.contract, NETWORK, LEARNER.model_copy(update={"action_chunk": chunk}), total_updates=10)
    actor = learner.init(jax.random.key(0)).actor
    collector = Collector(env, learner.networks, random_posture_share=share, action_chunk=chunk)
    return env, collector.rollout(actor, jax.random.key(1), STEPS), actor


def test_random_postures_move_the_object_more_often(task: Task) -> None:
    moved = {}
    for share in (0.0, 1.0):
        _, rollout, _ = collect(task, share=share)
        assert rollout.observation.shape[:2] == (STEPS, ENVS)
        way = np.linalg.norm(np.asarray(rollout.achieved)[-1] - np.asarray(rollout.achieved)[0], axis=-1)
        moved[share] = (way > 0.01).mean()
    assert moved[1.0] > 1.3 * moved[0.0]
    assert moved[1.0] > 0.5


def test_random_postures_are_those_of_the_pool(task: Task) -> None:
    starts, posture = sample_goal_pool(task, size=ENVS, seed=0), sample_goal_pool(task, size=1, seed=1)
    env = NativeEnvironment(task, num_envs=ENVS, seed=0, pool=posture)
    env.place(np.arange(ENVS), starts.start, starts.goal)
    learner = Learner(task.contract, NETWORK, LEARNER, total_updates=10)
    actor = learner.init(jax.random.key(0)).actor
    rollout = Collector(env, learner.networks, random_posture_share=1.0).rollout(actor, jax.random.key(1), STEPS - 1)
    reached = joint_position(np, task.contract, np.asarray(rollout.observation)[-1])
    np.testing.assert_allclose(reached, np.repeat(posture.joint_position, ENVS, axis=0), atol=0.02)
    assert np.abs(np.asarray(rollout.action)).max() <= 1.0


def test_some_explore_postures_and_others_do_not(task: Task) -> None:
    _, everyone, _ = collect(task, share=0.0)
    _, some, _ = collect(task, share=0.5)
    begin = np.asarray(some.observation[0]), np.asarray(everyone.observation[0])
    np.testing.assert_array_equal(*begin)
    exploring, following = np.asarray(some.action[0])[: ENVS // 2], np.asarray(some.action[0])[ENVS // 2 :]
    assert (np.abs(exploring) == 1).any()
    assert (np.abs(following) < 1).all()


def test_chunks_are_carried_out_as_they_were_decided(task: Task) -> None:
    """Every third step, and where an episode begins, the robot decides anew; its next actions come from then."""
    chunk, steps = 3, 110  # an episode has 100
    env = NativeEnvironment(task, num_envs=4, seed=0, pool=sample_goal_pool(task, size=40, seed=0))
    learner = Learner(task.contract, NETWORK, LEARNER.model_copy(update={"action_chunk": chunk}), total_updates=10)
    actor = learner.init(jax.random.key(0)).actor
    actor = jax.tree.map(lambda leaf: leaf * 0.0, actor)  # the log standard deviation is that of no input: -1.5
    collector = Collector(env, learner.networks, random_posture_share=0.0, action_chunk=chunk)
    rollout, again = (collector.rollout(actor, jax.random.key(1), steps) for _ in range(2))
    assert rollout.action.shape == (steps, 4, 2)
    begins = np.concatenate([[0], 1 + np.flatnonzero(np.asarray(rollout.last)[:, 0])])
    decided = np.concatenate([np.arange(b, e, chunk) for b, e in zip(begins, [*begins[1:], steps], strict=True)])
    assert len(begins) == 2
    seeds = np.asarray(jax.random.randint(jax.random.key(1), (steps, 4), 0, 2**31 - 1), np.int32)
    for row, at in enumerate(decided):
        until = min([*decided[row + 1 :], steps])
        key = jax.random.fold_in(jax.random.key(0), seeds[at, 0])
        whole = np.tanh(np.exp(-1.5) * np.asarray(jax.random.normal(key, (chunk * 2,)))).reshape(chunk, 2)
        np.testing.assert_allclose(np.asarray(rollout.action)[at:until, 0], whole[: until - at], atol=1e-5)
    np.testing.assert_array_equal(np.asarray(rollout.action)[0], np.asarray(again.action)[0])


def test_defaults_follow_from_what_goals_are_about(task: Task) -> None:
    tool, config = load_task("franka_reach").contract, TeacherConfig()
    assert settings_for(tool, config, config.learner).random_posture_share == 0
    assert settings_for(task.contract, config, config.learner).random_posture_share > 0
    assert settings_for(task.contract, config.learner).gamma > settings_for(tool, config.learner).gamma
    given = LearnerConfig(gamma=0.5, moving_goal_share=0.0)
    assert settings_for(task.contract, given)[:1] == (0.5,)
    assert settings_for(task.contract, given).moving_goal_share == 0


LEARNERS = {
    "infonce": {},
    "chrono": {"objective": "chrono", "action_chunk": 2, "update_order": "critic_first"},
    "survival": {"objective": "survival"},
}


@pytest.mark.parametrize(
    "name", ["infonce", *(pytest.param(name, marks=pytest.mark.slow) for name in ("survival", "chrono"))]
)
def test_a_teacher_for_an_object_trains_and_resumes(name: str, tmp_path: Path) -> None:
    learner = LEARNER.model_copy(update=LEARNERS[name])
    config = tiny_config(task=str(PLANAR), rollout_steps=20, replay_steps=160, updates=10, learner=learner)
    whole = Trainer(config, RunFolder(tmp_path / "whole"))
    whole.train()
    half = Trainer(config, RunFolder(tmp_path / "half"))
    half.train(until=0.0)
    Trainer(config, RunFolder(tmp_path / "half"), resume=True).train()
    one, other = (load_teacher(tmp_path / name).actor for name in ("whole", "half"))
    jax.tree.map(np.testing.assert_array_equal, one, other)
