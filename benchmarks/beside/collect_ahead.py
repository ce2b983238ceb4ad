"""Collection before the updates and beside them (`train-teacher --collect-ahead`), in one run: time and learning.

    python -m benchmarks.beside.collect_ahead [--quick] [--json PATH] [--cases franka_pose:4x64 ant:4x64]

Times whole rounds of both ways in turn, medians, and compares them with what the parts say: a round beside can't be
shorter than its updates, its collection, or the processor time of both over the cores. Then trains
`--learning-task` both ways from the same seeds, because the policy that collects beside is older by one round. Finished
runs are kept in `--folder` and not repeated.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json
from teacher.config import NetworkConfig, TeacherConfig
from teacher.run.folder import RunFolder
from teacher.study.runner import trained
from teacher.train import Trainer

_WAYS = {"before": False, "beside": True}
"""Name to `collect_ahead`."""
_SCORES = ("success_coarse", "success_fine")


@dataclass(frozen=True)
class Arguments:
    """Compare both ways."""

    cases: tuple[str, ...] = ("franka_pose:4x64", "franka_pose:16x64", "ant:4x64", "quadruped_walk:4x64")
    """Task, depth and width."""
    rounds: int = 7
    """Timed, of each way and case."""
    learning_task: str = "benchmarks/tasks/planar_reach.yaml"
    updates: int = 3000
    """Of the runs that learn."""
    seeds: int = 3
    """Of the runs that learn."""
    folder: Path = Path("runs/collect_ahead")
    quick: bool = False
    """One case, and one seed of 40 updates: shows that it works, not what is better."""
    json: JsonFile | None = None
    """Write the rows here too."""


def one_round(trainer: Trainer) -> tuple[dict[str, float], float, float]:
    """A round's metrics, seconds by the clock and of the processors, until its thread has nothing left to do."""
    start, processor = time.perf_counter(), time.process_time()
    row = trainer._one_round()
    if trainer._ahead is not None:
        trainer._ahead.state()
    return row, time.perf_counter() - start, time.process_time() - processor


def timed(case: str, rounds: int, folder: Path) -> dict[str, Any]:
    """One row of times."""
    task, shape = case.split(":")
    depth, width = map(int, shape.split("x"))
    network = NetworkConfig(actor_depth=depth, critic_depth=depth, width=width)
    trainers: dict[str, Trainer] = {}
    for way, ahead in _WAYS.items():
        config = TeacherConfig(task=task, backend="native", network=network, eval_envs=1, collect_ahead=ahead)
        trainers[way] = Trainer(config, RunFolder(folder / way))
        trainers[way]._prefill()
        one_round(trainers[way])  # Compiles.
    times: dict[str, list[float]] = {way: [] for way in _WAYS}
    parts = []
    for _ in range(rounds):
        for way, trainer in trainers.items():
            row, clock, processor = one_round(trainer)
            times[way].append(clock)
            if way == "before":
                parts.append((row["collect_s"], row["update_s"], processor))
    collect, update, processor = (float(value) for value in np.median(parts, axis=0))
    before, beside = (float(np.median(times[way])) for way in _WAYS)
    bound = max(collect, update, processor / (os.cpu_count() or 1))
    return {
        "case": case,
        "collect_s": collect,
        "update_s": update,
        "processor_s": processor,
        "before_s": before,
        "beside_s": beside,
        "gain": before / beside,
        "bound": before / bound,
        "bound_of_more_cores": before / max(collect, update),
    }


def learnt(arguments: Arguments, *, way: str, seed: int) -> dict[str, float]:
    """The final scores of one run."""
    per_rollout = min(100, arguments.updates)
    config = TeacherConfig(
        task=arguments.learning_task,
        backend="native",
        seed=seed,
        rollout_steps=50,
        updates_per_rollout=per_rollout,
        updates=arguments.updates,
        eval_every_rounds=10_000,
        collect_ahead=_WAYS[way],
        network=NetworkConfig(actor_depth=4, critic_depth=4, width=32),
    )
    folder = RunFolder(arguments.folder / f"{Path(arguments.learning_task).stem}_{way}_{arguments.updates}_{seed}")
    trained(config, folder)
    summary = folder.read_summary()
    return {name: summary[name] for name in _SCORES}


def main() -> None:
    """Print the tables, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.quick:
        arguments = Arguments(
            cases=("franka_pose:4x64",),
            rounds=2,
            updates=40,
            seeds=1,
            folder=arguments.folder / "quick",
            json=arguments.json,
        )
    load, console = os.getloadavg()[0], Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            timed(case, arguments.rounds, Path(folder) / str(number)) for number, case in enumerate(arguments.cases)
        ]
    columns = [name for name in rows[0] if name != "case"] if rows else []
    table = Table("case", *columns, title=f"a round; load {load:.1f} on {os.cpu_count()} cores")
    for row in rows:
        table.add_row(row["case"], *(f"{row[name]:.2f}" for name in columns))
    console.print(table)
    runs: list[dict[str, Any]] = [
        {"way": way, "seed": seed} | learnt(arguments, way=way, seed=seed)
        for seed in range(arguments.seeds)
        for way in _WAYS
    ]
    table = Table("collected", "seed", *_SCORES, title=f"{arguments.updates} updates")
    for run in runs:
        table.add_row(run["way"], str(run["seed"]), *(f"{run[name]:.1%}" for name in _SCORES))
    console.print(table)
    if arguments.json:
        settings = {"task": Path(arguments.learning_task).stem, "updates": arguments.updates}
        write_json(
            arguments.json, {"machine": machine(), "load": load, "rows": rows, "learning": settings | {"runs": runs}}
        )


if __name__ == "__main__":
    with command_line():
        main()
