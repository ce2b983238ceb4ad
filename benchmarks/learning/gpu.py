"""Everything about the teacher that wants a GPU, in pieces of under ten minutes that can be called again and again.

    python -m benchmarks.learning.gpu --folder runs/gpu   # does the next piece, or several that fit into --minutes
    python -m benchmarks.learning.gpu --folder runs/gpu --report   # only the table and JSON of what is there

Pieces: compile time, one update against the published form, memory, steps per second; then, for each task, a teacher of
the given depth and width in MJX that stops at a checkpoint when its time is up and goes on at the next call, its
student, and the exported file's score on held-out goals. A finished piece is not repeated. The report names the device
that JAX saw in each piece, so a number from a CPU never passes for a GPU's.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.commands import console_script
from benchmarks.machine import machine
from benchmarks.policies.onnx_evaluation import HELD_OUT_SEED, evaluate_onnx
from sim2real.child_process import python_module
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json, write_text
from teacher.config import LearnerConfig, NetworkConfig, TeacherConfig
from teacher.run.folder import RunFolder
from teacher.train import Trainer

TASKS = ("franka_reach", "franka_pose")
SCRIPTS = ("compile_time", "teacher_update", "memory", "teacher_throughput")
"""Of this folder."""


@dataclass(frozen=True)
class Arguments:
    """Do what is missing."""

    folder: Path = Path("runs/gpu")
    """Holds the pieces' results and the runs; keep it between calls."""
    minutes: float = 9.0
    """A call begins no piece after this time, and a training saves and stops then."""
    depth: int = 1024
    width: int = 256
    updates: int = 40_000
    """Of each teacher."""
    num_envs: int = 1024
    batch_size: int = 512
    report: bool = False
    """Do nothing new."""
    quick: bool = False
    """Tiny sizes on whatever device there is: shows that every piece works."""
    json: JsonFile | None = None
    """Write the report here too."""


@dataclass(frozen=True)
class Piece:
    """One part of the work: `run(deadline)` returns its result, or None when it must be called again."""

    name: str
    run: Callable[[float], dict[str, Any] | None]


def pieces(arguments: Arguments) -> list[Piece]:
    """All pieces in order."""
    quick = ["--quick"] if arguments.quick else []
    made = [
        Piece(name, lambda deadline, name=name: _script(name, quick, arguments.folder))  # type: ignore[misc]
        for name in SCRIPTS
    ]
    for task in TASKS[:1] if arguments.quick else TASKS:
        made += [
            Piece(f"teacher_{task}", lambda deadline, task=task: train(task, arguments, deadline)),  # type: ignore[misc]
            Piece(f"student_{task}", lambda deadline, task=task: distil(task, arguments)),  # type: ignore[misc]
        ]
    return made


def _script(name: str, flags: list[str], folder: Path) -> dict[str, Any]:
    """A benchmark of its own, in a process of its own, whose JSON is the result."""
    output = folder / f"{name}.report.json"
    subprocess.run(python_module(f"benchmarks.learning.{name}", *flags, "--json", str(output)), check=True)
    result: dict[str, Any] = json.loads(output.read_text())
    return result


def teacher_config(task: str, arguments: Arguments) -> TeacherConfig:
    """The deep teacher of a task."""
    if arguments.quick:
        return TeacherConfig(
            task=task,
            backend="native",
            num_envs=8,
            rollout_steps=30,
            updates_per_rollout=5,
            updates=20,
            prefill_rollouts=1,
            replay_steps=200,
            eval_every_rounds=2,
            eval_envs=8,
            checkpoint_every_rounds=1,
            network=NetworkConfig(actor_depth=8, critic_depth=8, width=16),
            learner=LearnerConfig(batch_size=16),
        )
    return TeacherConfig(
        task=task,
        backend="mjx",
        num_envs=arguments.num_envs,
        rollout_steps=25,
        updates_per_rollout=200,
        updates=arguments.updates,
        replay_steps=1000,
        eval_every_rounds=10,
        eval_envs=512,
        checkpoint_every_rounds=5,
        network=NetworkConfig(
            actor_depth=arguments.depth, critic_depth=arguments.depth, width=arguments.width, remat=True
        ),
        learner=LearnerConfig(batch_size=arguments.batch_size, warmup_updates=1000),
    )


