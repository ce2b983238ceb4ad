"""How far robots get, and how many fall, under actions that are drawn once at random and kept.

    python -m benchmarks.learning.gait_exploration quadruped_walk ant [--robots 128] [--quick] [--json PATH]

A policy that knows nothing changes its mind slowly, and learns from what its trials come across. Where a gait is a
prior of the action, it should let robots get about in all directions and keep them on their feet; this says whether it
does before anything is trained.
Actions are anywhere in their range (`any`), or all at one end of it or the other (`ends`), the worst that there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from benchmarks.policies.onnx_evaluation import HELD_OUT_SEED, held_out_environment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.interface import action_size
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task, load_task


@dataclass(frozen=True)
class Arguments:
    """Keep random actions and see what becomes of the robots."""

    tasks: tyro.conf.Positional[tuple[str, ...]]
    """Names of shipped tasks, or YAML files, whose goals begin with a place."""
    robots: int = 128
    seconds: float = 4.0
    quick: bool = False
    """8 robots, one second."""
    json: JsonFile | None = None
    """Write the rows here too."""


def explore(task: Task, *, robots: int, seconds: float, ends: bool) -> dict[str, Any]:
    """Share of the robots that stand after some seconds, and how far those have got, m."""
    contract, env = task.contract, held_out_environment(task, robots, HELD_OUT_SEED)
    action = np.random.default_rng(0).uniform(-1, 1, (robots, action_size(contract))).astype(np.float32)
    action = np.sign(action) if ends else action
    place, standing = contract.goal.parts()[0].reading, np.ones(robots, bool)
    start = env.true_readings()[place][:, :2].copy()
    for _ in range(max(1, round(seconds / contract.timing.control_dt_s))):
        readings = {name: value.copy() for name, value in env.readings().items()}
        env.advance(contract.action.command(np, contract, action, readings))
        standing &= ~env.terminated
    way = np.linalg.norm(env.true_readings()[place][:, :2] - start, axis=-1)[standing]
    return {
        "task": contract.task,
        "actions": "ends" if ends else "any",
        "stand": float(standing.mean()),
        "way_median_m": float(np.median(way)) if len(way) else None,
        "way_p90_m": float(np.quantile(way, 0.9)) if len(way) else None,
    }


def main() -> None:
    """Print the table and write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if not arguments.tasks:
        raise ShoalError("gait_exploration: name a task or more.")
    robots, seconds = (8, 1.0) if arguments.quick else (arguments.robots, arguments.seconds)
    table = Table("task", "actions", "stand", "way, median, m", "way, 90 %, m", title=f"after {seconds:g} s")
    rows = []
    for name in arguments.tasks:
        task = load_task(Path(name) if name.endswith((".yaml", ".yml")) else name)
        for ends in (False, True):
            rows.append(explore(task, robots=robots, seconds=seconds, ends=ends))
            far = (rows[-1]["way_median_m"], rows[-1]["way_p90_m"])
            shown = ("-" if value is None else f"{value:.2f}" for value in far)
            table.add_row(rows[-1]["task"], rows[-1]["actions"], f"{rows[-1]['stand']:.0%}", *shown)
    Console().print(table)
    write_numbers(arguments.json, {"robots": robots, "seconds": seconds, "rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
