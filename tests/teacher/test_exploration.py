"""Robots that wander visit postures of the goal pool; the others follow the policy as if nobody wandered."""

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
from teacher.run_folder import RunFolder
from teacher.train import Trainer, load_teacher
from tests.teacher.tiny import LEARNER, NETWORK, tiny_config

PLANAR = Path(__file__).parents[2] / "benchmarks" / "tasks" / "planar_push.yaml"
ENVS, STEPS = 64, 100


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(PLANAR)


def collect(task: Task, *, wander_share: float) -> tuple[NativeEnvironment, Any, Any]:
    """An environment that has been rolled out, its rollout, and the untrained policy's parameters."""
    env = NativeEnvironment(task, num_envs=ENVS, seed=0, pool=sample_goal_pool(task, size=40, seed=0))
    learner = Learner(task.contract, NETWORK, LEARNER, total_updates=10)
    actor = learner.init(jax.random.key(0)).actor
    collector = Collector(env, learner.networks, wander_share=wander_share)
    return env, collector.rollout(actor, jax.random.key(1), STEPS), actor


def test_wandering_robots_move_the_object_more_often(task: Task) -> None:
    moved = {}
    for share in (0.0, 1.0):
        _, rollout, _ = collect(task, wander_share=share)
        assert rollout.observation.shape[:2] == (STEPS, ENVS)
        way = np.linalg.norm(np.asarray(rollout.achieved)[-1] - np.asarray(rollout.achieved)[0], axis=-1)
        moved[share] = (way > 0.01).mean()
    assert moved[1.0] > 1.3 * moved[0.0]
    assert moved[1.0] > 0.5


def test_wandering_heads_for_postures_of_the_pool(task: Task) -> None:
    starts, posture = sample_goal_pool(task, size=ENVS, seed=0), sample_goal_pool(task, size=1, seed=1)
    env = NativeEnvironment(task, num_envs=ENVS, seed=0, pool=posture)
    env.place(np.arange(ENVS), starts.start, starts.goal)
    learner = Learner(task.contract, NETWORK, LEARNER, total_updates=10)
    actor = learner.init(jax.random.key(0)).actor
    rollout = Collector(env, learner.networks, wander_share=1.0).rollout(actor, jax.random.key(1), STEPS - 1)
    reached = joint_position(np, task.contract, np.asarray(rollout.observation)[-1])
    np.testing.assert_allclose(reached, np.repeat(posture.joint_position, ENVS, axis=0), atol=0.02)
    assert np.abs(np.asarray(rollout.action)).max() <= 1.0


def test_some_wander_and_others_do_not(task: Task) -> None:
    _, everyone, _ = collect(task, wander_share=0.0)
    _, some, _ = collect(task, wander_share=0.5)
    begin = np.asarray(some.observation[0]), np.asarray(everyone.observation[0])
    np.testing.assert_array_equal(*begin)
    wandering, following = np.asarray(some.action[0])[: ENVS // 2], np.asarray(some.action[0])[ENVS // 2 :]
    assert (np.abs(wandering) == 1).any()
    assert (np.abs(following) < 1).all()


def test_defaults_follow_from_what_goals_are_about(task: Task) -> None:
    tool, config = load_task("franka_reach").contract, TeacherConfig()
    assert settings_for(tool, config, config.learner).wander_share == 0
    assert settings_for(task.contract, config, config.learner).wander_share > 0
    assert settings_for(task.contract, config.learner).gamma > settings_for(tool, config.learner).gamma
    given = LearnerConfig(gamma=0.5, moving_goal_share=0.0)
    assert settings_for(task.contract, given)[:1] == (0.5,)
    assert settings_for(task.contract, given).moving_goal_share == 0


def test_a_teacher_for_an_object_trains_and_resumes(tmp_path: Path) -> None:
    config = tiny_config(task=str(PLANAR), rollout_steps=20, replay_steps=160)
    whole = Trainer(config, RunFolder(tmp_path / "whole"))
    whole.train()
    half = Trainer(config, RunFolder(tmp_path / "half"))
    half.train(until=0.0)
    Trainer(config, RunFolder(tmp_path / "half"), resume=True).train()
    one, other = (load_teacher(tmp_path / name).actor for name in ("whole", "half"))
    jax.tree.map(np.testing.assert_array_equal, one, other)
