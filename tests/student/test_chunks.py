"""A teacher that decides on chunks of actions, and a student of the best of its candidates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.graph import convert
from student import pipeline
from student.run import load_student
from teacher.run.folder import RunFolder
from teacher.train import Trainer
from teacher.trained import load_teacher
from tests.student.tiny import tiny_distill_config
from tests.teacher.tiny import LEARNER, tiny_config

PLANAR = Path(__file__).parents[2] / "benchmarks" / "tasks" / "planar_reach.yaml"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_chunk_teacher_is_evaluated_distilled_and_exported_by_its_first_action(tmp_path: Path) -> None:
    from sim2real.progress import Progress

    learner = LEARNER.model_copy(update={"objective": "chrono", "action_chunk": 2, "update_order": "critic_first"})
    config = tiny_config(task=str(PLANAR), learner=learner, updates=10, eval_best_of=3, replay_steps=160)
    Trainer(config, RunFolder(tmp_path / "teacher")).train()
    teacher = load_teacher(tmp_path / "teacher")
    mean, _, _ = teacher.networks.act(teacher.actor, np.zeros((3, teacher.contract.observation.size)), np.zeros((3, 3)))
    assert mean.shape == (3, 4)
    folder = RunFolder(tmp_path / "student")
    distilling = tiny_distill_config(labels="best-of-4", updates_per_round=20)
    pipeline.begin(tmp_path / "teacher", folder, distilling, Progress("student", quiet=True))
    summary = folder.read_summary()
    assert {"teacher", "labels", "student"} <= summary.keys()
    model = convert(load_student(folder.path))
    sizes = {node.name: node.type.tensor_type.shape.dim[1].dim_value for node in model.graph.output}
    assert sizes["joint_position_command"] == 2
