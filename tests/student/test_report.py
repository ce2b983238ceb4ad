from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim2real.errors import ShoalError
from sim2real.evaluation.success import EpisodeErrors
from sim2real.progress import Progress
from student import pipeline
from student.report.comparison import verdict
from student.report.measure import Measured, linear_cka, measure, regions
from student.report.page import render
from student.run import Source, load_student
from teacher.growth.stages import Stage
from teacher.run.folder import RunFolder
from teacher.trained import load_teacher
from tests.student.tiny import tiny_distill_config


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


@pytest.mark.parametrize(
    ("student", "direct", "words"),
    [
        ([1] * 9 + [0], [0] * 9 + [1], "the deep teacher bought 80.0 percentage points (p = 0.021)"),
        ([0] * 10, [1] * 9 + [0], "the deep teacher cost 90.0 percentage points (p = 0.0039)"),
        ([1, 1, 0, 1], [1, 0, 1, 0], "+25.0 percentage points, which chance explains (p = 1)"),
        ([1, 1], [1, 1], "+0.0 percentage points, which chance explains (p = 1)"),
    ],
)
def test_a_difference_is_told_from_chance(student: list[int], direct: list[int], words: str) -> None:
    assert verdict(np.array(student, bool), np.array(direct, bool)) == words


def test_a_run_is_compared_with_one_that_was_trained_directly(
    teacher_run: Path, student_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Given once, with a student that is finished already, it is remembered; both are judged on the same goals."""
    run = RunFolder(shutil.copytree(student_run, tmp_path / "run"))
    Source(teacher=teacher_run, digest=load_teacher(teacher_run).digest).write(run)
    quiet, config = Progress("student", quiet=True), load_student(run.path).config
    pipeline.go_on(run, config, quiet, compare_with=teacher_run)
    said = capsys.readouterr().out
    assert "By way of a teacher of depth 4, the student of" in said
    assert "a policy of depth 4 with" in said
    pipeline.go_on(run, config, quiet)
    assert "By way of a teacher of depth 4, the student of" in (run.path / "report.html").read_text()
    teacher = load_teacher(teacher_run)
    student = load_student(run.path)
    measured = measure(teacher, student.policy, student.params.policy, episodes=8, direct=teacher)
    assert measured.direct is not None
    np.testing.assert_array_equal(measured.direct.position_m, measured.teacher.position_m)


def test_what_cannot_be_compared_is_refused_before_anything_is_distilled(teacher_run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(teacher_run, tmp_path / "other")
    contract = json.loads((other / "contract.json").read_text())
    contract["goal"]["hold_s"] *= 2
    (other / "contract.json").write_text(json.dumps(contract))
    (tmp_path / "empty").mkdir()
    run, quiet = RunFolder(tmp_path / "run"), Progress("student", quiet=True)
    for folder, words in ((other, "hold_s"), (tmp_path / "empty", "summary.json: cannot be read")):
        with pytest.raises(ShoalError, match=words):
            pipeline.begin(teacher_run, run, tiny_distill_config(), quiet, compare_with=folder)
        assert not run.path.exists()


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
