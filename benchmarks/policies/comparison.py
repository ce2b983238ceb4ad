"""Teacher, student and exported file on the same episodes, in native MuJoCo."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.policies.onnx_evaluation import evaluate_onnx, held_out_environment
from benchmarks.report.page import Content
from benchmarks.report.recording import record
from runtime.goals.messages import GoalPose
from sim2real.errors import ShoalError
from sim2real.evaluation.success import EpisodeErrors, episode_errors, score
from sim2real.tasks.task import Task
from student.history import remembering
from student.policy import greedy as student_greedy
from student.run import load_student
from teacher.networks import count_parameters
from teacher.policies import greedy as teacher_greedy
from teacher.run.folder import RunFolder
from teacher.trained import load_teacher


@dataclass(frozen=True)
class Comparison:
    """Results by name: `teacher`, `student`, `onnx`."""

    scores: dict[str, dict[str, Any]]
    errors: dict[str, EpisodeErrors]
    goal_position: np.ndarray
    """`[N, 3]` m."""
    runs: Path
    """Folder that holds the runs `teacher` and `student`."""

    def content(self, summary: dict[str, Any], policy: Path, goals: Sequence[GoalPose], *, longest_s: float) -> Content:
        """What the report shows, with a recording of the file visiting `goals`."""
        return Content(
            summary=summary,
            teacher_metrics=RunFolder(self.runs / "teacher").read_metrics(),
            student_metrics=RunFolder(self.runs / "student").read_metrics(),
            errors=self.errors,
            goal_position=self.goal_position,
            recording=record(policy, goals, longest_s=longest_s),
        )


def compare(runs: Path, policy: Path, *, episodes: int, seed: int) -> Comparison:
    """Evaluate the runs `teacher` and `student` under `runs` and the file `policy`, on one set of episodes."""
    trained = load_teacher(runs / "teacher")
    student = load_student(runs / "student")
    task = trained.task
    scores, errors = {}, {}
    distilled = student_greedy(student.contract, student.policy)
    for name, apply, params, history_steps in (
        ("teacher", teacher_greedy(trained.networks), trained.actor, 0),
        ("student", distilled, student.params.policy, student.config.student.history_steps),
    ):
        scores[name], errors[name] = _episodes(task, apply, params, history_steps, episodes, seed)
    result, errors["onnx"], goals = evaluate_onnx(policy, episodes, seed, task=task)
    scores["onnx"] = dataclasses.asdict(result)
    scores["teacher"]["actor_parameters"] = count_parameters(trained.actor)
    scores["student"]["hidden_layers"] = student.config.student.hidden_layers
    _require_same_behaviour(scores)
    return Comparison(scores, errors, goals.position, runs)


def _episodes(
    task: Task, apply: Any, params: Any, history_steps: int, episodes: int, seed: int
) -> tuple[dict[str, Any], EpisodeErrors]:
    env = remembering(held_out_environment(task, episodes, seed), history_steps)
    rollout = env.rollout(apply, params, jax.random.key(0), task.contract.timing.episode_steps)
    return dataclasses.asdict(score(task.contract, rollout)), episode_errors(task.contract, rollout)


def _require_same_behaviour(scores: dict[str, dict[str, Any]]) -> None:
    """The file is the student, so their shares may differ by the few episodes that hang on the last bit."""
    for key in ("success_coarse", "success_fine"):
        student, exported = scores["student"][key], scores["onnx"][key]
        if abs(student - exported) > 0.03:
            raise ShoalError(
                f"evaluation: {key} is {student:.1%} for the student but {exported:.1%} for its exported file on the "
                "same episodes; the file must not be used."
            )