def train(task: str, arguments: Arguments, deadline: float) -> dict[str, Any] | None:
    """Train until the deadline and save; the summary, with hours over all calls, once the run is at its end."""
    folder = RunFolder(arguments.folder / f"{task}_teacher")
    summary = folder.path / "summary.json"
    if not summary.is_file():
        started, spent = time.monotonic(), folder.path / "seconds.json"
        before = json.loads(spent.read_text()) if spent.is_file() else 0.0
        resume = (folder.path / "config.yaml").is_file()
        trainer = Trainer(teacher_config(task, arguments), folder, resume=resume)
        score = trainer.train(until=deadline)
        write_text(spent, json.dumps(before + time.monotonic() - started))
        if score is None:
            return None
    result: dict[str, Any] = json.loads(summary.read_text())
    return result | {"hours": json.loads((folder.path / "seconds.json").read_text()) / 3600}


def distil(task: str, arguments: Arguments) -> dict[str, Any]:
    """The student of a finished teacher, exported and scored on held-out goals in native MuJoCo."""
    teacher, student = (arguments.folder / f"{task}_{name}" for name in ("teacher", "student"))
    policy = arguments.folder / f"{task}_d{teacher_config(task, arguments).network.actor_depth}.onnx"
    flags = ["--teacher", str(teacher), "--run", str(student), "--output", str(policy)]
    if arguments.quick:
        flags += [
            "--num-envs",
            "8",
            "--rounds",
            "2",
            "--updates-per-round",
            "10",
            "--reachability-episodes",
            "16",
            "--reachability-updates",
            "10",
            "--eval-envs",
            "8",
            "--hidden-width",
            "16",
        ]
    if not policy.is_file():
        subprocess.run([*console_script("distill"), *flags], check=True)
    score = evaluate_onnx(policy, 16 if arguments.quick else 512, HELD_OUT_SEED)[0]
    return score.as_dict() | {"file": policy.name}


def work(arguments: Arguments) -> None:
    """Do missing pieces until the time is up."""
    deadline = time.monotonic() + 60 * arguments.minutes
    for piece in pieces(arguments):
        path = arguments.folder / f"{piece.name}.json"
        if path.is_file():
            continue
        if time.monotonic() >= deadline:
            break
        result = piece.run(deadline)
        if result is None:
            break
        where = {"device": jax.devices()[0].device_kind, "platform": jax.default_backend(), "machine": machine()}
        write_json(path, where | {"result": result}, indent=1)


def report(arguments: Arguments) -> dict[str, Any]:
    """What is there, as a table and as plain data."""
    table = Table("piece", "device", "result", title=f"{arguments.folder}")
    found: dict[str, Any] = {}
    for piece in pieces(arguments):
        path = arguments.folder / f"{piece.name}.json"
        if not path.is_file():
            table.add_row(piece.name, "", "not done yet")
            continue
        found[piece.name] = json.loads(path.read_text())
        table.add_row(piece.name, found[piece.name]["device"], _short(found[piece.name]["result"]))
    Console().print(table)
    if arguments.json:
        write_json(arguments.json, found, indent=1)
    return found


def _short(result: dict[str, Any]) -> str:
    """One line of a result: its scores, or what its last row says."""
    rows = result.get("rows") or result.get("collecting")
    shown = (
        rows[-1]
        if rows
        else {name: result[name] for name in ("success_coarse", "success_fine", "hours") if name in result}
    )
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in shown.items()
    )


def main() -> None:
    """Work, then report."""
    arguments = tyro.cli(Arguments, description=__doc__)
    # The pieces that are processes of their own need the GPU's memory too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if not arguments.report:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        work(arguments)
    report(arguments)


if __name__ == "__main__":
    with command_line():
        main()
