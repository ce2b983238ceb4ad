"""The published recipe of arXiv 2503.14858 and ours on the same tasks, from the same steps and updates.

    python -m benchmarks.learning.peers [--tasks franka_pose swimmer] [--seeds 2] [--json PATH] [--quick]

*Published* is its objective and its settings together: InfoNCE of goals only, hindsight 100 steps ahead, critic that
sees places, its residual block, constant learning rates, initial temperature 1, every episode from the task's own
starts. *Ours* is what `train-teacher` does by default for the task. Both run on this package's simulation, replay and
scanned networks, of one depth and width; the published code resets every robot to its first start and goal, which
helps neither and is left out, and its update itself is timed by `benchmarks.learning.teacher_update`. Time at goal is
the mean share of an episode's steps within the coarse tolerance of 128 held-out goals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from teacher.config import LearnerConfig, NetworkConfig, TeacherConfig
from teacher.run.folder import RunFolder
from teacher.study.runner import trained

RECIPES: dict[str, dict[str, Any]] = {
    "published": {
        "continue_share": 0.0,
        "wide_start_share": 0.0,
        "random_posture_share": 0.0,
        "network": {"design": "paper"},
        "learner": {
            "contrast": "forward",
            "gamma": 0.99,
            "critic_sees": "goal",
            "initial_log_alpha": 0.0,
            "action_penalty": 0.0,
            "posture_weight": 0.0,
            "moving_goal_share": 0.0,
            "final_learning_rate_fraction": 1.0,
        },
    },
    "ours": {},
}
_SHARES = (1 / 3, 2 / 3, 1.0)
"""Of the budget, after which both are read."""


@dataclass(frozen=True)
class Arguments:
    """Train both recipes."""

    tasks: tuple[str, ...] = ("franka_pose", "swimmer")
    seeds: int = 2
    updates: int = 4500
    depth: int = 16
    num_envs: int = 64
    """Robots that collect, 100 steps each before every 300 updates."""
    eval_envs: int = 128
    folder: Path = Path("runs/peers")
    quick: bool = False
    """Tiny networks and 60 updates: shows that it works, not what is better."""
    json: JsonFile | None = None


def quick(arguments: Arguments) -> Arguments:
    """The same with 60 updates."""
    tiny: dict[str, Any] = {"tasks": ("franka_pose",), "updates": 60, "depth": 4, "num_envs": 8, "eval_envs": 8}
    return replace(arguments, **tiny, seeds=1, folder=arguments.folder / "quick")


def config_of(recipe: str, task: str, seed: int, arguments: Arguments) -> TeacherConfig:
    """A run by one of the recipes; evaluated as often as it is read, and more."""
    changes = dict(RECIPES[recipe])
    size = {"actor_depth": arguments.depth, "critic_depth": arguments.depth}
    return TeacherConfig(
        task=task,
        backend="native",
        seed=seed,
        num_envs=arguments.num_envs,
        updates=arguments.updates,
        updates_per_rollout=min(300, arguments.updates // 3),
        eval_every_rounds=1,
        eval_envs=arguments.eval_envs,
        network=NetworkConfig.model_validate(size | changes.pop("network", {})),
        learner=LearnerConfig.model_validate(changes.pop("learner", {})),
        **changes,
    )


def curve(recipe: str, task: str, seed: int, arguments: Arguments) -> list[dict[str, float]]:
    """Train, or read what an earlier call left; scores, steps and seconds of collecting and updating so far."""
    folder = RunFolder(arguments.folder / f"{Path(task).stem}_{recipe}_{arguments.depth}_{arguments.updates}_{seed}")
    trained(config_of(recipe, task, seed, arguments), folder)
    found, seconds = [], 0.0
    for row in folder.read_metrics():
        seconds += row["collect_s"] + row["update_s"]
        kept = ("updates", "environment_steps", "time_at_goal", "success_coarse", "success_fine")
        found.append({key: row[key] for key in kept} | {"seconds": seconds})
    return found


def main() -> None:
    """Run all, print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.quick:
        arguments = quick(arguments)
    names = [f"at goal, {share:.0%} of the steps" for share in _SHARES]
    table = Table("task", "recipe", *names, "coarse at the end", "seconds", title=f"depth {arguments.depth}")
    rows = []
    for task in arguments.tasks:
        for recipe in RECIPES:
            curves = [curve(recipe, task, seed, arguments) for seed in range(arguments.seeds)]
            read = [[one[round(share * len(one)) - 1] for one in curves] for share in _SHARES]
            cells = [_mean([row["time_at_goal"] for row in column]) for column in read]
            ends = [row["success_coarse"] for row in read[-1]]
            seconds = ", ".join(f"{one[-1]['seconds']:.0f}" for one in curves)
            table.add_row(Path(task).stem, recipe, *cells, _mean(ends), seconds)
            rows.append({"task": Path(task).stem, "recipe": recipe, "curves": curves})
    Console().print(table)
    settings = {"depth": arguments.depth, "updates": arguments.updates, "num_envs": arguments.num_envs}
    write_numbers(arguments.json, settings | {"rows": rows})


def _mean(values: list[float]) -> str:
    each = ", ".join(f"{value:.0%}" for value in values)
    return f"{np.mean(values):.0%} ({each})" if len(values) > 1 else each


if __name__ == "__main__":
    with command_line():
        main()
