"""The controls of the depth study: what a budget buys, and where a run is read."""

from __future__ import annotations

import math

import pytest

from benchmarks.depth.controls import CELLS, Arguments, Cell, budget_of, parameters, score

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


def test_a_score_is_read_at_its_budget_and_not_behind_it() -> None:
    run = [{"updates": 100.0 * i, "time_at_goal": i / 10} for i in range(1, 11)]
    assert score(run, "time_at_goal", 500) == pytest.approx(0.4)
    assert score(run, "time_at_goal", 1e9) == pytest.approx(0.9)
    assert math.isnan(score(run, "time_at_goal", 99))


def test_the_wide_control_has_the_deep_ones_parameters() -> None:
    deep, wide = (parameters(Cell(*size), "swimmer") for size in ((16, 64), (4, 128)))
    assert CELLS[0] == (16, 64)
    assert abs(deep - wide) < 0.15 * deep
