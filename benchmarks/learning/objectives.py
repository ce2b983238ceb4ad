"""The objectives side by side: short runs on one task from the same number of updates and environment steps.

    python -m benchmarks.learning.objectives [--quick] [--json PATH] [--task benchmarks/tasks/planar_reach.yaml] \
        [--updates 1500] [--seeds 2] [--cases infonce survival chrono]

Prints success and time at the goal on held-out goals, of the actor and of the best of eight candidates by its critic's
value, mean over seeds, and the time of an update in the same run. Finished runs are kept in `--folder` and not
repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from sim2real.backends import make_environment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json
from sim2real.tasks.goal_pool import EVALUATION_SEED_OFFSET
from teacher.config import LearnerConfig, NetworkConfig, TeacherConfig
from teacher.policies import best_of, greedy
from teacher.run.folder import RunFolder
from teacher.study.runner import trained
from teacher.trained import evaluate, load_teacher

_CASES: dict[str, dict[str, Any]] = {
    "infonce": {},
    "infonce forward": {"contrast": "forward"},
    "survival": {"objective": "survival"},
    "survival, critic first": {"objective": "survival", "update_order": "critic_first"},
    "chrono": {"objective": "chrono", "update_order": "critic_first"},
    "infonce, chunks of 3": {"action_chunk": 3},
    "chrono, chunks of 2": {"objective": "chrono", "update_order": "critic_first", "action_chunk": 2},
}
"""Name to the learner's settings."""
_CANDIDATES = 8
_SHOWN = ("success_coarse", "success_fine", "time_at_goal", "best_of_coarse", "best_of_fine", "update_ms")


@dataclass(frozen=True)
class Arguments:
    """Compare objectives."""

    task: str = "benchmarks/tasks/planar_reach.yaml"
    updates: int = 1500
    seeds: int = 2
    depth: int = 4
    """Of actor and critic."""
    width: int = 16
    batch_size: int = 128
    num_envs: int = 64
    cases: tuple[str, ...] = ("infonce", "survival", "chrono")
    """Of: infonce, 'infonce forward', survival, 'survival, critic first', chrono, 'infonce, chunks of 3',
    'chrono, chunks of 2'."""
    random_goal_share: float = 0.0
    """Share of the actor's goals that come from other rows."""
    folder: Path = Path("runs/objectives")
    quick: bool = False
    """Two cases, one seed, 50 updates: shows that it works, not what is better."""
    json: JsonFile | None = None
    """Write the rows here too."""


def run_case(name: str, arguments: Arguments, *, seed: int) -> dict[str, float]:
    """Train one case from scratch, or go on with what an earlier call left, and judge it."""
    learner = LearnerConfig(
        batch_size=arguments.batch_size, random_goal_share=arguments.random_goal_share, **_CASES[name]
    )
    per_rollout = min(100, arguments.updates)
    config = TeacherConfig(
        task=arguments.task,
        backend="native",
        seed=seed,
        num_envs=arguments.num_envs,
        rollout_steps=50,
        updates_per_rollout=per_rollout,
        updates=arguments.updates,
        eval_every_rounds=10_000,
        network=NetworkConfig(
            actor_depth=arguments.depth,
            critic_depth=arguments.depth,
            width=arguments.width,
            embedding_size=arguments.width,
        ),
        learner=learner,
    )
    plain = name.replace(",", "").replace(" ", "_")
    label = f"{Path(arguments.task).stem}_{plain}_d{arguments.depth}w{arguments.width}_{arguments.updates}"
    folder = RunFolder(arguments.folder / f"{label}_r{arguments.random_goal_share:g}_{seed}")
    trained(config, folder)
    rows = folder.read_metrics()
    # The first round of updates includes compilation.
    update_s = float(np.median([row["update_s"] for row in rows[1:] or rows]))
    return {**folder.read_summary(), **judged(folder.path, seed), "update_ms": 1e3 * update_s / per_rollout}


def judged(run: Path, seed: int) -> dict[str, float]:
    """Success of the best of some candidates, on the goals on which the actor is judged."""
    teacher = load_teacher(run)
    env = make_environment(
        teacher.task,
        "native",
        num_envs=teacher.config.eval_envs,
        seed=seed + EVALUATION_SEED_OFFSET,
        privileged=True,
        keep_robots=True,
    )
    actor = evaluate(env, greedy(teacher.networks), teacher.actor)
    chosen = evaluate(env, best_of(teacher.networks, _CANDIDATES), (teacher.actor, teacher.critic))
    return actor.as_dict() | {"best_of_coarse": chosen.success_coarse, "best_of_fine": chosen.success_fine}


def main() -> None:
    """Run all cases, print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.quick:
        arguments = Arguments(
            updates=50,
            seeds=1,
            num_envs=16,
            cases=("infonce", "survival"),
            folder=arguments.folder / "quick",
            json=arguments.json,
        )
    rows: list[dict[str, Any]] = []
    for name in arguments.cases:
        runs = [run_case(name, arguments, seed=seed) for seed in range(arguments.seeds)]
        means = {key: float(np.mean([run[key] for run in runs])) for key in _SHOWN}
        rows.append({"case": name, **means, "success_fine_by_seed": [run["success_fine"] for run in runs]})
    title = (
        f"{Path(arguments.task).stem}, {arguments.updates} updates, {arguments.seeds} seeds, depth {arguments.depth}"
    )
    best = f"best of {_CANDIDATES}"
    table = Table("objective", "coarse", "fine", "at goal", f"{best}, coarse", "fine", "ms an update", title=title)
    for row in rows:
        shares = (f"{row[key]:.1%}" for key in _SHOWN[:-1])
        table.add_row(str(row["case"]), *shares, f"{row['update_ms']:.1f}")
    Console().print(table)
    if arguments.json:
        settings = {
            "task": Path(arguments.task).stem,
            "updates": arguments.updates,
            "seeds": arguments.seeds,
            "depth": arguments.depth,
            "width": arguments.width,
            "random_goal_share": arguments.random_goal_share,
        }
        write_json(arguments.json, {"machine": machine(), **settings, "rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
