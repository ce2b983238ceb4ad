"""What `benchmarks.depth.controls` shows: a table, and success against updates and against seconds as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from sim2real.pages import save_figure

_AXES = (("updates", "updates"), ("seconds", "seconds of collecting and updating"))


def table_of(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Scores at equal updates and at equal seconds, with the spread between seeds."""
    names = ("random goals", "network", "parameters", "ms an update")
    table = Table(*names, "equal updates", "at goal", "equal time", "at goal", title=title)
    for row in rows:
        columns = [f"{row['random_goal_share']:.0%}", row["name"], f"{row['parameters']:,}", f"{row['update_ms']:.1f}"]
        for budget in ("equal_updates", "equal_time"):
            for key in ("success_coarse", "time_at_goal"):
                values = row[budget][key]
                columns.append(f"{np.mean(values):.0%} ({', '.join(f'{value:.0%}' for value in values)})")
        table.add_row(*columns)
    return table


def draw(found: Mapping[str, Any], path: Path) -> None:
    """One row of panels for each recipe, one line for each run, and the students as dashed lines."""
    import matplotlib.pyplot as plt

    rows = found["rows"]
    shares = list(dict.fromkeys(row["random_goal_share"] for row in rows))
    figure, axes = plt.subplots(
        len(shares), 2, figsize=(9, 3.1 * len(shares)), sharey=True, squeeze=False, layout="constrained"
    )
    names = list(dict.fromkeys(row["name"] for row in rows))
    colours = dict(zip(names, plt.get_cmap("viridis")(np.linspace(0.05, 0.95, len(names))), strict=True))
    for line, share in zip(axes, shares, strict=True):
        for axis, (key, label) in zip(line, _AXES, strict=True):
            for row in (row for row in rows if row["random_goal_share"] == share):
                for index, run in enumerate(row["runs"]):
                    curve = [(one[key], one["success_coarse"]) for one in run]
                    name = row["name"] if index == 0 else None
                    axis.plot(*np.array(curve).T, color=colours[row["name"]], label=name, alpha=0.85)
            for layers in sorted({one["layers"] for one in found["students"]}):
                kept = [one["success_coarse"] for one in found["students"] if one["layers"] == layers]
                style = "--" if layers > 1 else ":"
                axis.axhline(float(np.mean(kept)), color="crimson", linestyle=style, label=f"student of {layers}")
            axis.set(xlabel=label, ylim=(0, 1.02), title=f"{share:.0%} of the actor's goals drawn at random")
            axis.grid(alpha=0.3)
        line[0].set_ylabel("success, coarse")
    axes[0, -1].legend(fontsize="small")
    save_figure(figure, path)
