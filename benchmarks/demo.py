"""The whole pipeline on one task: train, distil, export, evaluate, serve, report.

    python -m benchmarks.demo [--quick] [--output runs/demo] [--seed 0] [--json PATH]

Runs the real console scripts, then leaves in the output folder:

    summary.json    every number; written only at the end, so it is there when all went well
    student.onnx    the policy file, ready for `runtime serve`
    report.html     one self-contained page with an animation of the arm
    teacher/ student/   the runs
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.commands import run_script
from benchmarks.machine import machine
from benchmarks.policies.onnx_evaluation import HELD_OUT_SEED
from benchmarks.report.recording import goals_from_pool
from benchmarks.transport.serving import serve_goals
from runtime.goals.messages import GoalPose
from runtime.inference.policy import Policy
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError
from sim2real.files import write_json
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task

TASK = "franka_pose"
TEACHER_FLAGS = ["--actor-depth", "16", "--critic-depth", "16", "--updates", "12000"]
STUDENT_FLAGS = ["--rounds", "16", "--eval-every-rounds", "4"]
QUICK_TEACHER_FLAGS = [
    "--actor-depth",
    "4",
    "--critic-depth",
    "4",
    "--width",
    "32",
    "--updates",
    "40",
    "--updates-per-rollout",
    "20",
    "--num-envs",
    "16",
    "--prefill-rollouts",
    "1",
    "--eval-envs",
    "16",
    "--eval-every-rounds",
    "1",
]
QUICK_STUDENT_FLAGS = [
    "--num-envs",
    "16",
    "--rounds",
    "2",
    "--updates-per-round",
    "20",
    "--reachability-episodes",
    "32",
    "--reachability-updates",
    "20",
    "--eval-every-rounds",
    "1",
    "--eval-envs",
    "16",
    "--hidden-width",
    "32",
]
SERVED_SEED = 9_000_011
"""Of the goals that the server is sent; nothing else draws from it."""
_MARKER = ".shoal-demo"
_OURS = ("summary.json", "report.html", "student.onnx", "teacher", "student")


@dataclass(frozen=True)
class Arguments:
    """Train, distil, export, evaluate, serve and report on a simulated arm."""

    quick: bool = False
    """Under a minute at tiny size: exercises every stage, learns nothing worth showing."""
    output: Path = Path("runs/demo")
    """Folder for everything; an earlier demo in it is replaced."""
    json: JsonFile | None = None
    """Write the summary here too."""
    seed: int = 0


@dataclass
class Stages:
    """Announces stages and keeps their wall-clock times."""

    wall_s: dict[str, float] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)
    console: Console = field(default_factory=Console)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Time a block."""
        self.console.rule(f"[bold]{name.replace('_', ' ')}[/]: {what}", align="left")
        started = time.monotonic()
        yield
        self.wall_s[name] = round(time.monotonic() - started, 2)

    def times(self) -> dict[str, float]:
        """All stages and the total so far."""
        return self.wall_s | {"total": round(time.monotonic() - self.started_s, 2)}


def main() -> None:
    """Exit status 2 and one sentence when a stage fails."""
    arguments = tyro.cli(Arguments)
    signal.signal(signal.SIGTERM, _terminated)
    if arguments.quick:
        _compile_cheaply()
    run(arguments)


def run(arguments: Arguments) -> dict[str, Any]:
    """Run every stage in turn; returns the summary."""
    output, stages = arguments.output, Stages()
    prepare(output)
    policy = output / "student.onnx"
    teacher_flags, student_flags = _flags(arguments)
    with stages.stage("train_teacher", "deep contrastive goal-conditioned learning, no reward"):
        folder = str(output / "teacher")
        run_script("train-teacher", "--task", TASK, "--run", folder, *teacher_flags)
    with stages.stage("distill", "into a shallow student, exported and certified as one ONNX file"):
        folders = ("--teacher", str(output / "teacher"), "--run", str(output / "student"))
        run_script("distill", *folders, "--output", str(policy), *student_flags)
    episodes = 32 if arguments.quick else 256
    with stages.stage("evaluate", f"teacher, student and file on {episodes} goals that nothing was selected on"):
        from benchmarks.policies.comparison import compare

        compared = compare(output, policy, episodes=episodes, seed=HELD_OUT_SEED + arguments.seed)
    goals = served_goals(3 if arguments.quick else 25, arguments.seed)
    with stages.stage("serve", f"in real time, {len(goals)} goals through the socket"):
        served = serve_goals(policy, goals, timeout_s=1.0 if arguments.quick else 5.0)
    summary = _summary(arguments, compared.scores, served)
    with stages.stage("report", "recording the animation"):
        from benchmarks.report.page import write_report

        content = compared.content(summary, policy, goals[:12], longest_s=1.0 if arguments.quick else 5.0)
        summary["wall_s"] = stages.times()
        write_report(output / "report.html", content)
    summary["wall_s"] = stages.times()
    _write_summary(summary, output / "summary.json", arguments.json)
    _print(stages.console, summary, output)
    return summary


