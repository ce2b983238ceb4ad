"""The plots of a gap report, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sim2real.gap.closed_loop import goal_course
from sim2real.gap.open_loop import OpenLoopGap
from sim2real.logs.log import Log
from sim2real.pages import pyplot, svg

_MEASURED, _SIMULATED, _ERROR, _GOAL = "#1f4e79", "#d9822b", "#a61e4d", "#2b8a3e"
_COLUMNS = 2


def joint_errors(gap: OpenLoopGap) -> str:
    """Measured and simulated positions, and their difference, joint by joint."""
    time_s, names = gap.log.time_s - gap.log.time_s[0], gap.log.contract.joint_names
    figure, axes = _grid(len(names), 2.0)
    for index, axis in enumerate(axes):
        axis.plot(time_s, gap.log.joint_position[:, index], color=_MEASURED, lw=1.2, label="measured")
        axis.plot(time_s, gap.joint_position[:, index], color=_SIMULATED, lw=1.0, ls="--", label="simulated")
        beside = axis.twinx()
        error = 1e3 * (gap.log.joint_position[:, index] - gap.joint_position[:, index])
        beside.plot(time_s, error, color=_ERROR, lw=0.7, alpha=0.7)
        beside.tick_params(axis="y", colors=_ERROR, labelsize=7)
        beside.set_ylabel("error, mrad", color=_ERROR, fontsize=7)
        axis.set_title(names[index], fontsize=9)
        axis.set_ylabel("rad", fontsize=8)
    axes[0].legend(fontsize=7, loc="upper right")
    return _svg(figure, "time, s", axes)


def horizons(gap: OpenLoopGap) -> str:
    """RMS error against how far ahead the model was run from a measured state."""
    figure, axes = _grid(1, 3.0, columns=1)
    steps = list(gap.horizon_rms)
    period = gap.log.contract.timing.control_dt_s
    rows = np.array([gap.horizon_rms[step] for step in steps])
    for index, name in enumerate(gap.log.contract.joint_names):
        axes[0].loglog(np.array(steps) * period, 1e3 * np.maximum(rows[:, index], 1e-12), marker="o", ms=3, label=name)
    axes[0].set_ylabel("RMS error, mrad")
    axes[0].legend(fontsize=7, ncols=2)
    return _svg(figure, "time ahead, s", axes)


def spectra(gap: OpenLoopGap) -> str:
    """Power of joint speeds, measured, simulated, and of the difference."""
    names = gap.log.contract.joint_names
    figure, axes = _grid(len(names), 1.8)
    for index, axis in enumerate(axes):
        for spectrum, color, label in (
            (gap.measured_spectrum, _MEASURED, "measured"),
            (gap.simulated_spectrum, _SIMULATED, "simulated"),
            (gap.error_spectrum, _ERROR, "difference"),
        ):
            axis.semilogy(gap.frequency_hz, np.maximum(spectrum[:, index], 1e-14), color=color, lw=1, label=label)
        axis.set_title(names[index], fontsize=9)
        axis.set_ylabel("(rad/s)²/Hz", fontsize=7)
    axes[0].legend(fontsize=7, loc="upper right")
    return _svg(figure, "frequency, Hz", axes)


def distances(measured: Log, simulated: Log) -> str:
    """Distance to the goal on either side, closed loop."""
    figure, axes = _grid(1, 2.6, columns=1)
    for log, color, label in ((measured, _MEASURED, measured.source), (simulated, _SIMULATED, simulated.source)):
        axes[0].plot(log.time_s - measured.time_s[0], 100 * goal_distance(log), color=color, lw=1.1, label=label)
    tolerance = 100 * measured.goals[0].position_tolerance_m
    axes[0].axhline(tolerance, color=_GOAL, lw=0.8, ls=":", label="tolerance")
    axes[0].set_ylabel("distance to goal, cm")
    axes[0].legend(fontsize=8, loc="upper right")
    return _svg(figure, "time, s", axes)


def goal_distance(log: Log) -> np.ndarray:
    """Distance of the tool to the goal in force, `[T]` m; NaN before the first."""
    distance = np.full(len(log), np.nan)
    for goal in log.goals:
        after = log.time_s >= goal.time_s - 1e-9
        distance[after] = goal_course(log, goal, after)[0]
    return distance


def _grid(count: int, height: float, *, columns: int = _COLUMNS) -> tuple[Any, Sequence[Any]]:
    rows = -(-count // columns)
    figure, axes = pyplot().subplots(rows, columns, figsize=(10, height * rows), squeeze=False, layout="constrained")
    flat = list(axes.ravel())
    for spare in flat[count:]:
        spare.set_visible(False)
    return figure, flat[:count]


def _svg(figure: Any, x_label: str, axes: Sequence[Any]) -> str:
    for axis in axes:
        axis.grid(alpha=0.25, lw=0.5)
        axis.tick_params(labelsize=7)
        axis.spines[["top"]].set_visible(False)
    for axis in axes[-_COLUMNS:]:
        axis.set_xlabel(x_label, fontsize=8)
    return svg(figure)
