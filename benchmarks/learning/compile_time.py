"""Does compile time grow with depth? First compilation of the learner's update, depth by depth, in one run.

    python -m benchmarks.learning.compile_time [--quick] [--json PATH]

The ratio to the shallowest depth is what to quote: blocks are scanned, so it should stay near 1. Then two starts of a
training of ten updates, the first with an empty folder of compiled programs, the second with what the first left there.
Processor time is that of all threads, whatever else the machine does.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.commands import console_script
from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.interface import goal_size, observation_size
from sim2real.tasks.task import load_task
from teacher import replay
from teacher.config import LearnerConfig, NetworkConfig
from teacher.learner import Learner


@dataclass(frozen=True)
class Arguments:
    """Compile one update at several depths."""

    depths: tuple[int, ...] = (4, 64, 256, 1024)
    width: int = 64
    batch_size: int = 256
    repeats: int = 3
    """The median of so many compilations counts."""
    quick: bool = False
    """Depths 4 and 1024, once each."""
    json: JsonFile | None = None
    """Write the rows here too."""


def compile_seconds(depth: int, width: int, batch_size: int) -> float:
    """Time to lower and compile one update of actor and critic at this depth, without running it."""
    contract = load_task("franka_pose").contract
    network = NetworkConfig(actor_depth=depth, critic_depth=depth, width=width)
    learner = Learner(contract, network, LearnerConfig(batch_size=batch_size), 1000)
    sizes = {"observation": observation_size(contract), "goal": goal_size(contract), "action": 7}
    state = jax.eval_shape(learner.init, jax.random.key(0))
    buffer = jax.eval_shape(lambda: replay.create(capacity=200, num_envs=16, **sizes))
    start = time.perf_counter()
    Learner.update_many.lower(learner, state, buffer, jax.random.key(0), 1).compile()
    return time.perf_counter() - start


def starts(depth: int, width: int) -> list[dict[str, Any]]:
    """Seconds by the clock and of the processors of two trainings of ten updates, and the programs that each
    compiled.
    """
    sizes = {"updates": 10, "updates-per-rollout": 10, "num-envs": 16, "rollout-steps": 50, "eval-envs": 16}
    sizes |= {"actor-depth": depth, "critic-depth": depth, "width": width}
    flags = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        environment = kept | {"XDG_CACHE_HOME": scratch}
        known: set[Path] = set()
        for start in ("first", "second"):
            began, spent = time.perf_counter(), _processor_seconds()
            command = [*console_script("train-teacher"), "--run", f"{scratch}/{start}", *flags]
            subprocess.run(command, check=True, capture_output=True, env=environment)
            row = {"start": start, "wall_s": time.perf_counter() - began, "processor_s": _processor_seconds() - spent}
            there = {*Path(scratch).glob("shoal/xla/*/*-cache")}
            rows.append(row | {"compiled": len(there - known)})
            known = there
    return rows


def _processor_seconds() -> float:
    """Of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments)
    depths, repeats = ((4, 1024), 1) if arguments.quick else (arguments.depths, arguments.repeats)
    times: dict[int, list[float]] = {depth: [] for depth in depths}
    # Interleaved, so that a machine that gets slower does not fall on one depth alone.
    for _ in range(repeats):
        for depth in depths:
            times[depth].append(compile_seconds(depth, arguments.width, arguments.batch_size))
    medians = {depth: sorted(values)[len(values) // 2] for depth, values in times.items()}
    rows = [
        {"depth": depth, "compile_s": value, "ratio": value / medians[depths[0]]} for depth, value in medians.items()
    ]
    table = Table("depth", "compile, s", "ratio", title=f"first compilation of one update, width {arguments.width}")
    for row in rows:
        table.add_row(f"{row['depth']:.0f}", f"{row['compile_s']:.1f}", f"{row['ratio']:.2f}")
    begun, both = starts(depths[0], arguments.width), Table("start", "s", "processor s", "programs compiled")
    for start in begun:
        both.add_row(start["start"], f"{start['wall_s']:.1f}", f"{start['processor_s']:.1f}", str(start["compiled"]))
    for each in (table, both):
        Console().print(each)
    write_numbers(arguments.json, {"rows": rows, "starts": begun})


if __name__ == "__main__":
    with command_line():
        main()
