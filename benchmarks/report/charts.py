"""Small charts as inline SVG, coloured by the page's CSS variables so that they follow light and dark.

Every function returns one `<svg>` element as text. Text that comes from outside is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 520, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 38


@dataclass(frozen=True)
class Axis:
    """Range and label of one axis."""

    low: float
    high: float
    label: str = ""
    percent: bool = False

    def fraction(self, value: float) -> float:
        """Where a value lies, 0 at `low` and 1 at `high`."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """About five round numbers."""
        rough = (self.high - self.low) / 5
        base = 10.0 ** math.floor(math.log10(rough))
        step = min((base * factor for factor in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - rough))
        first = math.ceil(self.low / step - 1e-9)
        return [step * i for i in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def text(self, value: float) -> str:
        """A tick's label."""
        if self.percent:
            return f"{100 * value:.0f}%"
        return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


class _Frame:
    """Grid, axes and the mapping from data to pixels."""

    def __init__(self, x: Axis, y: Axis, width: float = WIDTH, height: float = HEIGHT) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height
        self.parts: list[str] = []

    def px(self, value: float) -> float:
        return _LEFT + self.x.fraction(value) * (self.width - _LEFT - _RIGHT)

    def py(self, value: float) -> float:
        return self.height - _BOTTOM - self.y.fraction(value) * (self.height - _TOP - _BOTTOM)

    def grid(self, *, x_ticks: bool = True) -> None:
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        for value in self.y.ticks():
            y = self.py(value)
            self.add(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.add(f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{self.y.text(value)}</text>')
        for value in self.x.ticks() if x_ticks else []:
            x = self.px(value)
            self.add(f'<line class="tick" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
            self.add(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{self.x.text(value)}</text>')
        self.add(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        if self.x.label:
            self.add(f'<text x="{right}" y="{self.height - 6}" text-anchor="end">{escape(self.x.label)}</text>')
        if self.y.label:
            self.add(f'<text x="{_LEFT + 6}" y="{_TOP + 8}">{escape(self.y.label)}</text>')

    def add(self, text: str) -> None:
        self.parts.append(text)

    def marker(self, value: float, text: str, *, level: int = 0, low: bool = False) -> None:
        """A dashed vertical line with a label at its top, or at its foot with `low`."""
        x, bottom = self.px(value), self.height - _BOTTOM
        end = x > self.width - 110
        anchor, shift = ("end", -4) if end else ("start", 4)
        self.add(f'<line class="marker" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        y = bottom - 8 if low else _TOP + 9 + 14 * level
        self.add(f'<text class="note" x="{x + shift:.1f}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>')

    def svg(self, title: str) -> str:
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(title)}">'
            f"{''.join(self.parts)}</svg>"
        )


@dataclass(frozen=True)
class Line:
    """One curve: a legend name, a CSS colour class and points."""

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False


def legend(entries: Mapping[str, str]) -> str:
    """Name to colour class, as an HTML list above a chart."""
    items = "".join(f'<li><i class="{escape(colour)}"></i>{escape(name)}</li>' for name, colour in entries.items())
    return f'<ul class="legend">{items}</ul>'


def lines(title: str, curves: Sequence[Line], x: Axis, y: Axis, *, markers: Mapping[str, float] | None = None) -> str:
    """Curves over a common axis."""
    frame = _Frame(x, y)
    frame.grid()
    for text, value in (markers or {}).items():
        frame.marker(value, text, low=True)
    for curve in curves:
        points = [(frame.px(a), frame.py(b)) for a, b in zip(curve.x, curve.y, strict=True)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        dash = ' stroke-dasharray="5 4"' if curve.dashed else ""
        frame.add(f'<polyline class="line {escape(curve.colour)}" points="{path}"{dash}/>')
        if len(points) < 40:
            frame.parts += [
                f'<circle class="dot {escape(curve.colour)}" cx="{a:.1f}" cy="{b:.1f}" r="2.6"/>' for a, b in points
            ]
    return frame.svg(title)


def bars(title: str, groups: Sequence[str], series: Mapping[str, tuple[str, Sequence[float]]]) -> str:
    """Grouped bars of shares; `series` maps a legend name to its colour class and one value per group."""
    frame = _Frame(Axis(0, len(groups)), Axis(0, 1.08, percent=True))
    frame.grid(x_ticks=False)
    slot = 0.78 / len(series)
    for index, (name, (colour, values)) in enumerate(series.items()):
        for group, value in enumerate(values):
            left = frame.px(group + 0.11 + index * slot)
            width = frame.px(group + 0.11 + (index + 0.9) * slot) - left
            top, bottom = frame.py(value), frame.py(0)
            frame.add(
                f'<rect class="fill {escape(colour)}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{max(bottom - top, 0.5):.1f}" rx="2.5">'
                f"<title>{escape(name)} {100 * value:.1f}%</title></rect>"
                f'<text class="value" x="{left + width / 2:.1f}" y="{top - 5:.1f}" text-anchor="middle">'
                f"{100 * value:.0f}</text>"
            )
    for group, name in enumerate(groups):
        x = frame.px(group + 0.5)
        frame.add(f'<text x="{x:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{escape(name)}</text>')
    return frame.svg(title)


def cumulative(
    title: str,
    samples: Mapping[str, tuple[str, np.ndarray]],
    *,
    high: float,
    label: str,
    markers: Mapping[str, float] | None = None,
) -> str:
    """Share of samples at or below each value, from 0 to `high`; larger samples lie beyond the right edge."""
    curves = []
    for name, (colour, values) in samples.items():
        grid = np.linspace(0, high, 160)
        share = np.searchsorted(np.sort(values), grid, side="right") / max(1, len(values))
        curves.append(Line(name, colour, grid.tolist(), share.tolist()))
    return lines(title, curves, Axis(0, high, label), Axis(0, 1.02, percent=True), markers=markers)


def histogram(title: str, values: np.ndarray, *, label: str, markers: Mapping[str, float]) -> str:
    """Counts in 48 bins up to the 98th percentile or the last marker, whichever is larger."""
    high = max(float(np.percentile(values, 98)), *markers.values(), 1e-9) * 1.12
    counts, edges = np.histogram(values, bins=48, range=(0, high))
    frame = _Frame(Axis(0, high, label), Axis(0, max(1, int(counts.max())) * 1.15))
    frame.grid()
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            x, width = frame.px(left) + 0.5, frame.px(right) - frame.px(left) - 1
            y = frame.py(count)
            frame.add(
                f'<rect class="fill student" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                f'height="{frame.py(0) - y:.1f}" rx="1">'
                f"<title>{count} ticks, {left:.0f} to {right:.0f} µs</title></rect>"
            )
    for level, (text, value) in enumerate(markers.items()):
        frame.marker(value, text, level=level)
    return frame.svg(title)


def scatter(
    title: str, x: np.ndarray, y: np.ndarray, outcome: Sequence[str], x_axis: Axis, y_axis: Axis, notes: Sequence[str]
) -> str:
    """Points of equal scale on both axes; `outcome` is the CSS class and `notes` the tooltip of each."""
    inner = WIDTH - _LEFT - _RIGHT
    height = inner * (y_axis.high - y_axis.low) / (x_axis.high - x_axis.low) + _TOP + _BOTTOM
    frame = _Frame(x_axis, y_axis, WIDTH, height)
    frame.grid()
    for a, b, kind, note in zip(x, y, outcome, notes, strict=True):
        frame.add(
            f'<circle class="fill {escape(kind)}" cx="{frame.px(float(a)):.1f}" cy="{frame.py(float(b)):.1f}" '
            f'r="4"><title>{escape(note)}</title></circle>'
        )
    return frame.svg(title)
