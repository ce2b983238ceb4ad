"""What a run with `--depth auto` did at each depth, from its log."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from teacher.config import GrowthConfig
from teacher.growth.rule import Decision, Evaluation, decide, on_schedule

EVALUATIONS = 20
"""Evaluations that a run with `--depth auto` has at least, where it has as many rounds."""
Row = dict[str, float]


class Stage(NamedTuple):
    """A depth, what was spent on it, the success at its end, and what the rule then said."""

    depth: int
    updates: int
    seconds: float
    success_coarse: float
    success_fine: float
    why: str

    def __str__(self) -> str:
        return (
            f"depth {self.depth}: coarse {self.success_coarse:.1%}, fine {self.success_fine:.1%} after "
            f"{self.updates} updates and {self.seconds:.0f} s; {self.why}"
        )


def evaluations_in(rows: Sequence[Row], *, up_to: int) -> list[Evaluation]:
    """The evaluations among the logged rows of a run, as far as round `up_to`."""
    return [evaluation_of(row) for row in rows if row["round"] <= up_to and "success_coarse" in row]


def evaluation_of(row: Row) -> Evaluation:
    """The evaluation in a logged row."""
    return Evaluation(int(row["updates"]), int(row["depth"]), row["success_coarse"], int(row["episodes"]))


def decision(evaluations: Sequence[Evaluation], growth: GrowthConfig) -> Decision:
    """What the newest of the evaluations asks for, by schedule or by rule."""
    if growth.grow_at:
        return on_schedule(evaluations, growth.grow_at)
    return decide(evaluations, max_depth=growth.max_depth)


def stages(rows: Sequence[Row], growth: GrowthConfig) -> list[Stage]:
    """The curve of success by depth."""
    found: list[Stage] = []
    updates, seconds = 0.0, 0.0
    for depth, group in groupby(rows, key=lambda row: row["depth"]):
        own = list(group)
        last, evaluated = own[-1], [row for row in own if "success_coarse" in row]
        if evaluated:
            score, why = evaluated[-1], decision(evaluations_in(rows, up_to=int(last["round"])), growth).why
            spent = round(last["updates"] - updates), last["elapsed_s"] - seconds
            found.append(Stage(int(depth), *spent, score["success_coarse"], score["success_fine"], why))
            updates, seconds = last["updates"], last["elapsed_s"]
    return found


def growths(rows: Sequence[Row]) -> list[tuple[float, int]]:
    """Updates after which the depth changed, and what it then was."""
    pairs = pairwise(row for row in rows if "depth" in row)
    return [(one["updates"], int(then["depth"])) for one, then in pairs if one["depth"] != then["depth"]]
