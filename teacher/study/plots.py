"""Pictures of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from sim2real.pages import save_figure
from teacher.study.analysis import critical_depth, growth_exponent
from teacher.study.grid import Kind

_AXIS = {"depth": "actor_depth", "width": "width"}


def draw(kind: Kind, rows: list[dict[str, Any]], path: Path, *, title: str) -> None:
    """The picture of a kind of study, as a PNG."""
    if kind in _AXIS:
        figure = _lines(kind, rows)
    elif kind == "batch":
        figure = _heat(rows, across="batch_size", up="actor_depth")
    else:
        figure = _heat(rows, across="actor_depth", up="critic_depth")
    figure.suptitle(title)
    save_figure(figure, path)


def _lines(kind: Kind, rows: list[dict[str, Any]]) -> Any:
    """Score, parameters and time of an update against depth or width."""
    axis_name = _AXIS[kind]
    rows = sorted(rows, key=lambda row: int(row[axis_name]))
    x = [float(row[axis_name]) for row in rows]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for name, label in (("success_coarse", "coarse"), ("success_fine", "fine")):
        errors = [row[f"{name}_ci95"] or 0.0 for row in rows]
        axes[0].errorbar(x, [row[name] for row in rows], yerr=errors, marker="o", capsize=3, label=label)
    if kind == "depth" and (critical := critical_depth(rows)) is not None:
        axes[0].axvline(critical, color="grey", linestyle="--", label=f"critical depth {critical}")
    axes[0].set(ylabel="success", ylim=(-0.02, 1.02))
    axes[0].legend(fontsize="small")
    for axis, name, label in ((axes[1], "parameters", "parameters"), (axes[2], "update_s", "time of an update, s")):
        y = [row[name] for row in rows]
        axis.plot(x, y, marker="o")
        exponent = growth_exponent(x, y)
        grown = "" if exponent is None else f", grows as {kind}^{exponent:.2f}"
        axis.set(yscale="log")
        axis.set_title(f"{label}{grown}", fontsize="small")
    for axis in axes:
        axis.set(xlabel=kind, xscale="log")
        axis.set_xticks(x, [f"{value:g}" for value in x])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    return figure


def _heat(rows: list[dict[str, Any]], *, across: str, up: str) -> Any:
    """Success over two settings; cells that were not run stay blank."""
    columns, lines = (sorted({int(row[name]) for row in rows}) for name in (across, up))
    figure, axes = plt.subplots(1, 2, figsize=(2.4 + 2.2 * len(columns), 1.8 + 0.9 * len(lines)), layout="constrained")
    for axis, name, label in zip(axes, ("success_coarse", "success_fine"), ("coarse", "fine"), strict=True):
        table = np.full((len(lines), len(columns)), np.nan)
        for row in rows:
            table[lines.index(int(row[up])), columns.index(int(row[across]))] = row[name]
        image = axis.imshow(table, origin="lower", vmin=0, vmax=1, cmap="viridis", aspect="auto")
        for (line, column), value in np.ndenumerate(table):
            if np.isfinite(value):
                colour = "black" if value > 0.6 else "white"
                axis.text(column, line, f"{value:.0%}", ha="center", va="center", color=colour)
        axis.set(title=f"success, {label}", xlabel=across.replace("_", " "), ylabel=up.replace("_", " "))
        axis.set_xticks(range(len(columns)), [str(value) for value in columns])
        axis.set_yticks(range(len(lines)), [str(value) for value in lines])
    figure.colorbar(image, ax=axes)
    return figure
