"""The demo's report: one HTML file that needs nothing else, neither network nor libraries.

    write_report(Path("report.html"), content)

All numbers come from `Content`; the animation is drawn by the page itself from the recorded capsules. Every text
from outside is escaped, and a content security policy in the page forbids it to load anything.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report.recording import Recording
from benchmarks.report.sections import (
    certificate_card,
    evaluation_card,
    learning_card,
    ticks_card,
    tiles,
    times_card,
    usage_card,
    workspace_card,
)
from sim2real.evaluation.success import EpisodeErrors
from sim2real.files import write_text

_ASSETS = Path(__file__).parent / "assets"
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Content:
    """What a report shows."""

    summary: Numbers
    """As in `summary.json`."""
    teacher_metrics: list[dict[str, float]]
    """Rows of the run's `metrics.jsonl`."""
    student_metrics: list[dict[str, float]]
    errors: dict[str, EpisodeErrors]
    """`teacher`, `student` and `onnx` on the same held-out episodes."""
    goal_position: np.ndarray
    """`[N, 3]` m, of those episodes."""
    recording: Recording


def write_report(path: Path, content: Content) -> None:
    """Write the page in one step."""
    write_text(path, render(content))


def render(content: Content) -> str:
    """The page as text."""
    summary = content.summary
    body = [
        _heading(summary),
        tiles(summary),
        _stage(content),
        evaluation_card(summary, content.errors),
        workspace_card(content.errors["onnx"], content.goal_position),
        learning_card(content.teacher_metrics, content.student_metrics),
        ticks_card(summary, content.recording.tick_us),
        times_card(summary),
        certificate_card(summary),
        usage_card(summary),
        _footer(summary),
    ]
    parts = {
        "title": escape(f"Shoal: {summary['task']}"),
        "style": (_ASSETS / "style.css").read_text(),
        "script": (_ASSETS / "viewer.js").read_text(),
        "recording": _embedded(content.recording.as_json()),
        "body": "\n".join(body),
    }
    page = (_ASSETS / "page.html").read_text()
    # Split once per marker instead of replacing in turn, so that no inserted text is searched for markers.
    pieces = page.split("@")
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def _heading(summary: Numbers) -> str:
    teacher, student, runtime = summary["teacher"], summary["student"], summary["runtime"]
    notice = ""
    if summary["quick"]:
        notice = (
            '<p class="notice">A quick run at tiny size: every stage is exercised, nothing has had the time to learn. '
            "Run the demo without <code>--quick</code> for an arm that reaches its goals.</p>"
        )
    return (
        f'<p class="eyebrow">Shoal · {escape(summary["task"])}</p>'
        f"<h1>A teacher {teacher['actor_depth']} layers deep, a student that drives the arm in "
        f"{runtime['tick_us']['p50']:.0f} µs</h1>"
        f'<p class="lead">No reward, no demonstrations. The teacher learned from its own trials in simulation, a '
        f"student of {student['parameters']:,} parameters learned from the teacher, and the student became one file "
        f"that was served at {summary['rate_hz']:g} Hz and sent {runtime['goals_sent']} goal poses that no training "
        f"had seen. From nothing to here in {minutes(summary['wall_s']['total'])}.</p>{notice}"
    )


def _stage(content: Content) -> str:
    visits = content.recording.visits
    reached = sum(visit.reached_frame is not None for visit in visits)
    caption = (
        f"The exported file reaching {reached} of {len(visits)} goals, the first that the server was sent, in a second "
        "simulation that keeps every pose; drawn from the collision capsules. The sphere is the coarse tolerance, "
        f"and turns green once the pose was held for {content.summary['hold_s']:g} s. Reachable is the file's own "
        "estimate of its chances. Drag to look around."
    )
    return (_ASSETS / "stage.html").read_text().replace("@caption@", escape(caption))


def _footer(summary: Numbers) -> str:
    machine = summary["machine"]
    facts = ", ".join(f"{name} {value}" for name, value in machine.items())
    return f"<footer>Measured on: {escape(facts)}. Seed {summary['seed']}.</footer>"


def minutes(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _embedded(data: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
