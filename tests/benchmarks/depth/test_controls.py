"""The controls of the depth study: what a budget buys, and where a run is read."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from benchmarks.depth.controls import CELLS, Arguments, Cell, budget_of, evaluations_of, parameters, score
from benchmarks.depth.controls_report import draw
from sim2real.errors import ShoalError
from teacher.run.folder import RunFolder

ARGUMENTS = Arguments(updates=6000, most_updates=18_000, updates_per_rollout=300)
TIMES_MS = {"16 x 64": 20.0, "4 x 64": 8.0, "1 x 64": 2.0, "4 x 256": 40.0}


@pytest.mark.parametrize(
    ("cell", "updates"),
    [
        (Cell(16, 64), 6000),
        (Cell(4, 64), 15_000),
        (Cell(1, 64), 18_000),  # the time is enough for 60,000
        (Cell(4, 256), 6000),  # it would make 3,000 in that time, and is read there
    ],
)
def test_a_cell_runs_for_as_long_as_either_budget_lasts(cell: Cell, updates: int) -> None:
    assert budget_of(cell, Cell(16, 64), TIMES_MS, ARGUMENTS) == updates


@pytest.mark.parametrize("text", ["16", "x64", "16x", "deep", "0x64", "4x-1"])
def test_a_network_that_is_none_is_refused(text: str) -> None:
    assert Cell.of("16x64") == (16, 64)
    with pytest.raises(ShoalError, match=f"--cells: '{text}' is no network; write depth and width"):
        Cell.of(text)


def test_a_score_is_read_at_its_budget_and_not_behind_it() -> None:
    run = [{"updates": 100.0 * i, "time_at_goal": i / 10} for i in range(1, 11)]
    assert score(run, "time_at_goal", 500) == pytest.approx(0.4)
    assert score(run, "time_at_goal", 1e9) == pytest.approx(0.9)
    assert math.isnan(score(run, "time_at_goal", 99))


def test_the_wide_control_has_the_deep_ones_parameters() -> None:
    deep, wide = (parameters(Cell(*size), "swimmer") for size in ((16, 64), (4, 128)))
    assert CELLS[0] == (16, 64)
    assert abs(deep - wide) < 0.15 * deep


def test_seconds_of_an_evaluation_are_those_of_all_rounds_until_then(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    rounds = [{"updates": 10.0 * i, "environment_steps": 1, "collect_s": 2.0, "update_s": 1.0} for i in (1, 2, 3, 4)]
    for row in rounds[1::2]:
        row |= {"success_coarse": 0.5, "success_fine": 0.25, "time_at_goal": 0.1}
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rounds))
    assert [(row["updates"], row["seconds"]) for row in evaluations_of(folder)] == [(20, 6), (40, 12)]


def test_the_picture_has_a_row_of_panels_for_each_recipe(tmp_path: Path) -> None:
    run = [{"updates": 10.0 * i, "seconds": float(i), "success_coarse": i / 10} for i in range(5)]
    rows = [{"random_goal_share": share, "name": "4 x 16", "runs": [run, run]} for share in (0.0, 1.0)]
    students = [{"layers": 1, "success_coarse": 0.7}, {"layers": 2, "success_coarse": 0.8}]
    sizes = []
    for count in (1, 2):
        draw({"rows": rows[:count], "students": students}, tmp_path / "curves.png")
        sizes.append(plt.imread(tmp_path / "curves.png").shape)
    assert sizes[1][0] == pytest.approx(2 * sizes[0][0], abs=2)
    assert sizes[0][1] == sizes[1][1]
