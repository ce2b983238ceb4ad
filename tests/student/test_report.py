from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sim2real.evaluation.success import EpisodeErrors
from student.report.measure import Measured, linear_cka, measure, regions
from student.report.page import render
from student.run import load_student
from teacher.growth.stages import Stage
from teacher.trained import load_teacher


def test_cka_is_blind_to_rotation_and_scale_and_low_for_noise() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1.0)
    assert linear_cka(x, rng.normal(size=(500, 4))) < 0.05
    assert linear_cka(x, np.zeros((500, 4))) == 0.0


def test_regions_count_goals_where_they_are() -> None:
    goal = np.array([[0.1, 0.1, 0.5], [0.2, 0.1, 0.5], [0.9, 0.9, 0.5]])
    share = regions(goal, np.array([True, False, True]), (0, 1), np.zeros(3), np.ones(3), 2)
    assert share[0, 0] == 0.5
    assert share[1, 1] == 1.0
    assert np.isnan(share[0, 1])


def test_report_of_a_run_measures_both_on_the_same_goals(teacher_run: Path, student_run: Path) -> None:
    teacher, student = load_teacher(teacher_run), load_student(student_run)
    measured = measure(teacher, student.policy, student.params.policy, episodes=8)
    assert measured.request.shape[0] == 8
    assert measured.teacher.fine.shape == measured.student.fine.shape == (8,)
    # Both begin in the same postures, so at the same distance from the same goals.
    np.testing.assert_allclose(measured.teacher.position_m[0], measured.student.position_m[0], rtol=1e-6)
    assert measured.action_error.shape == (teacher.contract.timing.episode_steps,)
    assert 0 < measured.action_error.mean() < 2
    assert measured.similarity.shape == (2, len(measured.blocks))
    assert ((measured.similarity >= 0) & (measured.similarity <= 1)).all()
    page = render(teacher.contract, measured, json.loads((student_run / "summary.json").read_text()))
    assert page.count("data:image/png") == 4
    stages = [Stage(4, 900, 61.0, 0.5, 0.25, "success < promised"), Stage(8, 300, 40.0, 0.75, 0.5, "")]
    with_stages = render(teacher.contract, measured, json.loads((student_run / "summary.json").read_text()), stages)
    row = "<td>4</td><td>50.0%</td><td>25.0%</td><td>900</td><td>61</td><td>success &lt; promised</td>"
    assert row in with_stages
    assert "<script" not in page


def test_worst_goals_lead_the_list(teacher_run: Path, student_run: Path) -> None:
    contract = load_teacher(teacher_run).contract
    position = np.full((2, 12), 0.001)
    position[-1, 7] = 0.4
    good = EpisodeErrors(position, np.zeros((2, 12)), np.ones((2, 12), bool), np.ones(12, bool), position[-1] < 0.1)
    goals = np.zeros((12, 3))
    goals[7] = 0.61, 0.02, 0.33
    measured = Measured(goals, good, good, np.zeros(2), np.ones((1, 1)), [1])
    page = render(contract, measured, json.loads((student_run / "summary.json").read_text()))
    assert "by depth" not in page
    first = page[page.index("Worst goals") :]
    assert first.index("0.61, 0.02, 0.33") < first.index("0.00, 0.00, 0.00")
