"""The last half minute of distance, reachability and tick time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from runtime.page.link import HISTORY_S

_HEIGHT_PX = 130
_BLUE, _ORANGE, _GREEN, _GREY = "#2563eb", "#ea580c", "#15803d", "#475569"
_EMPTY = np.array([-HISTORY_S, 0.0])


class Charts:
    """Three uPlot charts in the panel of one browser."""

    def __init__(self, gui: Any, *, turns: bool) -> None:
        angle = [("angle, deg", _ORANGE)] if turns else []
        self._distance = _Chart(gui, [("distance, mm", _BLUE), *angle])
        self._reachability = _Chart(gui, [("reachability", _GREEN)], top=1.0)
        self._tick = _Chart(gui, [("tick, \N{MICRO SIGN}s", _GREY)])

    def update(self, history: np.ndarray) -> None:
        """`[5, N]`, see `runtime.page.link.Link.history`."""
        if history.shape[1] < 2:
            return
        time_s, distance, angle, reachability, tick = history
        self._distance.update(time_s, distance, angle)
        self._reachability.update(time_s, reachability)
        self._tick.update(time_s, tick)


class _Chart:
    """Lines from zero to a round number above the highest value, or to `top`."""

    def __init__(self, gui: Any, series: list[tuple[str, str]], top: float | None = None) -> None:
        self._fixed, self._top = top is not None, top or 1.0
        self._complete = False
        self._lines = len(series)
        self._plot = gui.add_uplot(
            data=(_EMPTY, *([np.full(2, np.nan)] * len(series))),
            series=({"label": "s"}, *({"label": label, "stroke": colour, "width": 2} for label, colour in series)),
            scales=self._scales(),
            axes=({"size": 34}, {"size": 44}),
            padding=(10, 14, 0, 0),
            height=_HEIGHT_PX,
            legend={"show": True, "live": False},
            cursor={"show": False},
        )

    def update(self, time_s: np.ndarray, *lines: np.ndarray) -> None:
        """`[N]` each; lines beyond those of the chart are left out, and NaN makes a gap."""
        shown = lines[: self._lines]
        highest = max((float(line[np.isfinite(line)].max(initial=0.0)) for line in shown), default=0.0)
        top = self._top if self._fixed else round_up(highest)
        # New scales build the chart anew, which the first data need: a chart that was built without has no x axis.
        if top != self._top or not self._complete:
            self._top, self._complete = top, True
            self._plot.scales = self._scales()
        self._plot.data = (time_s, *shown)

    def _scales(self) -> dict[str, Any]:
        # uPlot finds no range of its own where the first value is NaN.
        return {
            "x": {"time": False, "auto": False, "range": (-HISTORY_S, 0.0)},
            "y": {"auto": False, "range": (0.0, self._top if self._complete else 2 * self._top)},
        }


def round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten; 1 for what is not positive."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if value <= step * power * (1 + 1e-9))
