from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.distillation import headline
from benchmarks.distillation.cases import CASES, SETTINGS, STUDENTS
from benchmarks.distillation.control_experiment import Arguments, _ratios, paired, run_all
from benchmarks.distillation.plot import SCORES, draw, interval, summarise
from benchmarks.distillation.run import Experiment
from sim2real.errors import ShoalError


def row(case: str, seed: int, fine: float, **changes: Any) -> dict[str, Any]:
    known = {"task": "planar_reach", "case": case, "seed": seed, "success_fine": fine, "success_coarse": 1.0}
    sizes = {"time_at_goal": 0.5, "seconds": 10.0, "depth": 4, "parameters": 1000, "all_parameters": 3000}
    return known | sizes | changes


ROWS = [row("c", 0, 0.8), row("c", 1, 0.9), row("g", 0, 0.6), row("g", 1, 0.9), row("a", 0, 0.3)]


def test_interval_is_students() -> None:
    values = np.array([0.8, 0.9, 0.7])
    assert interval(values) == pytest.approx(4.3027 * 0.1 / np.sqrt(3), rel=1e-4)
    assert interval(values[:1]) is None


def test_means_and_intervals_are_over_the_seeds_of_one_case() -> None:
    lines = {line["case"]: line for line in summarise(ROWS)}
    assert lines["g"]["success_fine"] == pytest.approx(0.75)
    assert lines["g"]["seeds"] == 2
    assert lines["g"]["success_fine_ci95"] == pytest.approx(12.706 * 0.15, rel=1e-3)
    assert lines["a"]["success_fine_ci95"] is None
    assert lines["c"].keys() >= {*SCORES, "seconds", "parameters"}


def test_students_are_compared_with_the_teacher_of_their_own_seed() -> None:
    np.testing.assert_allclose(paired(ROWS, "success_fine", "g", "c", "planar_reach"), [0.75, 1.0])
    lines = _ratios(ROWS, Arguments(cases=("c", "g")))
    assert [(line["case"], line["other"], line["score"]) for line in lines] == [
        ("g", "c", "success_coarse"),
        ("g", "c", "success_fine"),
    ]
    assert lines[1]["ratio"] == pytest.approx(0.875)


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_cases_differ_in_what_they_are_named_for_alone(setting: Any) -> None:
    shallow, wide, deep = (setting.teacher_config(case, 3, 100) for case in "awc")
    assert shallow.network.actor_depth == wide.network.actor_depth < deep.network.actor_depth
    assert shallow.network.width == deep.network.width < wide.network.width
    assert shallow.model_copy(update={"network": None}) == deep.model_copy(update={"network": None})
    students = {case: setting.distill_config(case, 3) for case in STUDENTS}
    assert {case: config.states for case, config in students.items()} == {
        case: "teacher" if case in "de" else "student" for case in STUDENTS
    }
    for left, right, name in (("d", "e", "feature"), ("d", "e", "embedding"), ("f", "g", "relational")):
        weights = [getattr(students[case], f"{name}_weight") for case in (left, right)]
        assert weights[0] == 0 < weights[1]
    assert {case: config.seed for case, config in students.items()} == dict.fromkeys(STUDENTS, 3)


def test_finished_cells_are_read(tmp_path: Path) -> None:
    setting = SETTINGS["planar_reach"]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text(json.dumps(ROWS[4]))
    experiment = Experiment(setting, 0, tmp_path, updates=1500, rounds=1, episodes=8)
    assert experiment.result("a") == ROWS[4]


def test_shallow_policy_trains_for_as_long_as_the_teacher_took(tmp_path: Path) -> None:
    for case, seconds in (("a", 10.0), ("c", 25.4)):
        (tmp_path / case).mkdir()
        (tmp_path / case / "result.json").write_text(json.dumps(row(case, 0, 0.5, seconds=seconds)))
    experiment = Experiment(SETTINGS["planar_reach"], 0, tmp_path, updates=1000, rounds=1, episodes=8)
    assert experiment._long_updates() == 2500


def test_unknown_cases_are_named() -> None:
    with pytest.raises(ShoalError, match="no task or case named 'h'"):
        run_all(Arguments(cases=("a", "h")))


def test_pictures_are_drawn_from_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(case, seed, 0.5 + 0.1 * seed) for case in CASES for seed in range(3)]
    lines = summarise(rows)
    draw(rows, lines, tmp_path / "control.png")
    monkeypatch.setattr(headline, "SETTINGS", {"planar_reach": SETTINGS["planar_reach"]})
    with pytest.raises(ShoalError, match=r"missing; python -m benchmarks.distillation.control_experiment"):
        headline.points(tmp_path)
    (tmp_path / "control_planar_reach.json").write_text(json.dumps({"summary": lines}))
    with pytest.raises(
        ShoalError, match=r"missing; python -m benchmarks.latency.policy_latency .*--students 2x32 --json"
    ):
        headline.points(tmp_path)
    (tmp_path / "policy_latency_planar_reach.json").write_text(json.dumps({"rows": []}))
    with pytest.raises(ShoalError, match=r"has no teacher 4x16; .* --teachers 4x16 4x64 64x16 --students 2x32"):
        headline.points(tmp_path)
    names = ("student 2x32", "teacher 4x16", "teacher 4x64", "teacher 64x16")
    timed = [{"policy": name, "paced_p50_us": 10.0 + index} for index, name in enumerate(names)]
    (tmp_path / "policy_latency_planar_reach.json").write_text(json.dumps({"rows": timed}))
    points = {point["case"]: point for point in headline.points(tmp_path)}
    assert {case: point["tick_us"] for case, point in points.items()} == {
        "a": 11.0,
        "b": 11.0,
        "w": 12.0,
        "c": 13.0,
        "g": 10.0,
    }
    headline.draw(list(points.values()), tmp_path / "headline.png")
    for name in ("control.png", "headline.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
