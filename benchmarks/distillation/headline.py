"""The picture for README: fine success against the time of a tick, for shallow policies, deep teachers and students.

    python -m benchmarks.distillation.headline [--output docs/images/headline.png] [--json PATH]

Nothing is trained or timed here: success comes from `benchmarks/results/control_*.json`
(`benchmarks.distillation.control_experiment`), times from `benchmarks/results/policy_latency_*.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks.distillation.cases import SETTINGS, Setting
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.files import write_json
from sim2real.pages import save_figure

RESULTS = Path(__file__).parents[1] / "results"
_STYLE = {
    "a": ("shallow, trained directly", "s", "#d95f02"),
    "b": ("shallow, as long as the teacher", "D", "#e6ab02"),
    "w": ("shallow and wide", "v", "#a6761d"),
    "c": ("deep teacher", "^", "#1b9e77"),
    "g": ("distilled student", "o", "#7570b3"),
}


@dataclass(frozen=True)
class Arguments:
    """Draw the headline figure from committed results."""

    results: Path = RESULTS
    output: Path = Path("docs/images/headline.png")
    quick: bool = False
    """Makes no difference: nothing is measured."""
    json: JsonFile | None = None
    """Write the points here too."""


def points(results: Path) -> list[dict[str, Any]]:
    """One point for each task and case: microseconds, success, interval."""
    out = []
    for task, setting in SETTINGS.items():
        control, latency = (results / f"{kind}_{task}.json" for kind in ("control", "policy_latency"))
        lines = _read(control, f"distillation.control_experiment --tasks {task} --json {control}")["summary"]
        command = _latency_command(setting, latency)
        times = {row["policy"]: row["paced_p50_us"] for row in _read(latency, command)["rows"]}
        for line in (line for line in lines if line["case"] in _STYLE):
            policy = policy_name(setting, line["case"])
            if policy not in times:
                raise ShoalError(f"{latency}: has no {policy}; python -m benchmarks.{command} measures it.")
            names = ("task", "case", "seeds", "parameters", "success_fine", "success_fine_ci95")
            out.append({name: line[name] for name in names} | {"policy": policy, "tick_us": times[policy]})
    return out


def _read(path: Path, command: str) -> dict[str, Any]:
    if not path.is_file():
        raise ShoalError(f"{path}: missing; python -m benchmarks.{command} writes it.")
    return dict(json.loads(path.read_text()))


def _latency_command(setting: Setting, path: Path) -> str:
    """Command of the script that times the networks of a task's cases."""
    sizes: dict[str, list[str]] = {"teacher": [], "student": []}
    for case in _STYLE:
        kind, size = policy_name(setting, case).split()
        sizes[kind] = list(dict.fromkeys([*sizes[kind], size]))
    shown = " ".join(f"--{kind}s {' '.join(names)}" for kind, names in sizes.items())
    return f"latency.policy_latency --task {setting.task} {shown} --json {path}"


def policy_name(setting: Setting, case: str) -> str:
    """Under which `benchmarks.latency.policy_latency` lists the network of a case."""
    if case == "g":
        return f"student {setting.student.hidden_layers}x{setting.student.hidden_width}"
    depth = setting.deep_depth if case == "c" else setting.shallow_depth
    return f"teacher {depth}x{setting.wide_width if case == 'w' else setting.teacher['network']['width']}"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """One panel for each task."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from student.report.figures import plain_log_axis

    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure, axes = plt.subplots(1, len(tasks), figsize=(5.4 * len(tasks), 4.0), squeeze=False, layout="constrained")
    for axis, task in zip(axes[0], tasks, strict=True):
        for row in (row for row in rows if row["task"] == task):
            label, marker, colour = _STYLE[row["case"]]
            axis.errorbar(
                row["tick_us"],
                row["success_fine"],
                yerr=row["success_fine_ci95"],
                fmt=marker,
                color=colour,
                ms=9,
                capsize=3,
                label=label,
            )
        seeds = next(row["seeds"] for row in rows if row["task"] == task)
        plain_log_axis(axis)
        axis.set(ylim=(0, 1.03), title=f"{task}, {seeds} seeds", xlabel="one inference in ONNX Runtime, µs")
        axis.margins(x=0.1)
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("success, fine")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path, dpi=140)


def main() -> None:
    """Draw, and print the points."""
    arguments = tyro.cli(Arguments, description=__doc__)
    rows = points(arguments.results)
    draw(rows, arguments.output)
    for row in rows:
        half = "" if row["success_fine_ci95"] is None else f" ± {row['success_fine_ci95']:.1%}"
        print(
            f"{row['task']}: {_STYLE[row['case']][0]} ({row['policy']}, {row['parameters']:,} parameters): "
            f"{row['success_fine']:.1%}{half} fine, {row['tick_us']:.0f} us"
        )
    if arguments.json:
        write_json(arguments.json, rows, indent=1)


if __name__ == "__main__":
    with command_line():
        main()