def prepare(output: Path) -> None:
    """An empty output folder; removes an earlier demo's files, and refuses a folder with anything else's."""
    marker = output / _MARKER
    if output.exists() and not marker.exists() and any(output.iterdir()):
        raise ShoalError(f"{output}: holds files that are not an earlier demo's; choose another --output.")
    for name in _OURS:
        path = output / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    marker.touch()


def served_goals(count: int, seed: int) -> list[GoalPose]:
    """Reachable goal poses from a seed of their own."""
    return goals_from_pool(sample_goal_pool(load_task(TASK), size=count, seed=SERVED_SEED + seed), count)


def _flags(arguments: Arguments) -> tuple[list[str], list[str]]:
    seed = ["--seed", str(arguments.seed)]
    if arguments.quick:
        return QUICK_TEACHER_FLAGS + seed, QUICK_STUDENT_FLAGS + seed
    return TEACHER_FLAGS + seed, STUDENT_FLAGS + seed


def _compile_cheaply() -> None:
    """A quick run is nearly all compilation, so compile without optimisation, in half the time."""
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_optimization_level=0".strip()


def _summary(arguments: Arguments, scores: dict[str, dict[str, Any]], served: dict[str, Any]) -> dict[str, Any]:
    output, policy = arguments.output, Policy(arguments.output / "student.onnx")
    contract, certificate = policy.contract, policy.certificate
    teacher, student = (json.loads((output / name / "summary.json").read_text()) for name in ("teacher", "student"))
    content = policy.path.read_bytes()
    numbers = certificate.model_dump(exclude={"contract_sha256", "golden_inputs", "golden_outputs", "versions"})
    depths = {key: teacher[key] for key in ("parameters", "actor_depth", "critic_depth", "width", "updates")}
    goal = contract.goal
    return {
        "task": contract.task,
        "quick": arguments.quick,
        "seed": arguments.seed,
        "rate_hz": round(1 / contract.timing.control_dt_s, 6),
        "hold_s": goal.hold_s,
        "tolerance": {
            "coarse": {"position_m": goal.coarse_position_m, "angle_deg": goal.coarse_angle_deg},
            "fine": {"position_m": goal.fine_position_m, "angle_deg": goal.fine_angle_deg},
        },
        "contract_sha256": contract.digest,
        "file": str(policy.path),
        "example_goal_m": [
            round((low + high) / 2, 2) for low, high in zip(goal.position_min_m, goal.position_max_m, strict=True)
        ],
        "teacher": scores["teacher"] | depths,
        "student": scores["student"] | {"parameters": student["parameters"]},
        "export": scores["onnx"] | numbers | {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        "reachability": student["reachability"],
        "runtime": served,
        "machine": machine(),
    }


def _write_summary(summary: dict[str, Any], *paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            write_json(path, summary)


def _print(console: Console, summary: dict[str, Any], output: Path) -> None:
    table = Table("", "coarse", "fine", "parameters", title=f"{summary['task']}, {summary['wall_s']['total']:.0f} s")
    for name, key in (("teacher", "teacher"), ("student", "student"), ("exported file", "export")):
        part = summary[key]
        table.add_row(name, f"{part['success_coarse']:.1%}", f"{part['success_fine']:.1%}", f"{part['parameters']:,}")
    console.print(table)
    runtime = summary["runtime"]
    tick = runtime["tick_us"]
    console.print(
        f"served: {runtime['goals_reached']} of {runtime['goals_sent']} new goals reached, "
        f"tick p50 {tick['p50']:.0f} µs, p99 {tick['p99']:.0f} µs, {runtime['missed_periods']} periods missed"
    )
    console.print(f"report: {output / 'report.html'}", soft_wrap=True)


def _terminated(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    with command_line():
        main()
