"""Means, intervals and the picture of the control experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.distillation.cases import CASES
from sim2real.pages import save_figure

SCORES = ("success_coarse", "success_fine", "time_at_goal")
Row = dict[str, Any]


def summarise(rows: list[Row]) -> list[Row]:
    """One row for each task and case: mean over seeds and half width of Student's 95 % interval (None for one seed)."""
    out = []
    for task, case in dict.fromkeys((row["task"], row["case"]) for row in rows):
        runs = [row for row in rows if (row["task"], row["case"]) == (task, case)]
        line: Row = {"task": task, "case": case, "seeds": len(runs), "depth": runs[0]["depth"]}
        line |= {name: runs[0][name] for name in ("parameters", "all_parameters")}
        for name in (*SCORES, "seconds"):
            values = np.array([run[name] for run in runs])
            line[name] = float(values.mean())
            line[f"{name}_ci95"] = interval(values)
        out.append(line)
    return out


def interval(values: np.ndarray) -> float | None:
    """Half width of the 95 % interval of a mean over seeds."""
    if len(values) < 2:
        return None
    return float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def draw(rows: list[Row], lines: list[Row], path: Path) -> None:
    """One panel for each task: fine and coarse success of each case, mean, interval, and every seed as a stroke."""
    import matplotlib.pyplot as plt

    tasks = list(dict.fromkeys(line["task"] for line in lines))
    figure, axes = plt.subplots(1, len(tasks), figsize=(6.6 * len(tasks), 4.2), squeeze=False, layout="constrained")
    for axis, task in zip(axes[0], tasks, strict=True):
        shown = [line for line in lines if line["task"] == task]
        for offset, name, colour in ((-0.17, "success_coarse", "#6baed6"), (0.17, "success_fine", "#08519c")):
            place = np.arange(len(shown)) + offset
            means, halves = [line[name] for line in shown], [line[f"{name}_ci95"] or 0.0 for line in shown]
            axis.errorbar(
                means,
                place,
                xerr=halves,
                fmt="o",
                color=colour,
                ms=7,
                lw=1.5,
                capsize=3,
                label=f"{name.removeprefix('success_')}: mean, 95 % interval",
            )
            for y, line in zip(place, shown, strict=True):
                seeds = [row[name] for row in rows if (row["task"], row["case"]) == (task, line["case"])]
                axis.plot(seeds, [y] * len(seeds), "|", color="black", ms=6)
        labels = [f"{line['case']}  {CASES.get(line['case'], '')}" for line in shown]
        axis.set_yticks(range(len(shown)), labels)
        axis.invert_yaxis()
        lowest = min(line["success_fine"] - (line["success_fine_ci95"] or 0.0) for line in shown)
        axis.set(xlabel="success on held-out goals", title=task, xlim=(max(0.0, np.floor(10 * lowest) / 10), 1.02))
        axis.grid(axis="x", alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    save_figure(figure, path)
