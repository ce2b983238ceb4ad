"""A student small enough to distil in seconds."""

from __future__ import annotations

from typing import Any

from student.config import DistillConfig, StudentNetworkConfig


def tiny_distill_config(**changes: Any) -> DistillConfig:
    """Two rounds of a few episodes, two hidden layers of 32."""
    settings: dict[str, Any] = {
        "num_envs": 8,
        "rounds": 2,
        "updates_per_round": 300,
        "batch_size": 128,
        "beta_rounds": 1,
        "dataset_size": 4096,
        "reachability_episodes": 8,
        "reachability_updates": 20,
        "eval_every_rounds": 2,
        "eval_envs": 8,
        "student": StudentNetworkConfig(hidden_layers=2, hidden_width=32),
    }
    return DistillConfig.model_validate(settings | changes)
