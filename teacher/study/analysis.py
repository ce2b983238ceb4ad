"""Numbers of a study: means with intervals, the critical depth, how cost grows."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from scipy import stats

SCORES = ("success_coarse", "success_fine", "time_at_goal", "position_error_m", "angle_error_deg")
COSTS = ("parameters", "update_s", "wall_s")
POINT = ("actor_depth", "critic_depth", "width", "batch_size")
_MIN_GAIN = 0.1


def summarise(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each point of the grid: mean over seeds and half width of the 95 % interval, by name.

    The interval is Student's t over seeds, and None for a single seed: one run says nothing about the spread.
    """
    points: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for result in results:
        points.setdefault(tuple(result[name] for name in POINT), []).append(result)
    rows = []
    for point, runs in points.items():
        row: dict[str, Any] = dict(zip(POINT, point, strict=True)) | {"seeds": len(runs)}
        for name in SCORES + COSTS:
            values = np.array([run[name] for run in runs], float)
            row[name] = float(values.mean())
            row[f"{name}_ci95"] = None
            if len(values) > 1:
                spread = values.std(ddof=1) / np.sqrt(len(values))
                row[f"{name}_ci95"] = float(stats.t.ppf(0.975, len(values) - 1) * spread)
        rows.append(row)
    return rows


def critical_depth(rows: list[dict[str, Any]], score: str = "success_coarse") -> int | None:
    """The shallowest depth whose mean score is at least half way from the shallowest network's to the best one's.

    None when depth gains less than 0.1 in all. arXiv 2503.14858 (figure 5) calls critical the depth at which
    performance jumps, without a formula; this is ours.
    """
    ordered = sorted(rows, key=lambda row: row["actor_depth"])
    first, best = ordered[0][score], max(row[score] for row in ordered)
    if best - first < _MIN_GAIN:
        return None
    return int(next(row["actor_depth"] for row in ordered if row[score] >= first + 0.5 * (best - first)))


def growth_exponent(x: list[float], y: list[float]) -> float | None:
    """Slope of log y over log x by least squares: 1 is linear, 2 quadratic; None for fewer than two points."""
    if len(set(x)) < 2:
        return None
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
