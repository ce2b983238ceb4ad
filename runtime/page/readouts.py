"""What a browser reads: where robot and goal stand, and the last half minute of it."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import numpy as np

from runtime.page.telemetry import HISTORY_S
from runtime.protocol.messages import DescriptionReply
from runtime.protocol.snapshot import Snapshot

_HEIGHT_PX = 130
_BLUE, _ORANGE, _GREEN, _GREY = "#2563eb", "#ea580c", "#15803d", "#64748b"
_COLOURS = {"active": "#15803d", "ramp-in": "#15803d", "hold": "#b45309", "damp": "#b45309", "estop": "#b91c1c"}
_DARK_RED = "#7f1d1d"
_EMPTY = np.array([-HISTORY_S, 0.0])


class Charts:
    """Three uPlot charts in the panel of one browser."""

    def __init__(self, gui: Any, *, turns: bool) -> None:
        angle = [("angle, deg", _ORANGE)] if turns else []
        self._distance = _Chart(gui, [("distance, mm", _BLUE), *angle])
        self._reachability = _Chart(gui, [("reachability", _GREEN)], top=1.0)
        self._tick = _Chart(gui, [("tick, \N{MICRO SIGN}s", _GREY)])

    def update(self, history: np.ndarray) -> None:
        """`[5, N]`, see `runtime.page.telemetry.TelemetryPoller.history`."""
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
            axes=({"size": 34}, {"size": 56}),
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


def status_html(snapshot: Snapshot) -> str:
    """State, goal, distance and tick time of one moment, as HTML."""
    status = snapshot.status
    colour = _COLOURS.get(status.state, _GREY)
    rows = [("Goal", f"{status.goal_id}{' reached' if status.reached else ''}" if status.goal_id else "none")]
    if status.distance_m is not None:
        angle = "" if status.angle_deg is None else f", {status.angle_deg:.1f} deg"
        rows.append(("Distance", f"{1e3 * status.distance_m:.1f} mm{angle}"))
    if status.reachability is not None:
        rows.append(("Reachability", f"{status.reachability:.2f}{'' if status.reachable else ', doubtful'}"))
    tick = snapshot.tick_time
    rows.append(("Tick", f"p50 {tick.p50_us:.0f}, p99 {tick.p99_us:.0f} &micro;s; missed {status.missed_periods}"))
    if status.age_s > 1:
        rows.append(("Silent for", f"{status.age_s:.0f} s"))
    cells = "".join(
        f"<tr><td style='color:#64748b;padding-right:0.8em'>{name}</td>"
        f"<td style='font-variant-numeric:tabular-nums'>{value if '&micro;' in value else escape(value)}</td></tr>"
        for name, value in rows
    )
    reached = status.state == "active" and status.reached
    label = "at the goal" if reached else status.state
    return _badge(colour, label, status.reason) + f"<table style='font-size:0.85em;margin:0 0.6em'>{cells}</table>"


def no_server_html(problem: str) -> str:
    """Instead of a status, while the server does not answer."""
    return _badge(_DARK_RED, "no server", problem or "waiting for the first tick")


def facts_html(description: DescriptionReply) -> str:
    """Which policy runs on which robot, as HTML."""
    facts = description.facts
    text = f"{facts.get('policy', 'policy')} on {facts.get('driver', description.contract.robot.name)}"
    return f"<div style='font-size:0.75em;color:{_GREY};margin:0.6em'>{escape(text)}</div>"


def problem_html(problem: str) -> str:
    """A sentence that must be seen, as HTML; nothing without one."""
    return problem and f"<div style='color:{_DARK_RED};font-weight:600;margin:0 0.6em'>{escape(problem)}</div>"


def _badge(colour: str, label: str, sentence: str) -> str:
    return (
        "<div style='margin:0.4em 0.6em;font-size:0.85em'>"
        f"<span data-state='{escape(label)}' style='background:{colour};color:white;border-radius:0.5em;"
        f"padding:0.15em 0.7em;font-weight:600'>{escape(label)}</span> <span>{escape(sentence)}</span></div>"
    )
