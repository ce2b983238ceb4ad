"""A gap report: numbers, sentences, a page and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from sim2real.gap import plots
from sim2real.gap.closed_loop import GoalOutcome, outcomes
from sim2real.gap.open_loop import OpenLoopGap
from sim2real.logs.log import Log
from sim2real.pages import page


@dataclass(frozen=True)
class Gap:
    """Open loop on the measured commands; closed loop where there is a policy and goals."""

    open_loop: OpenLoopGap
    measured: Log
    simulated: Log | None = None
    """The policy's own run in the model, on the same goals."""

    def goals(self) -> list[tuple[GoalOutcome, GoalOutcome]]:
        """Measured and simulated, goal by goal."""
        if self.simulated is None:
            return []
        pairs = outcomes(self.measured), outcomes(self.simulated)
        times = {outcome.time_s: outcome for outcome in pairs[1]}
        return [(outcome, times[outcome.time_s]) for outcome in pairs[0] if outcome.time_s in times]

    def sentences(self) -> list[str]:
        """What the numbers say, the most important first."""
        return [*_closed_loop_sentences(self.goals()), *_open_loop_sentences(self.open_loop)]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON."""
        gap, names = self.open_loop, self.measured.contract.joint_names
        pairs = self.goals()
        closed = None
        if pairs:
            closed = {
                side: {
                    "success": float(np.mean([pair[i].reached for pair in pairs])),
                    "time_at_goal": float(np.mean([pair[i].time_at_goal for pair in pairs])),
                    "final_distance_m": float(np.median([pair[i].final_distance_m for pair in pairs])),
                    "goals": [asdict(pair[i]) for pair in pairs],
                }
                for i, side in enumerate(("measured", "simulated"))
            }
        return {
            "source": self.measured.source,
            "task": self.measured.contract.task,
            "contract": self.measured.contract.digest,
            "ticks": len(gap.log),
            "sentences": self.sentences(),
            "delay_s": None if gap.lag is None else gap.lag.seconds,
            "delay_correlation": None if gap.lag is None else gap.lag.correlation,
            "signals": [asdict(signal) for signal in gap.signals],
            "steps_ahead_rms_rad": {
                str(steps): dict(zip(names, rms.tolist(), strict=True)) for steps, rms in gap.horizon_rms.items()
            },
            "spectrum": {
                "frequency_hz": gap.frequency_hz.tolist(),
                "measured": gap.measured_spectrum.T.tolist(),
                "simulated": gap.simulated_spectrum.T.tolist(),
                "difference": gap.error_spectrum.T.tolist(),
            },
            "closed_loop": closed,
        }

    def page(self) -> str:
        """One HTML file, plots inside."""
        contract = self.measured.contract
        sections = [
            f"<h1>Gap: {escape(self.measured.source)} against the model</h1>",
            f"<p class=small>task {escape(contract.task)}, robot {escape(contract.robot.name)}, contract "
            f"{contract.digest[:12]}, {len(self.measured)} ticks of {contract.timing.control_dt_s * 1e3:g} ms</p>",
            "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in self.sentences()) + "</ul>",
        ]
        pairs = self.goals()
        if pairs and self.simulated is not None:
            sections += [
                "<h2>Closed loop: the policy on either side, the same goals at the same times</h2>",
                plots.distances(self.measured, self.simulated),
                _goal_table(pairs),
            ]
        sections += [
            "<h2>Open loop: the model on the measured commands</h2>",
            plots.joint_errors(self.open_loop),
            _signal_table(self.open_loop),
            "<h2>Steps ahead of measured states</h2>",
            plots.horizons(self.open_loop),
            "<h2>Spectrum of joint speeds</h2>",
            plots.spectra(self.open_loop),
        ]
        return page(f"Gap: {self.measured.source}", sections)


def _closed_loop_sentences(pairs: Sequence[tuple[GoalOutcome, GoalOutcome]]) -> list[str]:
    if not pairs:
        return []
    success, at_goal = (
        [float(np.mean([getattr(pair[i], name) for pair in pairs])) for i in (0, 1)]
        for name in ("reached", "time_at_goal")
    )
    said = [
        f"Of {len(pairs)} goals, {success[0]:.0%} were reached as measured and {success[1]:.0%} in the model; "
        f"time at goal {at_goal[0]:.0%} and {at_goal[1]:.0%}."
    ]
    lost = [pair for pair in pairs if pair[1].reached and not pair[0].reached]
    if lost:
        times = ", ".join(f"{pair[0].time_s:.1f} s" for pair in lost[:5])
        said.append(
            f"{len(lost)} goals that the model reaches were not reached as measured, given at {times}: look there."
        )
    return said


def _open_loop_sentences(gap: OpenLoopGap) -> list[str]:
    said = []
    joints = [signal for signal in gap.signals if signal.name.endswith(" position")]
    worst = max(joints, key=lambda signal: signal.rms)
    share = worst.rms / max(worst.motion_rms, 1e-12)
    said.append(
        f"On the measured commands the model strays most at {worst.name}: {worst.rms * 1e3:.2g} mrad RMS, {share:.1%} "
        f"of its motion, {abs(worst.worst) * 1e3:.2g} mrad at worst, {worst.worst_at_s:.1f} s in."
    )
    if gap.lag is not None and gap.lag.correlation > 0.8:
        late = gap.lag.seconds > 0.05 * gap.log.contract.timing.control_dt_s
        advice = "a delay, or a softer servo; sim2real identify tells them apart" if late else "no delay to speak of"
        said.append(f"Measured motion comes {gap.lag.seconds * 1e3:.1f} ms after the model's: {advice}.")
    biased = [s for s in joints if abs(s.bias) > 0.7 * s.rms and s.rms > 1e-3]
    if biased:
        names = ", ".join(signal.name.removesuffix(" position") for signal in biased)
        said.append(f"The error hardly changes sign at {names}: payload, friction or an encoder's bias; identify them.")
    return said


def _signal_table(gap: OpenLoopGap) -> str:
    rows = "".join(
        f"<tr><td>{escape(s.name)}</td><td>{s.rms:.3g}</td><td>{s.bias:+.3g}</td><td>{s.worst:+.3g}</td>"
        f"<td>{s.worst_at_s:.2f}</td><td>{s.motion_rms:.3g}</td><td>{s.unit}</td></tr>"
        for s in gap.signals
    )
    head = "<tr><th>signal<th>RMS error<th>mean error<th>worst<th>at, s<th>motion RMS<th>unit</tr>"
    return f"<table>{head}{rows}</table>"


def _goal_table(pairs: Sequence[tuple[GoalOutcome, GoalOutcome]]) -> str:
    def cells(outcome: GoalOutcome) -> str:
        after = "-" if outcome.reached_after_s is None else f"{outcome.reached_after_s:.2f}"
        return f"<td>{after}</td><td>{outcome.time_at_goal:.0%}</td><td>{100 * outcome.final_distance_m:.1f}</td>"

    rows = "".join(f"<tr><td>{a.time_s - pairs[0][0].time_s:.1f}</td>{cells(a)}{cells(b)}</tr>" for a, b in pairs)
    head = (
        "<tr><th>goal given, s<th>reached after, s<th>at goal<th>final, cm"
        "<th>model: after, s<th>at goal<th>final, cm</tr>"
    )
    return f"<table>{head}{rows}</table>"
