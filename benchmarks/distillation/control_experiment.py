"""Does distillation earn the deep teacher? Shallow policies trained directly, a deep teacher, and its students.

    python -m benchmarks.distillation.control_experiment [--tasks planar_reach ...] [--seeds 3] [--quick] [--json PATH]

    a  shallow, trained directly            d  student: actions on teacher states   g  f + all representation terms
    b  shallow, as long as the teacher      e  d + representation matching
    w  shallow and wide, as many parameters f  student: actions on its own states
    c  deep teacher

Every case of a seed meets the same environment steps (`b` has more) and the same 512 held-out goals. Prints means and
95 % intervals over seeds, students against their teacher seed by seed, and draws both. Finished cells are kept in
`--folder`, interrupted ones resume. With a GPU: `--deep-depth 1024 --seeds 8`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.distillation.cases import CASES, SETTINGS, STUDENTS
from benchmarks.distillation.plot import SCORES, draw, interval, summarise
from benchmarks.distillation.run import EPISODES, Experiment
from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError


@dataclass(frozen=True)
class Arguments:
    """Run the control experiment."""

    tasks: tuple[str, ...] = ("planar_reach", "franka_pose")
    seeds: int = 3
    cases: tuple[str, ...] = tuple(CASES)
    """Of a to g, and single terms: f+feature, f+embedding, f+relational, f+contrastive, 'f+hard goals'."""
    deep_depth: int | None = None
    """Another depth of the teacher than the task's."""
    folder: Path = Path("runs/control")
    quick: bool = False
    """The planar arm, one seed, a tenth of the training: shows that it works, not what is better."""
    json: JsonFile | None = None
    """Write every run and the means here too."""
    plot: Path | None = None
    """Draw them here, as a PNG."""


def run_all(arguments: Arguments) -> list[dict[str, Any]]:
    """Run every cell, task by task and seed by seed, so that an interrupted call leaves whole seeds."""
    unknown = [*set(arguments.tasks) - SETTINGS.keys(), *set(arguments.cases) - CASES.keys() - STUDENTS.keys()]
    if unknown:
        raise ShoalError(f"control_experiment: no task or case named {unknown[0]!r}.")
    rows = []
    for task in ("planar_reach",) if arguments.quick else arguments.tasks:
        setting = SETTINGS[task]
        if arguments.deep_depth:
            setting = dataclasses.replace(setting, deep_depth=arguments.deep_depth)
        if arguments.quick:
            setting = dataclasses.replace(setting, deep_depth=16)
        updates = 200 if arguments.quick else setting.teacher["updates"]
        for seed in range(1 if arguments.quick else arguments.seeds):
            folder = arguments.folder / f"{task}_{setting.deep_depth}_{updates}" / str(seed)
            experiment = Experiment(
                setting,
                seed,
                folder,
                updates=updates,
                rounds=2 if arguments.quick else setting.distill["rounds"],
                episodes=64 if arguments.quick else EPISODES,
            )
            rows += [{"task": task} | experiment.result(case) for case in arguments.cases]
    return rows


def paired(rows: list[dict[str, Any]], name: str, case: str, other: str, task: str) -> np.ndarray:
    """`case` over `other` in the score `name`, seed by seed."""
    values = {
        which: {row["seed"]: row[name] for row in rows if (row["task"], row["case"]) == (task, which)}
        for which in (case, other)
    }
    return np.array([values[case][seed] / max(value, 1e-9) for seed, value in values[other].items()])


def main() -> None:
    """Print the tables, write JSON and picture."""
    arguments = tyro.cli(Arguments, description=__doc__)
    rows = run_all(arguments)
    lines = summarise(rows)
    table = Table("task", "case", "", *SCORES, "actor parameters", "seconds", title="mean ± 95 % interval over seeds")
    for line in lines:
        shown = [_with_interval(line[name], line[f"{name}_ci95"]) for name in SCORES]
        described = CASES.get(line["case"], "")
        table.add_row(
            line["task"], line["case"], described, *shown, f"{line['parameters']:,}", f"{line['seconds']:.0f}"
        )
    Console(width=170).print(table)
    ratios = _ratios(rows, arguments)
    for line in ratios:
        print(
            f"{line['task']}: {line['case']} / {line['other']} in {line['score']}: "
            f"{_with_interval(line['ratio'], line['ratio_ci95'])}"
        )
    write_numbers(arguments.json, {"rows": rows, "summary": lines, "ratios": ratios})
    if arguments.plot:
        draw(rows, lines, arguments.plot)


_PAIRS = (("e", "d"), ("g", "f"), ("f", "d"), ("f", "a"), ("g", "a"), ("g", "b"), ("g", "w"))
"""Matching against none, own states against the teacher's, students against policies trained directly."""


def _ratios(rows: list[dict[str, Any]], arguments: Arguments) -> list[dict[str, Any]]:
    """Students against their teacher and against the shallow policy, seed by seed."""
    out = []
    for task in dict.fromkeys(row["task"] for row in rows):
        for case, other in (*((case, "c") for case in "defg"), *_PAIRS):
            if {case, other} <= set(arguments.cases):
                for name in ("success_coarse", "success_fine"):
                    values = paired(rows, name, case, other, task)
                    line = {"task": task, "case": case, "other": other, "score": name, "ratio": float(values.mean())}
                    out.append(line | {"ratio_ci95": interval(values)})
    return out


def _with_interval(mean: float, half: float | None) -> str:
    return f"{mean:.3f}" if half is None else f"{mean:.3f} ± {half:.3f}"


if __name__ == "__main__":
    with command_line():
        main()
