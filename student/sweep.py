"""`distill sweep`: students of many sizes from one teacher, and what each buys.

    distill sweep --teacher runs/teacher --grid 1x32 2x64 2x128-relu 4x128-plain --also runs/shallow

Each student is distilled, exported and certified as by `distill` in a folder of its own, so that a sweep called again
reads what is there and resumes what was interrupted; other settings or another teacher than there are refused. Ticks
are timed anew at every call, all policies in turn, and all are judged on the same goals.
"""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from sim2real.child_process import python_module
from sim2real.commands.outputs import JsonFile
from sim2real.errors import ShoalError
from sim2real.files import write_json, write_text
from sim2real.pages import save_figure
from sim2real.progress import Progress
from student import pipeline
from student.config import DistillConfig, StudentNetworkConfig
from student.distillation.distill import evaluation_environment
from student.history import as_teacher
from student.run import load_student
from teacher.networks import count_parameters
from teacher.policies import greedy
from teacher.run.folder import RunFolder
from teacher.trained import evaluate, load_teacher

_SIZE = re.compile(r"(\d+)x(\d+)(-relu)?(-plain)?")
Row = dict[str, Any]


@dataclass(frozen=True)
class Arguments:
    """Distil students of many sizes and draw success against tick time."""

    teacher: Path
    """Folder of the teacher's run."""
    grid: tuple[str, ...] = ("1x32", "1x128", "2x32", "2x64", "2x128", "4x64", "4x128", "8x128")
    """Hidden layers x width, then -relu instead of swish, then -plain for no LayerNorm."""
    folder: Path = Path("runs/sweep")
    """Students, `sweep.csv`, `sweep.json` and `sweep.png`."""
    also: tuple[Path, ...] = ()
    """Folders of directly trained teachers of the same task, shallow ones say, for the same axes."""
    quiet: bool = False
    """No progress, only the result."""
    json: JsonFile | None = None
    """Write the numbers of the result here, too."""
    config: tyro.conf.OmitArgPrefixes[DistillConfig] = field(default_factory=DistillConfig)


def main(arguments: list[str]) -> None:
    """`distill sweep` without its first word; errors are `ShoalError`."""
    run(tyro.cli(Arguments, args=arguments, prog="distill sweep"))


def run(arguments: Arguments) -> list[Row]:
    """Distil what is missing, measure, write and draw; returns one row for each policy."""
    networks = {size: network_of(size) for size in arguments.grid}
    for size, network in networks.items():
        # Whatever contradicts is to be known before hours of distilling.
        if (student := RunFolder(arguments.folder / size)).holds_run:
            pipeline.require_same(student, _config(arguments, network), arguments.teacher)
    with Progress("sweep", len(networks), quiet=arguments.quiet) as progress:
        students = [_student(arguments, size, network, progress) for size, network in networks.items()]
        progress.doing("evaluating teachers")
        runs = list(dict.fromkeys((arguments.teacher, *arguments.also)))
        teachers = [_teacher(run, arguments.config) for run in runs]
        progress.doing("timing")
        ticks = _ticks(runs, [arguments.folder / size / "student.onnx" for size in networks])
    rows = [row | tick for row, tick in zip(students + teachers, ticks[len(runs) :] + ticks[: len(runs)], strict=True)]
    _mark_pareto(rows)
    folder = arguments.folder
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "sweep.csv", text.getvalue())
    for path in filter(None, (folder / "sweep.json", arguments.json)):
        write_json(path, rows, indent=1)
    draw(rows, folder / "sweep.png")
    print(f"sweep: {len(rows)} policies in {folder}/sweep.csv, drawn in {folder}/sweep.png")
    return rows


def network_of(size: str) -> StudentNetworkConfig:
    """`2x64-relu-plain` as a network; `ShoalError` for anything else."""
    match = _SIZE.fullmatch(size)
    if match is None or 0 in (int(match[1]), int(match[2])):
        raise ShoalError(
            f"--grid: {size!r} is no size; write layers x width, such as 2x64, 2x64-relu, 2x64-relu-plain."
        )
    return StudentNetworkConfig(
        hidden_layers=int(match[1]),
        hidden_width=int(match[2]),
        activation="relu" if match[3] else "swish",
        layer_norm=not match[4],
    )


def flops(params: Any) -> int:
    """Two for each weight of a Dense layer: what one inference multiplies and adds."""
    return sum(2 * leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim == 2)


