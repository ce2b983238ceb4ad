"""Whether choosing the depth while training pays: `--depth auto` beside fixed depths, for the same work.

    python -m benchmarks.depth.growth [--task swimmer] [--seeds 2] [--updates 6000] [--json PATH] [--quick]

All runs have one width and one recipe. Work is that of `--updates` updates of the deepest fixed network: the time of an
update at each depth is measured first, all in turn, and a run is read as long as the updates that it has made, each at
the time of the depth that it had, are within it; so other work on the machine moves all alike. A score is the mean of
the last three evaluations until then. Finished runs are kept in `--folder` and not repeated; interrupted ones go on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.depth.controls import Arguments as Controls
from benchmarks.depth.controls import Cell, update_times_ms
from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from teacher.config import GrowthConfig, LearnerConfig, NetworkConfig, TeacherConfig
from teacher.run.folder import RunFolder
from teacher.study.runner import trained

_READ = 3
"""Evaluations that make a score."""


@dataclass(frozen=True)
class Arguments:
    """Train fixed depths and one that grows."""

    task: str = "swimmer"
    depths: tuple[int, ...] = (4, 16)
    """Fixed ones, the deepest last; growing begins with the first and may reach the last."""
    width: int = 64
    seeds: int = 2
    updates: int = 6000
    """Of the deepest."""
    updates_per_rollout: int = 300
    num_envs: int = 64
    eval_envs: int = 128
    gamma: float = 0.99
    chunk: int = 3000
    """Updates by which a run goes on until it has had its work."""
    folder: Path = Path("runs/depth_growth")
    quick: bool = False
    """Tiny networks and 60 updates: shows that it works, not what is better."""
    json: JsonFile | None = None


def quick(arguments: Arguments) -> Arguments:
    """The same with 60 updates."""
    tiny: dict[str, Any] = {"depths": (4, 8), "width": 16, "updates": 60, "chunk": 60, "updates_per_rollout": 30}
    return replace(arguments, **tiny, num_envs=8, eval_envs=8, seeds=1, folder=arguments.folder / "quick")


def _all_depths(arguments: Arguments) -> list[int]:
    """Those that a growing run may have."""
    depths = [arguments.depths[0]]
    while depths[-1] < arguments.depths[-1]:
        depths.append(2 * depths[-1])
    return depths


def _config(depth: int | None, seed: int, updates: int, arguments: Arguments) -> TeacherConfig:
    first, deepest = arguments.depths[0], arguments.depths[-1]
    size = {"width": arguments.width, "block_size": first}
    fixed = {"actor_depth": depth, "critic_depth": depth}
    return TeacherConfig(
        task=arguments.task,
        backend="native",
        seed=seed,
        num_envs=arguments.num_envs,
        updates_per_rollout=arguments.updates_per_rollout,
        updates=updates,
        eval_every_rounds=2,
        eval_envs=arguments.eval_envs,
        network=NetworkConfig.model_validate(size | ({"depth": "auto"} if depth is None else fixed)),
        growth=GrowthConfig() if depth else GrowthConfig(max_depth=deepest),
        learner=LearnerConfig(gamma=arguments.gamma, critic_sees="way", final_learning_rate_fraction=1.0),
    )


def run(depth: int | None, seed: int, work_ms: float, times_ms: dict[int, float], arguments: Arguments) -> list[Any]:
    """Train until the work is done; the evaluations within it, each with the work until then in s."""
    name = f"{arguments.task}_{depth or 'auto'}x{arguments.width}_{seed}"
    folder, updates = RunFolder(arguments.folder / name), 0
    while True:
        updates += arguments.chunk
        trained(_config(depth, seed, updates, arguments), folder)
        found = evaluations(folder, times_ms)
        if found[-1]["work_s"] >= 1e-3 * work_ms:
            return [row for row in found if row["work_s"] <= 1e-3 * work_ms + 1e-9]


def evaluations(folder: RunFolder, times_ms: dict[int, float]) -> list[dict[str, float]]:
    """Scores of a run, the depth at each, and the work until then."""
    found, before, work_ms = [], 0.0, 0.0
    for row in folder.read_metrics():
        work_ms += (row["updates"] - before) * times_ms[int(row["depth"])]
        before = row["updates"]
        if "success_coarse" in row:
            kept = {key: row[key] for key in ("updates", "depth", "environment_steps", "success_coarse")}
            found.append(kept | {"work_s": 1e-3 * work_ms})
    return found


def main() -> None:
    """Run all, seed by seed, print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.quick:
        arguments = quick(arguments)
    cells = {depth: Cell(depth, arguments.width) for depth in _all_depths(arguments)}
    timed = update_times_ms(list(cells.values()), Controls(task=arguments.task, num_envs=arguments.num_envs))
    times_ms = {depth: timed[cell.name] for depth, cell in cells.items()}
    work_ms = arguments.updates * times_ms[arguments.depths[-1]]
    kinds: list[int | None] = [*arguments.depths, None]
    runs: dict[str, list[Any]] = {str(kind or "auto"): [] for kind in kinds}
    for seed in range(arguments.seeds):
        for kind in kinds:
            runs[str(kind or "auto")].append(run(kind, seed, work_ms, times_ms, arguments))
    table = Table("depth", "success, coarse", "updates", "depth at the end", title=f"{arguments.task}, equal work")
    rows = []
    for name, found in runs.items():
        scores = [float(np.mean([row["success_coarse"] for row in one[-_READ:]])) for one in found]
        ends = [one[-1] for one in found]
        rows.append({"depth": name, "success_coarse": scores, "runs": found})
        table.add_row(
            name,
            f"{np.mean(scores):.0%} ({', '.join(f'{score:.0%}' for score in scores)})",
            ", ".join(f"{end['updates']:,.0f}" for end in ends),
            ", ".join(f"{end['depth']:.0f}" for end in ends),
        )
    Console().print(table)
    settings = {"task": arguments.task, "width": arguments.width, "gamma": arguments.gamma}
    more = {"num_envs": arguments.num_envs, "update_ms": times_ms, "work_s": 1e-3 * work_ms}
    write_numbers(arguments.json, settings | more | {"rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
