"""The cards of the report, each one function from numbers to HTML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from benchmarks.report.charts import Axis, Line, bars, cumulative, histogram, legend, lines, scatter
from sim2real.evaluation.success import EpisodeErrors

Numbers = dict[str, Any]
_NAMES = {"teacher": "teacher", "student": "student", "onnx": "exported file"}


def tiles(summary: Numbers) -> str:
    """The four numbers of the headline."""
    teacher, student, export, runtime = (summary[key] for key in ("teacher", "student", "export", "runtime"))
    tick = runtime["tick_us"]
    ratio = teacher["actor_parameters"] / student["parameters"]
    return (
        '<div class="tiles">'
        + "".join(
            (
                _tile(
                    "Held-out goals reached",
                    f"{100 * export['success_coarse']:.1f}<small> %</small>",
                    f"teacher {100 * teacher['success_coarse']:.1f} %; within the fine tolerance "
                    f"{100 * export['success_fine']:.1f} %, teacher {100 * teacher['success_fine']:.1f} %",
                ),
                _tile(
                    "Fewer parameters",
                    f"{ratio:.0f}<small> &times;</small>" if ratio >= 10 else f"{ratio:.1f}<small> &times;</small>",
                    f"{student['hidden_layers']} hidden layers instead of {teacher['actor_depth']}, "
                    f"{student['parameters']:,} parameters instead of {teacher['actor_parameters']:,}",
                ),
                _tile(
                    "Tick, median",
                    f"{tick['p50']:.0f}<small> µs</small>",
                    f"99 % within {tick['p99']:.0f} µs, 99.9 % within {tick['p999']:.0f} µs, served in real time",
                ),
                _tile(
                    "New goals reached",
                    f"{runtime['goals_reached']}<small> / {runtime['goals_sent']}</small>",
                    _serving(runtime["median_time_s"]),
                ),
            )
        )
        + "</div>"
    )


def evaluation_card(summary: Numbers, errors: dict[str, EpisodeErrors]) -> str:
    """Teacher, student and file on the same episodes."""
    scores = {"teacher": summary["teacher"], "student": summary["student"], "onnx": summary["export"]}
    series = {
        _NAMES[key]: (key, [score["success_coarse"], score["success_fine"], score["time_at_goal"]])
        for key, score in scores.items()
    }
    # The student's curve would lie under the file's.
    final = {key: errors[key] for key in ("teacher", "onnx")}
    distance = {_NAMES[key]: (key, 1e3 * error.position_m[-1]) for key, error in final.items()}
    angle = {_NAMES[key]: (key, error.angle_deg[-1]) for key, error in final.items()}
    tolerance = summary["tolerance"]
    coarse, fine = tolerance["coarse"], tolerance["fine"]
    return _card(
        "Teacher against student",
        f"The same {scores['onnx']['episodes']} episodes in native MuJoCo for all three, with starts and goals that "
        "were used neither for training nor for its evaluations. Coarse: "
        f"within {100 * coarse['position_m']:g} cm and {coarse['angle_deg']:g}°; fine: within "
        f"{100 * fine['position_m']:g} cm and {fine['angle_deg']:g}°; both held for the last "
        f"{summary['hold_s']:g} s.",
        legend({_NAMES[key]: key for key in scores})
        + '<div class="columns"><div>'
        + bars("Success of teacher, student and file", ["coarse", "fine", "time at goal"], series)
        + "</div><div>"
        + _score_table(scores)
        + "</div><div><h3>Final distance</h3>"
        + cumulative(
            "Cumulative share of episodes by final distance",
            distance,
            high=80,
            label="mm",
            markers={"fine": 1e3 * fine["position_m"], "coarse": 1e3 * coarse["position_m"]},
        )
        + "</div><div><h3>Final angle</h3>"
        + cumulative(
            "Cumulative share of episodes by final angle",
            angle,
            high=32,
            label="degrees",
            markers={"fine": fine["angle_deg"], "coarse": coarse["angle_deg"]},
        )
        + "</div></div>",
    )


def workspace_card(errors: EpisodeErrors, position: np.ndarray) -> str:
    """Where in the workspace goals are reached, and where not."""
    outcome = np.where(errors.fine, "fine", np.where(errors.coarse, "coarse", "missed")).tolist()
    notes = [
        f"{1e3 * distance:.0f} mm, {angle:.1f} degrees"
        for distance, angle in zip(errors.position_m[-1], errors.angle_deg[-1], strict=True)
    ]
    low, high = position.min(axis=0) - 0.03, position.max(axis=0) + 0.03
    views = [("From above", 1, 0, "y, m", "x, m"), ("From the front", 1, 2, "y, m", "z, m")]
    drawn = [
        f"<div><h3>{name}</h3>"
        + scatter(
            f"Goals by position, {name.lower()}",
            position[:, a],
            position[:, b],
            outcome,
            Axis(float(low[a]), float(high[a]), a_label),
            Axis(float(low[b]), float(high[b]), b_label),
            notes,
        )
        + "</div>"
        for name, a, b, a_label, b_label in views
    ]
    return _card(
        "Where the goals were",
        "Every held-out goal of the exported file, by how its episode ended. Point at one for its final error.",
        legend({"fine": "fine", "coarse": "coarse", "missed": "missed"})
        + f'<div class="columns">{"".join(drawn)}</div>',
    )


def learning_card(teacher: Sequence[dict[str, float]], student: Sequence[dict[str, float]]) -> str:
    """Learning curves of both runs."""
    drawn = []
    for name, colour, rows in (("Teacher", "teacher", teacher), ("Student", "student", student)):
        scored = [row for row in rows if "success_coarse" in row]
        updates = [row["updates"] for row in scored]
        curves = [
            Line("coarse", colour, updates, [row["success_coarse"] for row in scored]),
            Line("fine", colour, updates, [row["success_fine"] for row in scored], dashed=True),
        ]
        last = max([*updates, 1])
        drawn.append(
            f"<div><h3>{name}</h3>"
            + lines(f"{name}: success over updates", curves, Axis(0, last, "updates"), Axis(0, 1.04, percent=True))
            + "</div>"
        )
    return _card(
        "Learning",
        "Success on the runs' own evaluation goals: coarse solid, fine dashed.",
        f'<div class="columns">{"".join(drawn)}</div>',
    )


def ticks_card(summary: Numbers, tick_us: np.ndarray) -> str:
    """Tick times, and what the reachability estimate is worth."""
    runtime, reach = summary["runtime"], summary["reachability"]
    served = runtime["tick_us"]
    markers = {f"served p50 {served['p50']:.0f} µs": served["p50"], f"served p99 {served['p99']:.0f} µs": served["p99"]}
    rows = [
        ("Ticks served", f"{runtime['ticks']:,}"),
        ("Readings to command, p50 / p99 / p99.9", _triple(served)),
        ("The same, and the simulated robot", _triple(runtime["loop_us"])),
        ("Periods missed", f"{runtime['missed_periods']}"),
        ("Reachability: expected calibration error", f"{reach['expected_calibration_error']:.3f}"),
        ("Reachability: area under the ROC curve", f"{reach['auroc']:.3f}"),
        ("Reachability: episodes judged", f"{reach['episodes']:,}, {100 * reach['reached_share']:.0f} % reached"),
    ]
    return _card(
        "On the robot's side",
        "A tick turns readings into joint targets: safety checks, inference, limits. The bars are the ticks of the "
        "animation above, run back to back; the dashed lines are the served loop, which sleeps between ticks and so "
        "meets colder caches. With every command the file also says how likely it is to reach the goal, "
        "calibrated on episodes of which half had goals that may be out of reach.",
        '<div class="columns"><div>'
        + histogram("Tick times", tick_us, label="µs", markers=markers)
        + f"</div><div>{_pairs(rows, wrap=False)}</div></div>",
    )


def times_card(summary: Numbers) -> str:
    """Where the time went."""
    stages = {name: seconds for name, seconds in summary["wall_s"].items() if name != "total"}
    longest = max(stages.values())
    rows = "".join(
        f'<tr><td>{escape(name.replace("_", " "))}</td><td class="number">{seconds:.1f} s</td>'
        f'<td style="width:55%"><span class="bar" style="width:{100 * seconds / longest:.1f}%"></span></td></tr>'
        for name, seconds in stages.items()
    )
    total = f'<tr><td><b>total</b></td><td class="number"><b>{summary["wall_s"]["total"]:.1f} s</b></td><td></td></tr>'
    return _card("Time", "Wall clock of every stage.", f"<table>{rows}{total}</table>")


def certificate_card(summary: Numbers) -> str:
    """What the file says about itself."""
    export = summary["export"]
    rows = [
        ("Contract", f"<code>{escape(summary['contract_sha256'])}</code>"),
        ("File", f"<code>{escape(export['sha256'])}</code>"),
        ("JAX against ONNX Runtime", f"at most {export['max_abs_error']:.1e} over {export['samples']:,} inputs"),
        (
            "Size",
            f"{export['bytes'] / 1024:.0f} kB, {export['nodes']} nodes, opset {export['opset']}",
        ),
        ("Inference when exported", f"p50 {export['tick_us_p50']:.0f} µs, p99 {export['tick_us_p99']:.0f} µs"),
    ]
    return _card(
        "Contract and certificate",
        "Both travel inside the file. The contract states joints, limits, gains, units, frames and rates; the "
        "certificate was measured when the file was written, and the runtime re-checks it wherever it is loaded.",
        _pairs(rows),
    )


def usage_card(summary: Numbers) -> str:
    """How to use the file."""
    position = ", ".join(f"{value:.2f}" for value in summary["example_goal_m"])
    serve = (
        f"runtime serve --model {summary['file']}\n"
        f"runtime goal --position {position.replace(',', '')} --wait      # in another terminal"
    )
    code = (
        'controller = Controller("student.onnx")\n'
        f"controller.set_goal(GoalPose(position=({position})))\n"
        "data.ctrl[:] = controller.step(data)                # before every mj_step"
    )
    return _card(
        "Use the file",
        "Served, from a shell; or inside your own MuJoCo loop, after "
        "<code>from runtime import Controller, GoalPose</code>.",
        f"<pre>{escape(serve)}</pre><pre>{escape(code)}</pre>",
    )


def _tile(name: str, value: str, detail: str) -> str:
    return (
        f'<div class="tile"><div class="name">{name}</div><b>{value}</b>'
        f'<div class="detail">{escape(detail)}</div></div>'
    )


def _card(title: str, about: str, content: str) -> str:
    return f'<section class="card"><h2>{title}</h2><p class="about">{about}</p>{content}</section>'


def _pairs(rows: Sequence[tuple[str, str]], *, wrap: bool = True) -> str:
    kind = "" if wrap else ' class="number"'
    cells = "".join(f"<tr><td>{name}</td><td{kind}>{value}</td></tr>" for name, value in rows)
    return f'<div class="scroll"><table>{cells}</table></div>'


def _score_table(scores: dict[str, Numbers]) -> str:
    head = "".join(f'<th class="number">{_NAMES[key]}</th>' for key in scores)
    lines_of: dict[str, Callable[[Numbers], str]] = {
        "reached, coarse": lambda s: f"{100 * s['success_coarse']:.1f} %",
        "reached, fine": lambda s: f"{100 * s['success_fine']:.1f} %",
        "time at goal": lambda s: f"{100 * s['time_at_goal']:.1f} %",
        "median distance": lambda s: f"{1e3 * s['position_error_m']:.1f} mm",
        "median angle": lambda s: f"{s['angle_error_deg']:.1f}°",
        "parameters that act": lambda s: f"{s.get('actor_parameters', s['parameters']):,}",
    }
    body = ""
    for name, show in lines_of.items():
        cells = "".join(f'<td class="number">{show(score)}</td>' for score in scores.values())
        body += f"<tr><td>{name}</td>{cells}</tr>"
    return f'<div class="scroll"><table><tr><th></th>{head}</tr>{body}</table></div>'


def _triple(times: Numbers) -> str:
    return f"{times['p50']:.0f} / {times['p99']:.0f} / {times['p999']:.0f} µs"


def _serving(median_s: float | None) -> str:
    how = "sent to the running server, one after the other"
    return how if median_s is None else f"{how}; median {median_s:.2f} s each, hold included"
