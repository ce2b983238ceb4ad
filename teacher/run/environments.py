"""The environments of a training run: those that fill the replay, and those that judge."""

from __future__ import annotations

import jax

from sim2real.backends import make_environment, resolve
from sim2real.backends.base import Environment
from sim2real.randomisation.config import load_randomisation
from sim2real.tasks.goal_pool import EVALUATION_SEED_OFFSET
from sim2real.tasks.task import Task
from teacher.config import TeacherConfig

_PROCESS_SEED_STRIDE = 7919
"""Between the seeds of the processes of one run, so that their environments differ."""


def environments(task: Task, config: TeacherConfig) -> tuple[Environment, Environment]:
    """The training environments of this process, with starts and goals of their own, and the evaluation."""
    backend, given = resolve(config.backend), config.randomisation
    randomisation = None if given is None else load_randomisation(given)
    env = make_environment(
        task,
        backend,
        num_envs=config.num_envs // jax.process_count(),
        seed=config.seed + _PROCESS_SEED_STRIDE * jax.process_index(),
        privileged=True,
        continue_share=config.continue_share,
        wide_start_share=config.wide_start_share,
        resample=config.resample,
        randomisation=randomisation,
    )
    evaluation = make_environment(
        task.for_evaluation,
        backend,
        num_envs=config.eval_envs,
        seed=config.seed + EVALUATION_SEED_OFFSET,
        randomisation=randomisation,
        keep_robots=True,
        privileged=True,
    )
    return env, evaluation
