"""Tasks, networks and training recipes of the control experiment.

Every case of one task and seed has the same environment steps, updates and held-out goals, except `b`, which trains
for as long as the deep teacher does. `w` asks whether the deep teacher's parameters would have done as much in width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from student.config import DistillConfig, StudentNetworkConfig
from teacher.config import TeacherConfig

ACTIONS: dict[str, Any] = {
    "behaviour_weight": 1.0,
    "action_weight": 10.0,
    "feature_weight": 0.0,
    "embedding_weight": 0.0,
    "relational_weight": 0.0,
    "contrastive_weight": 0.0,
}
MATCHING: dict[str, Any] = ACTIONS | {"feature_weight": 0.1, "embedding_weight": 0.1}

CASES: dict[str, str] = {
    "a": "shallow, trained directly",
    "b": "shallow, as long as the teacher",
    "w": "shallow and wide, as many parameters",
    "c": "deep teacher",
    "d": "student: actions on teacher states",
    "e": "d + representation matching",
    "f": "student: actions on its own states",
    "g": "f + all representation terms",
}

STUDENTS: dict[str, dict[str, Any]] = {
    "d": ACTIONS | {"states": "teacher"},
    "e": MATCHING | {"states": "teacher"},
    "f": ACTIONS | {"states": "student"},
    "g": MATCHING | {"states": "student", "relational_weight": 0.1, "contrastive_weight": 0.1},
    # Single representation terms, with --cases: which of them does anything.
    "f+feature": ACTIONS | {"feature_weight": 0.1},
    "f+embedding": ACTIONS | {"embedding_weight": 0.1},
    "f+relational": ACTIONS | {"relational_weight": 0.1},
    "f+contrastive": ACTIONS | {"contrastive_weight": 0.1},
    "f+hard goals": ACTIONS | {"hard_goal_share": 0.5},
}


@dataclass(frozen=True)
class Setting:
    """One task of the experiment."""

    task: str
    shallow_depth: int
    deep_depth: int
    wide_width: int
    """Of a network of `shallow_depth` with about as many parameters as the deep one."""
    teacher: dict[str, Any]
    """Changes to `TeacherConfig`, without the depths."""
    student: StudentNetworkConfig
    distill: dict[str, Any]
    """Changes to `DistillConfig` that all students share."""

    def teacher_config(self, case: str, seed: int, updates: int) -> TeacherConfig:
        """A directly trained policy: case `a`, `b`, `w` or `c`."""
        depth = self.deep_depth if case == "c" else self.shallow_depth
        network = self.teacher.get("network", {}) | {"actor_depth": depth, "critic_depth": depth}
        network |= {"width": self.wide_width} if case == "w" else {}
        changes = {"task": self.task, "backend": "native", "seed": seed, "updates": updates}
        return TeacherConfig.model_validate(self.teacher | {"network": network} | changes)

    def distill_config(self, case: str, seed: int) -> DistillConfig:
        """A student of case `d` to `g`, or of a single term."""
        return DistillConfig.model_validate(
            self.distill | STUDENTS[case] | {"seed": seed, "student": self.student.model_dump()}
        )


_NARROW_RATES = {"actor_learning_rate": 5e-4, "critic_learning_rate": 5e-4, "alpha_learning_rate": 5e-4}
_FEW_OUTCOMES: dict[str, Any] = {"reachability_episodes": 64, "reachability_updates": 50}

SETTINGS: dict[str, Setting] = {
    "planar_reach": Setting(
        task=str(Path(__file__).parent.parent / "tasks" / "planar_reach.yaml"),
        shallow_depth=4,
        deep_depth=64,
        wide_width=64,
        teacher={
            "num_envs": 32,
            "rollout_steps": 50,
            "updates_per_rollout": 100,
            "updates": 1500,
            "prefill_rollouts": 4,
            "eval_every_rounds": 5,
            "eval_envs": 256,
            "checkpoint_every_rounds": 5,
            "network": {"width": 16, "embedding_size": 16},
            "learner": {"batch_size": 128} | _NARROW_RATES,
        },
        student=StudentNetworkConfig(hidden_layers=2, hidden_width=32),
        distill={"rounds": 20, "num_envs": 64, "updates_per_round": 200, "batch_size": 512, **_FEW_OUTCOMES},
    ),
    "franka_pose": Setting(
        task="franka_pose",
        shallow_depth=4,
        deep_depth=64,
        wide_width=128,
        teacher={
            "updates": 6000,
            "eval_every_rounds": 5,
            "checkpoint_every_rounds": 5,
            "network": {"width": 32},
        },
        student=StudentNetworkConfig(hidden_layers=2, hidden_width=64),
        distill={"rounds": 20, "num_envs": 128, "updates_per_round": 300, **_FEW_OUTCOMES},
    ),
}
