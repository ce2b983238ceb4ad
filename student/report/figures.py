"""Figures of the student report, as PNG bytes."""

from __future__ import annotations

import io
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sim2real.contract import Contract
from student.report.measure import Measured, regions

_BINS = 8
_VIEWS = ((0, 1, "x, m", "y, m"), (0, 2, "x, m", "z, m"))


def png(figure: Any) -> bytes:
    """The figure's bytes; closes it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    plt.close(figure)
    return buffer.getvalue()


def plain_log_axis(axis: Any, form: str = "{x:g}") -> None:
    """A logarithmic x axis with ticks 1, 2, 5, 10 ... written out; matplotlib's powers of ten overlap."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(StrMethodFormatter(form))
    axis.xaxis.set_minor_formatter(NullFormatter())


def success_by_region(contract: Contract, measured: Measured) -> bytes:
    """Fine success of teacher and student by where the goal is, seen from above and from the side."""
    low, high = (bound[: max(2, min(3, len(bound)))] for bound in contract.goal.bounds(contract))
    views = [view for view in _VIEWS if max(view[:2]) < len(low)]
    figure, axes = plt.subplots(2, len(views), figsize=(4.3 * len(views), 7.4), layout="constrained", squeeze=False)
    for row, (name, errors) in enumerate((("teacher", measured.teacher), ("student", measured.student))):
        for axis, (first, second, x_label, y_label) in zip(axes[row], views, strict=True):
            share = regions(measured.request, errors.fine, (first, second), low, high, _BINS)
            extent = (low[first], high[first], low[second], high[second])
            image = axis.imshow(
                share.T,
                origin="lower",
                extent=extent,
                vmin=0,
                vmax=1,
                cmap="viridis",
                aspect="auto",
                interpolation="nearest",
            )
            missed = measured.request[~errors.fine]
            axis.plot(missed[:, first], missed[:, second], "x", color="red", ms=5, label="missed")
            axis.set(title=f"{name}: {errors.fine.mean():.1%} fine", xlabel=x_label, ylabel=y_label)
    if any(not errors.fine.all() for errors in (measured.teacher, measured.student)):
        axes[0, 0].plot([], [], "x", color="red", label="missed goal")
        figure.legend(*[[item[-1]] for item in axes[0, 0].get_legend_handles_labels()], loc="outside lower right")
    figure.colorbar(image, ax=axes, label="share of goals reached", shrink=0.6)
    return png(figure)


def action_error_over_time(contract: Contract, measured: Measured) -> bytes:
    """How far the student's actions are from the teacher's, and how far both are from the goal, over an episode."""
    seconds = np.arange(len(measured.action_error)) * contract.timing.control_dt_s
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.2), layout="constrained")
    axes[0].plot(seconds, measured.action_error)
    axes[0].set(xlabel="time in the episode, s", ylabel="mean difference of actions in [-1, 1]", ylim=(0, None))
    for name, errors in (("teacher", measured.teacher), ("student", measured.student)):
        axes[1].plot(seconds, 1e3 * np.median(errors.position_m, axis=1), label=name)
    axes[1].set(xlabel="time in the episode, s", ylabel="median distance to the goal, mm", yscale="log")
    axes[1].legend(frameon=False)
    for axis in axes:
        axis.grid(alpha=0.3)
    return png(figure)


def similarity(measured: Measured) -> bytes:
    """CKA between the student's layers and the teacher's blocks."""
    values = measured.similarity
    figure, axis = plt.subplots(figsize=(8.6, 0.55 * len(values) + 1.6), layout="constrained")
    image = axis.imshow(values, vmin=0, vmax=1, cmap="magma", aspect="auto")
    axis.set_xticks(range(len(measured.blocks)), [str(block) for block in measured.blocks])
    axis.set_yticks(range(len(values)), [str(layer + 1) for layer in range(len(values))])
    axis.set(xlabel="block of the teacher's actor", ylabel="student layer")
    for (row, column), value in np.ndenumerate(values):
        axis.text(
            column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if value < 0.6 else "black"
        )
    figure.colorbar(image, label="linear CKA")
    return png(figure)


def reliability_diagram(rows: list[dict[str, float]]) -> bytes:
    """Predicted against observed share of goals reached; the size of a dot is the share of states."""
    figure, axis = plt.subplots(figsize=(4.2, 4.0), layout="constrained")
    axis.plot([0, 1], [0, 1], "--", color="grey", lw=1)
    x, y, share = (np.array([row[name] for row in rows]) for name in ("predicted", "observed", "share"))
    axis.scatter(x, y, s=20 + 400 * share)
    axis.set(xlabel="predicted P(goal reached)", ylabel="observed share", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axis.grid(alpha=0.3)
    return png(figure)
