"""Curves of a run as a PNG."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from sim2real.pages import save_figure
from teacher.growth.stages import growths

_PANELS = (
    ("success", {"success_coarse": "coarse", "success_fine": "fine", "time_at_goal": "time at goal"}),
    (
        "loss",
        {
            "critic_loss": "critic",
            "actor_loss": "actor",
            "loss": "total",
            "behaviour": "behaviour",
            "action": "action",
            "feature": "features",
            "embedding": "embeddings",
            "relational": "energies",
            "contrastive": "contrastive",
        },
    ),
    ("accuracy and entropy", {"categorical_accuracy": "categorical accuracy", "alpha": "alpha"}),
    ("error at the last step", {"position_error_m": "position, m"}),
)


def plot_curves(rows: list[dict[str, float]], path: Path, *, title: str) -> None:
    """Four panels over updates: success, losses, accuracy, error; a dotted line where a teacher grew."""
    figure, axes = plt.subplots(1, 4, figsize=(17, 3.8), layout="constrained")
    for axis, (name, series) in zip(axes, _PANELS, strict=True):
        for key, label in series.items():
            points = [(row["updates"], row[key]) for row in rows if key in row]
            if points:
                axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 40 else None)
        axis.set(xlabel="updates", title=name)
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(frameon=False)
    for updates, depth in growths(rows):
        axes[0].axvline(updates, color="grey", linestyle=":")
        axes[0].text(updates, 1.0, f" {depth}", color="grey", va="top")
    axes[0].set_ylim(0, 1.02)
    axes[3].set_yscale("log")
    figure.suptitle(title)
    save_figure(figure, path, dpi=110)
