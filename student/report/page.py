"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sim2real.contract import Contract
from sim2real.files import write_text
from student.network import StudentPolicy
from student.report.comparison import Comparison
from student.report.figures import action_error_over_time, reliability_diagram, similarity, success_by_region
from student.report.measure import Measured, measure
from teacher.growth.stages import Stage
from teacher.trained import Teacher

_WORST = 8
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } img { max-width: 100%; height: auto }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #ddd } td, th { border-color: #444 }
  img { background: white } }
"""


def write_student_report(
    path: Path,
    teacher: Teacher,
    policy: StudentPolicy,
    params: Any,
    summary: dict[str, Any],
    *,
    episodes: int,
    comparison: Comparison | None = None,
) -> str:
    """Measure, draw and write in one step; returns the sentence about what the teacher bought, if there is one."""
    direct = None if comparison is None else comparison.direct
    measured = measure(teacher, policy, params, episodes=episodes, direct=direct)
    bought = "" if comparison is None else comparison.sentence(measured, summary)
    write_text(path, render(teacher.contract, measured, summary, teacher.stages, bought))
    return bought


def render(
    contract: Contract, measured: Measured, summary: dict[str, Any], stages: Sequence[Stage] = (), bought: str = ""
) -> str:
    """The page as text; with the curve by depth of a teacher that grew, and with what a deep teacher bought."""
    sections = [
        ("Success", _scores(measured, summary) + (f"<p>{escape(bought)}</p>" if bought else "")),
        ("By region of the goal box", _image(success_by_region(contract, measured), "success by region")),
        ("Worst goals of the student", _worst(contract, measured)),
        ("Over an episode", _image(action_error_over_time(contract, measured), "action error over time")),
        ("Representations", _image(similarity(measured), "similarity of representations")),
        ("Reachability", _reachability(summary["reachability"])),
    ]
    if stages:
        sections.append(("Success of the teacher by depth", _by_depth(stages)))
    title = f"Student report: {escape(contract.task)}"
    body = "".join(f"<h2>{name}</h2>{content}" for name, content in sections)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
        f"<p>{measured.student.fine.size} held-out goals, attempted by all from the same starts.</p>{body}</html>\n"
    )


def _scores(measured: Measured, summary: dict[str, Any]) -> str:
    rows = []
    for name, errors, parameters in (
        ("teacher", measured.teacher, summary["teacher_parameters"]),
        ("student", measured.student, summary["parameters"]),
    ):
        final = 1e3 * np.median(errors.position_m[-1])
        cells = (f"{errors.coarse.mean():.1%}", f"{errors.fine.mean():.1%}", f"{final:.1f} mm", f"{parameters:,}")
        rows.append([name, *cells])
    both = (
        np.mean(measured.teacher.fine & ~measured.student.fine),
        np.mean(~measured.teacher.fine & measured.student.fine),
    )
    note = f"<p>Only the teacher reaches {both[0]:.1%} of the goals (fine), only the student {both[1]:.1%}.</p>"
    return _table(["", "coarse", "fine", "median distance at the end", "parameters"], rows) + note


def _worst(contract: Contract, measured: Measured) -> str:
    """Goals where the student ends farthest from where it should be."""
    position, angle = measured.student.position_m[-1], measured.student.angle_deg[-1]
    scaled = np.maximum(position / contract.goal.fine_position_m, angle / contract.goal.fine_angle_deg)
    rows = []
    for index in np.argsort(-scaled)[:_WORST]:
        numbers = measured.request[index].round(2) + 0.0  # no "-0.00"
        ended = f"{1e3 * position[index]:.1f} mm, {angle[index]:.1f}°"
        of_teacher = (
            f"{1e3 * measured.teacher.position_m[-1, index]:.1f} mm, {measured.teacher.angle_deg[-1, index]:.1f}°"
        )
        rows.append([", ".join(f"{number:.2f}" for number in numbers), ended, of_teacher])
    return _table(["goal", "student ends at", "teacher ends at"], rows)


def _reachability(report: dict[str, Any]) -> str:
    numbers = {name: value for name, value in report.items() if name != "reliability"}
    rows = [[escape(name.replace("_", " ")), f"{value:.3g}"] for name, value in numbers.items()]
    image = _image(reliability_diagram(report["reliability"]), "reliability diagram")
    note = "<p>P(goal reached), judged on episodes that neither head nor calibration saw; critic: its value alone.</p>"
    return note + _table(["", ""], rows) + image


def _by_depth(stages: Sequence[Stage]) -> str:
    rows = [
        [
            str(stage.depth),
            f"{stage.success_coarse:.1%}",
            f"{stage.success_fine:.1%}",
            f"{stage.updates:,}",
            f"{stage.seconds:,.0f}",
            escape(stage.why),
        ]
        for stage in stages
    ]
    return _table(["depth", "coarse at its end", "fine", "updates", "seconds", "then"], rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _image(content: bytes, text: str) -> str:
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'