def _config(arguments: Arguments, network: StudentNetworkConfig) -> DistillConfig:
    return arguments.config.model_copy(update={"student": network})


def _student(arguments: Arguments, size: str, network: StudentNetworkConfig, progress: Progress) -> Row:
    folder, config = RunFolder(arguments.folder / size), _config(arguments, network)
    output = folder.path / "student.onnx"
    with progress.part(f"student {size}") as part:
        if not output.is_file():
            if folder.holds_run:
                pipeline.go_on(folder, config, part, teacher=arguments.teacher)
            else:
                pipeline.begin(arguments.teacher, folder, config, part)
            pipeline.export(folder, output, part)
    progress.advance()
    params, summary = load_student(folder.path).params.policy, folder.read_summary()
    return {
        "policy": size,
        "kind": "student",
        "depth": network.hidden_layers,
        "width": network.hidden_width,
        "parameters": count_parameters(params),
        "flops": flops(params),
        "success_coarse": summary["student"]["success_coarse"],
        "success_fine": summary["student"]["success_fine"],
    }


def _teacher(run: Path, config: DistillConfig) -> Row:
    """A directly trained policy, on the goals on which students are evaluated."""
    teacher = load_teacher(run)
    env = evaluation_environment(teacher, config)
    by_teacher = as_teacher(teacher.contract, config.student.history_steps, greedy(teacher.networks))
    score = evaluate(env, by_teacher, teacher.actor)
    network = teacher.config.network
    return {
        "policy": f"{run.name} {network.actor_depth}x{network.width}",
        "kind": "teacher",
        "depth": network.actor_depth,
        "width": network.width,
        "parameters": count_parameters(teacher.actor),
        "flops": teacher_flops(teacher.actor),
        "success_coarse": score.success_coarse,
        "success_fine": score.success_fine,
    }


def _ticks(runs: list[Path], files: list[Path]) -> list[Row]:
    """Tick times of teachers, then of policy files, from a process of its own: `student` knows nothing of `export`."""
    command = python_module("export.actor", "--teachers", *map(str, runs), "--students", *map(str, files))
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ShoalError(f"sweep: policies could not be timed: {done.stderr.strip().splitlines()[-1]}")
    return list(json.loads(done.stdout.splitlines()[-1]))


def teacher_flops(params: Any) -> int:
    """FLOPs like `flops`; the kernels of scanned blocks are stacked to three axes."""
    return sum(2 * leaf.size for path, leaf in jax.tree_util.tree_leaves_with_path(params) if "kernel" in str(path[-1]))


def _mark_pareto(rows: list[Row]) -> None:
    """`pareto` is true where no other policy is both faster and better at fine success."""
    for row in rows:
        better = (
            other["tick_us_p50"] <= row["tick_us_p50"]
            and other["success_fine"] >= row["success_fine"]
            and (other["tick_us_p50"], other["success_fine"]) != (row["tick_us_p50"], row["success_fine"])
            for other in rows
        )
        row["pareto"] = not any(better)


def draw(rows: list[Row], path: Path) -> None:
    """Fine success against tick time and against parameters; the front is joined by a line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from student.report.figures import plain_log_axis

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True, layout="constrained")
    for axis, name, label in (
        (axes[0], "tick_us_p50", "tick in ONNX Runtime, µs"),
        (axes[1], "parameters", "parameters"),
    ):
        for kind, marker, described in (("student", "o", "student"), ("teacher", "s", "trained directly")):
            some = [row for row in rows if row["kind"] == kind]
            axis.plot([row[name] for row in some], [row["success_fine"] for row in some], marker, label=described)
        for row in rows:
            axis.annotate(
                row["policy"], (row[name], row["success_fine"]), xytext=(4, 4), textcoords="offset points", fontsize=7
            )
        plain_log_axis(axis, "{x:,.0f}")
        axis.set_xlabel(label)
        axis.margins(x=0.12)  # room for the names
        axis.grid(alpha=0.3, which="both")
    front = sorted((row["tick_us_p50"], row["success_fine"]) for row in rows if row["pareto"])
    axes[0].plot(*np.array(front).T, "--", color="grey", lw=1, zorder=0, label="front")
    axes[0].set_ylabel("success, fine")
    axes[0].legend(loc="lower right")
    save_figure(figure, path)
