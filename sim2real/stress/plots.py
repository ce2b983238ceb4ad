"""The plots of a stress report, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from sim2real.pages import pyplot, svg
from sim2real.randomisation.config import TERMS, Randomisation
from sim2real.stress.search import Boundary, HeatMap

_SUCCESS, _BOUNDARY, _TRAINED = "#1f4e79", "#a61e4d", "#2b8a3e"
_COLUMNS = 3


def sweeps(boundaries: Sequence[Boundary], trained: Randomisation) -> str:
    """Success against the value of every quantity, the boundary, and what training saw."""
    rows = -(-len(boundaries) // _COLUMNS)
    figure, axes = pyplot().subplots(rows, _COLUMNS, figsize=(11, 2.1 * rows), squeeze=False, layout="constrained")
    for axis, boundary in zip(axes.ravel(), boundaries, strict=False):
        _sweep(axis, boundary, trained)
    for spare in axes.ravel()[len(boundaries) :]:
        spare.set_visible(False)
    return svg(figure)


def _sweep(axis: Any, boundary: Boundary, trained: Randomisation) -> None:
    ticker = import_module("matplotlib.ticker")
    values = [value for value, _ in boundary.points]
    success = np.array([point.success for _, point in boundary.points])
    ends = np.array([[point.low, point.high] for _, point in boundary.points]).T
    if boundary.sweep.value(0.0) > 0 and min(values) > 0:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_locator(ticker.NullLocator())
    low, high = trained_range(boundary, trained)
    if low < high:
        axis.axvspan(max(low, min(values)), min(high, max(values)), color=_TRAINED, alpha=0.15, lw=0)
    bars = np.maximum(np.stack([success - ends[0], ends[1] - success]), 0)
    axis.errorbar(values, success, yerr=bars, color=_SUCCESS, marker="o", ms=3, lw=1, capsize=2)
    axis.axhline(boundary.level, color="#5b6b7b", lw=0.7, ls=":")
    if boundary.value is not None:
        axis.axvline(boundary.value, color=_BOUNDARY, lw=1.2)
    axis.set_title(boundary.sweep.name, fontsize=8.5)
    axis.set_ylim(-0.05, 1.05)
    axis.grid(alpha=0.25, lw=0.5)
    axis.tick_params(labelsize=7)


def trained_range(boundary: Boundary, trained: Randomisation) -> tuple[float, float]:
    """What training saw of this quantity in the direction of the sweep, nearest and farthest; equal if nothing."""
    sweep, neutral = boundary.sweep, TERMS[boundary.sweep.term].neutral
    low, high = trained.distribution(sweep.term).support
    if sweep.signed:
        return 0.0, max(abs(low), abs(high))
    if sweep.to > neutral:
        return max(low, neutral), max(high, neutral)
    return min(low, neutral), min(high, neutral)


def heat_map(heat: HeatMap, level: float) -> str:
    """Success in every cell, green above the level and red below it."""
    share = heat.successes / heat.episodes
    figure, axis = pyplot().subplots(figsize=(5.4, 4.0), layout="constrained")
    # The level lies in the middle of the colours, whatever it is.
    shade = np.where(share >= level, 0.5 + 0.5 * (share - level) / max(1 - level, 1e-9), 0.5 * share / level)
    axis.imshow(shade.T, origin="lower", cmap="RdYlGn", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(share):
        axis.text(i, j, f"{100 * value:.0f}", ha="center", va="center", fontsize=8)
    axis.set_xticks(range(len(heat.first_values)), [f"{value:.3g}" for value in heat.first_values], fontsize=7)
    axis.set_yticks(range(len(heat.second_values)), [f"{value:.3g}" for value in heat.second_values], fontsize=7)
    axis.set_xlabel(heat.first.name, fontsize=8)
    axis.set_ylabel(heat.second.name, fontsize=8)
    axis.set_title(f"success, %, of {heat.episodes} episodes", fontsize=9)
    return svg(figure)
