"""A stress report: go or no-go, boundaries, maps, as sentences, a page and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from sim2real.contract import Contract
from sim2real.pages import page
from sim2real.randomisation.config import TERMS, Randomisation
from sim2real.stress import plots
from sim2real.stress.config import Requirement, StressConfig
from sim2real.stress.points import Point
from sim2real.stress.search import Boundary, HeatMap

_UNITS = {"_kg": "kg", "_rad_s": "rad/s", "_m": "m", "_rad": "rad", "_s": "s", "_nm": "N m", "_n": "N"}


@dataclass(frozen=True)
class Stress:
    """Everything that was measured."""

    model: str
    contract: Contract
    config: StressConfig
    trained: Randomisation
    requirements: tuple[tuple[Requirement, Point], ...]
    boundaries: tuple[Boundary, ...]
    maps: tuple[HeatMap, ...]
    episodes: int
    """All that the numbers rest on, whenever they were flown."""

    @property
    def go(self) -> bool:
        """Whether every requirement is known to hold."""
        return all(point.side == "above" for _, point in self.requirements)

    def sentences(self) -> list[str]:
        """What the numbers say, the verdict first."""
        return [
            self._verdict(),
            *(requirement_sentence(need, point) for need, point in self.requirements),
            *(boundary_sentence(boundary) for boundary in self.boundaries),
        ]

    def _verdict(self) -> str:
        if not self.requirements:
            return "Go: nothing was required."
        failed = sum(point.side != "above" for _, point in self.requirements)
        count = len(self.requirements)
        if failed:
            return f"No-go: {failed} of {count} requirements are not known to hold."
        return f"Go: all {count} requirements hold."

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        return {
            "model": self.model,
            "task": self.contract.task,
            "contract": self.contract.digest,
            "go": self.go,
            "sentences": self.sentences(),
            "episodes": self.episodes,
            "confidence": self.config.precision.confidence,
            "level": self.config.level,
            "requirements": [
                {
                    "name": need.name,
                    "under": need.under.model_dump(mode="json", include=set(need.under.active)),
                    "threshold": need.success,
                    **_point(point),
                }
                for need, point in self.requirements
            ],
            "boundaries": [
                {
                    "name": b.sweep.name,
                    "term": b.sweep.term,
                    "unit": unit_of(b.sweep.term),
                    "to": b.sweep.to,
                    "half_width": b.sweep.signed,
                    "boundary": b.value,
                    "known_above": b.above,
                    "known_below": b.below,
                    "trained": list(plots.trained_range(b, self.trained)),
                    "points": [{"value": value, **_point(point)} for value, point in b.points],
                }
                for b in self.boundaries
            ],
            "maps": [
                {
                    "first": heat.first.name,
                    "second": heat.second.name,
                    "first_values": heat.first_values,
                    "second_values": heat.second_values,
                    "successes": heat.successes.tolist(),
                    "episodes": heat.episodes,
                }
                for heat in self.maps
            ],
        }

    def page(self) -> str:
        """One HTML file, plots inside."""
        title = f"Stress: {self.model}"
        precision = self.config.precision
        sections = [
            f"<h1>{escape(title)}</h1>",
            f"<p class=small>task {escape(self.contract.task)}, robot {escape(self.contract.robot.name)}, contract "
            f"{self.contract.digest[:12]}; {self.episodes:,} episodes of the exported graph in native MuJoCo; a "
            f"success holds {100 * self.contract.goal.coarse_position_m:g} cm for the last "
            f"{self.contract.goal.hold_s:g} s; intervals at {precision.confidence:.0%}</p>",
            f"<h2 class={'good' if self.go else 'bad'}>{escape(self._verdict())}</h2>",
            self._requirement_table(),
            f"<h2>Where success falls below {self.config.level:.0%}</h2>",
            self._boundary_table(),
            "<p class=small>Green: what training saw. Red: the boundary. Signed quantities are half widths of a range "
            "from which every joint or axis draws its own.</p>",
            plots.sweeps(self.boundaries, self.trained),
        ]
        if self.maps:
            maps = "".join(plots.heat_map(heat, self.config.level) for heat in self.maps)
            sections += [f"<h2>Two at a time</h2><div class=pairs>{maps}</div>"]
        return page(title, sections)

    def _requirement_table(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(need.name)}</td><td>{need.success:.0%}</td><td>{point.success:.1%}</td>"
            f"<td>{point.low:.1%} to {point.high:.1%}</td><td>{point.episodes}</td>"
            f"<td class={'good' if point.side == 'above' else 'bad'}>{_VERDICTS[point.side]}</td></tr>"
            for need, point in self.requirements
        )
        return f"<table><tr><th>required<th>at least<th>success<th>interval<th>episodes<th></tr>{rows}</table>"

    def _boundary_table(self) -> str:
        rows = []
        for b in self.boundaries:
            low, high = plots.trained_range(b, self.trained)
            trained = f"{low:.3g} to {high:.3g}" if low < high else "-"
            edge = f"none up to {b.sweep.to:g}" if b.value is None else f"{b.value:.3g}"
            known = [("-" if value is None else f"{value:.3g}") for value in (b.above, b.below)]
            cells = (trained, edge, *known, unit_of(b.sweep.term), str(sum(p.episodes for _, p in b.points)))
            rows.append(f"<tr><td>{escape(b.sweep.name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
        head = "<tr><th>quantity<th>trained on<th>boundary<th>known above<th>known below<th>unit<th>episodes</tr>"
        return f"<table>{head}{''.join(rows)}</table>"


_VERDICTS = {"above": "holds", "below": "fails", "open": "not known"}


def requirement_sentence(need: Requirement, point: Point) -> str:
    """One requirement in words."""
    interval = f"{point.success:.1%} of {point.episodes} episodes, {point.low:.1%} to {point.high:.1%}"
    said = {
        "above": "holds",
        "below": "fails",
        "open": "is not known to hold; more episodes_max would tell",
    }[point.side]
    return f"{need.name}: {need.success:.0%} {said} ({interval})."


def boundary_sentence(boundary: Boundary) -> str:
    """One boundary in words."""
    sweep, unit = boundary.sweep, unit_of(boundary.sweep.term)
    width = "±" if sweep.signed else ""
    if boundary.value is None:
        return f"{sweep.name}: success stays above {boundary.level:.0%} up to {width}{sweep.to:g} {unit}".rstrip() + "."
    if boundary.value == TERMS[sweep.term].neutral:
        return f"{sweep.name}: success is below {boundary.level:.0%} with nothing changed."
    ends = ", ".join(
        f"known to be {side} it at {width}{value:.3g}"
        for side, value in (("above", boundary.above), ("below", boundary.below))
        if value is not None
    )
    at = f"{width}{boundary.value:.3g} {unit}".rstrip()
    return f"{sweep.name}: success falls below {boundary.level:.0%} at {at}{f' ({ends})' if ends else ''}."


def unit_of(term: str) -> str:
    """Unit of a term, by its suffix; empty for factors and probabilities."""
    return next((unit for suffix, unit in _UNITS.items() if term.endswith(suffix)), "")


def _point(point: Point) -> dict[str, Any]:
    return {"success": point.success} | asdict(point)
