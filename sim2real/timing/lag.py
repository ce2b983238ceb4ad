"""How much later one motion comes than another, by cross-correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_GRID_PER_STEP = 4


@dataclass(frozen=True)
class Lag:
    """Lag of a measured motion behind an expected one."""

    seconds: float
    correlation: float
    """Between the two, once shifted: near 1 where the lag is all that differs."""


def lag_between(
    time_s: np.ndarray, expected: np.ndarray, measured: np.ndarray, *, longest_s: float = 0.3, shortest_s: float = -0.05
) -> Lag | None:
    """Lag of `measured` `[T, J]` behind `expected` `[T, J]`, both at `time_s` `[T]`; None where nothing moves.

    Speeds are correlated, so that constant offsets (friction, gravity, an encoder's bias) do not count; the peak is
    refined by a parabola, to a fraction of the period.
    """
    # A reading that was used twice has one time.
    fresh = np.append(True, np.diff(time_s) > 0)
    time_s, expected, measured = time_s[fresh], expected[fresh], measured[fresh]
    if len(time_s) < 10:
        return None
    step = float(np.median(np.diff(time_s)))
    speed, seen = np.gradient(expected, time_s, axis=0), np.gradient(measured, time_s, axis=0)
    lags = np.arange(shortest_s, longest_s + step / 2, step / _GRID_PER_STEP)
    edge = int(np.ceil(max(longest_s, -shortest_s) / step))
    inside = slice(edge, len(time_s) - edge)
    if len(time_s) - 2 * edge < 10 or not np.any(np.abs(speed) > 1e-9) or not np.any(np.abs(seen) > 1e-9):
        return None
    seen = seen[inside]
    scores = np.array([_correlation(_shifted(time_s, speed, lag)[inside], seen) for lag in lags])
    peak = int(np.argmax(scores))
    if not 0 < peak < len(lags) - 1:
        return Lag(float(lags[peak]), float(scores[peak]))
    before, at, after = scores[peak - 1 : peak + 2]
    bend = before - 2 * at + after
    moved = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return Lag(float(lags[peak] + moved * (lags[1] - lags[0])), float(at))


def _shifted(time_s: np.ndarray, values: np.ndarray, lag: float) -> np.ndarray:
    return np.stack([np.interp(time_s - lag, time_s, column) for column in values.T], axis=1)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(a * b) / max(np.sqrt(np.sum(a * a) * np.sum(b * b)), 1e-300))
