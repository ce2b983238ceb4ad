"""Looks for the value of a quantity at which success falls below the level, and maps pairs of quantities.

A ladder of growing values (an eighth, a quarter, half of the way, all of it) finds the first rung that fails, and
bisection between it and the rung before narrows the boundary down. The search takes success to fall as the value moves
away: a value that succeeds beyond one that fails is not looked for. All points are kept for the plots.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sim2real.randomisation.config import TERMS
from sim2real.stress.config import StressConfig, Sweep, combined
from sim2real.stress.points import Point, Successes, decide

_LADDER = (0.125, 0.25, 0.5, 1.0)
_MOST_BISECTIONS = 10


@dataclass(frozen=True)
class Boundary:
    """Where success of one sweep falls below the level."""

    sweep: Sweep
    level: float
    points: tuple[tuple[float, Point], ...]
    """Swept value and success, from neutral outwards."""
    value: float | None
    """The boundary: the middle of the last bracket; None where success never fell below the level."""
    above: float | None
    """The farthest value at which success is known to be above the level, nearer than `below`; None if none is."""
    below: float | None
    """The nearest value at which success is known to be below the level; None if none is."""


@dataclass(frozen=True)
class HeatMap:
    """Success over two quantities."""

    first: Sweep
    second: Sweep
    first_values: tuple[float, ...]
    second_values: tuple[float, ...]
    successes: np.ndarray
    """`[A, B]`, of `episodes` each."""
    episodes: int


@dataclass
class _Search:
    """Points of one sweep by their share of the way."""

    sweep: Sweep
    config: StressConfig
    run: Successes
    points: dict[float, Point] = field(default_factory=dict)

    def good(self, share: float) -> bool:
        """Whether success reaches the level there: for certain, or by its estimate where that stays open."""
        if share not in self.points:
            setting = self.sweep.setting(self.sweep.value(share), self.config.base)
            self.points[share] = decide(self.run, setting, self.config.level, self.config.precision)
        point = self.points[share]
        return point.side == "above" or (point.side == "open" and point.success >= self.config.level)

    def narrow(self, inner: float, outer: float) -> float:
        """Bisect between a share that is good and one that isn't; the boundary's share."""
        for _ in range(_MOST_BISECTIONS):
            if self._near(inner, outer):
                break
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if self.good(middle) else (inner, middle)
        return (inner + outer) / 2

    def _near(self, inner: float, outer: float) -> bool:
        neutral = TERMS[self.sweep.term].neutral
        near, far = (abs(self.sweep.value(share) - neutral) for share in (inner, outer))
        return far - near <= self.config.precision.bracket * far

    def boundary(self, share: float | None) -> Boundary:
        """What the points say, with the boundary at `share` of the way."""
        ordered = sorted(self.points.items())
        below = next((self.sweep.value(at) for at, point in ordered if point.side == "below"), None)
        sides = [(self.sweep.value(at), point.side) for at, point in ordered]
        until = next((i for i, (_, side) in enumerate(sides) if side == "below"), len(sides))
        above = next((value for value, side in reversed(sides[:until]) if side == "above"), None)
        points = tuple((self.sweep.value(at), point) for at, point in ordered)
        value = None if share is None else self.sweep.value(share)
        return Boundary(self.sweep, self.config.level, points, value, above, below)


def find_boundary(sweep: Sweep, config: StressConfig, run: Successes) -> Boundary:
    """The boundary of one sweep. Where the level is missed with nothing changed, that is the boundary."""
    search = _Search(sweep, config, run)
    if not search.good(0.0):
        return search.boundary(0.0)
    inner = 0.0
    for outer in _LADDER:
        if not search.good(outer):
            return search.boundary(search.narrow(inner, outer))
        inner = outer
    return search.boundary(None)


def map_pair(first: Boundary, second: Boundary, config: StressConfig, run: Successes) -> HeatMap:
    """Success on a grid from neutral to half as far again as each quantity's own boundary."""
    precision = config.precision
    axes = [_axis(boundary, precision.pair_grid) for boundary in (first, second)]
    successes = np.zeros([len(axis) for axis in axes], int)
    for i, a in enumerate(axes[0]):
        for j, b in enumerate(axes[1]):
            setting = combined(config.base, first.sweep.terms(a), second.sweep.terms(b))
            successes[i, j] = int(run(setting, 0, precision.pair_episodes).sum())
    return HeatMap(first.sweep, second.sweep, axes[0], axes[1], successes, precision.pair_episodes)


def _axis(boundary: Boundary, count: int) -> tuple[float, ...]:
    neutral, end = TERMS[boundary.sweep.term].neutral, boundary.sweep.to
    if boundary.value is not None and boundary.value != neutral:
        beyond = neutral + 1.5 * (boundary.value - neutral)
        if neutral > 0 and boundary.value > 0:
            beyond = neutral * (boundary.value / neutral) ** 1.5
        end = min(beyond, end) if end > neutral else max(beyond, end)
    ends = boundary.sweep.model_copy(update={"to": end})
    # Rounded, so that an axis reads well and equal points are recognised when a run is taken up again.
    return tuple(float(f"{ends.value(share):.4g}") for share in np.linspace(0, 1, count))
