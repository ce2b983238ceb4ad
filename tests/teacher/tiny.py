"""A teacher small enough to train in seconds, and the contract that the teacher's tests use."""

from __future__ import annotations

from functools import cache
from typing import Any

from sim2real.contract import Contract
from sim2real.tasks.task import load_task
from teacher.config import LearnerConfig, NetworkConfig, TeacherConfig

NETWORK = NetworkConfig(actor_depth=4, critic_depth=4, block_size=2, width=16, embedding_size=8)
LEARNER = LearnerConfig(batch_size=16)
TIMING_FIELDS = {"elapsed_s", "collect_s", "update_s", "updates_per_s", "steps_per_s"}
"""Metrics that measure the machine and may differ between equal runs."""


def tiny_config(**changes: Any) -> TeacherConfig:
    """Four rounds of five updates with depth 4, width 16 and batch 16."""
    settings: dict[str, Any] = {
        "task": "franka_pose",
        "backend": "native",
        "num_envs": 4,
        "rollout_steps": 30,
        "updates_per_rollout": 5,
        "updates": 20,
        "prefill_rollouts": 2,
        "replay_steps": 150,
        "eval_every_rounds": 1,
        "eval_envs": 4,
        "checkpoint_every_rounds": 2,
        "network": NETWORK,
        "learner": LEARNER,
    }
    return TeacherConfig.model_validate(settings | changes)


@cache
def contract(task: str = "franka_pose") -> Contract:
    """The contract of a shipped task."""
    return load_task(task).contract
