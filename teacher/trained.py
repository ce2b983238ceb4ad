"""A teacher as others read it: its task, its networks at the depth that they reached, and its weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sim2real.backends.base import Environment, Rollout
from sim2real.contract import Contract
from sim2real.evaluation.success import Score, score
from sim2real.tasks.task import Task
from teacher.config import TeacherConfig
from teacher.growth.blocks import at_depth_of
from teacher.growth.stages import Stage, stages
from teacher.learner import Learner, Networks, make_networks
from teacher.networks import count_parameters
from teacher.run.checkpoint import Checkpoints, Leaves, actor_in
from teacher.run.folder import RunFolder


@dataclass(frozen=True)
class Teacher:
    """A trained teacher, as the student reads it."""

    task: Task
    contract: Contract
    config: TeacherConfig
    networks: Networks
    actor: Any
    critic: Any
    stages: tuple[Stage, ...] = ()
    """How it grew, where its depth was chosen by `--depth auto`; `config` then has the depth that was reached."""

    @property
    def parameters(self) -> int:
        """Scalars in actor and both encoders."""
        return count_parameters((self.actor, self.critic))

    @property
    def digest(self) -> str:
        """SHA-256 of the contract and all weights."""
        digest = hashlib.sha256(self.contract.digest.encode())
        for leaf in jax.tree.leaves((self.actor, self.critic)):
            digest.update(np.ascontiguousarray(leaf).tobytes())
        return digest.hexdigest()


def load_teacher(run: Path) -> Teacher:
    """The newest checkpoint of a run, with its contract checked against today's task."""
    folder = RunFolder(run)
    config, contract = folder.load(TeacherConfig)
    task = folder.task(config.task)
    folder.require_contract(task.contract)

    def template(leaves: Leaves) -> dict[str, Any]:
        network = at_depth_of(config.network, actor_in(leaves))
        learner = Learner(task.teacher_contract, network, config.learner, config.updates)
        return learner.shapes()

    state, _ = Checkpoints(folder.checkpoints, keep=config.keep_checkpoints).restore(learner=template)
    actor, grew = state["evaluated_actor"], config.network.depth == "auto"
    reached = config.model_copy(update={"network": at_depth_of(config.network, actor)})
    networks = make_networks(task.teacher_contract, reached.network, config.learner)
    curve = stages(folder.read_metrics(), config.growth) if grew else ()
    return Teacher(task, contract, reached, networks, actor, state["critic"], tuple(curve))


def evaluate(env: Environment, apply: Any, params: Any) -> Score:
    """Success over one whole episode in every environment, from new starts to new goals."""
    return score(env.contract, whole_episodes(env, apply, params))


def whole_episodes(env: Environment, apply: Any, params: Any) -> Rollout:
    """One whole episode in every environment, from new starts to new goals."""
    env.reset()
    return env.rollout(apply, params, jax.random.key(0), env.contract.timing.episode_steps)
