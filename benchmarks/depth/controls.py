"""Whether depth pays on a task, against what else the same means buy: equal updates, equal parameters, equal seconds.

    python -m benchmarks.depth.controls [--task swimmer] [--seeds 2] [--updates 6000] [--json PATH] [--quick]

Every cell is one network; all are trained alike, without decay of the learning rate, so that a run may be read at any
of its evaluations. The time of an update is measured for all of them in turn before anything is trained, and how many
a cell may make in the deep network's seconds follows from it: other work on the machine moves all alike. A score is
the mean of the last three evaluations up to a point. Finished runs are kept in `--folder` and not repeated,
interrupted ones go on; the JSON holds every evaluation of every run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.learning.teacher_update import our_step, rollout, timed
from benchmarks.machine import machine
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.files import write_json
from sim2real.tasks.task import load_task
from student.config import DistillConfig, StudentNetworkConfig
from student.distillation.distill import Distiller, evaluation_environment
from teacher.config import LearnerConfig, NetworkConfig, TeacherConfig
from teacher.learner import Learner
from teacher.networks import count_parameters
from teacher.policies import greedy
from teacher.run.folder import RunFolder
from teacher.study.runner import trained
from teacher.train import evaluate, load_teacher

_SCORES = ("success_coarse", "success_fine", "time_at_goal")
_READ = 3
"""Evaluations that make a score."""
_TIMED_UPDATES, _REPEATS = 20, 7


class Cell(NamedTuple):
    """One network."""

    depth: int
    """Dense layers of actor and encoders."""
    width: int

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.depth} x {self.width}"

    @property
    def network(self) -> NetworkConfig:
        """Blocks of four layers, or of all layers where there are fewer."""
        depth = self.depth
        return NetworkConfig(actor_depth=depth, critic_depth=depth, width=self.width, block_size=min(depth, 4))


CELLS = (Cell(16, 64), Cell(4, 64), Cell(4, 128), Cell(1, 64))
"""The deep one first. The third has its parameters."""


@dataclass(frozen=True)
class Arguments:
    """Train a deep network and its controls."""

    task: str = "swimmer"
    seeds: int = 2
    updates: int = 6000
    """Of the deep network; the others make as many, and more as long as they take no longer."""
    most_updates: int = 18_000
    """Of any run."""
    updates_per_rollout: int = 300
    """After 100 control steps of each environment."""
    num_envs: int = 64
    gamma: float = 0.99
    critic_sees: Literal["goal", "way"] = "way"
    """What the critic knows goals by, see `train-teacher --critic-sees`."""
    random_goal_share: float = 0.0
    """Share of the actor's goals that come from other rows of the batch."""
    eval_every_rounds: int = 2
    student_layers: int = 2
    """Hidden layers of the student, 64 wide, that is distilled from each deep network: as many as the shallowest cell's
    actor has with its stem."""
    student_rounds: int = 16
    folder: Path = Path("runs/depth_controls")
    quick: bool = False
    """Two tiny networks and 60 updates: shows that it works, not what is better."""
    json: JsonFile | None = None
    """Write every evaluation here, after each run."""


def _learner(arguments: Arguments) -> LearnerConfig:
    return LearnerConfig(
        gamma=arguments.gamma,
        critic_sees=arguments.critic_sees,
        random_goal_share=arguments.random_goal_share,
        final_learning_rate_fraction=1.0,
    )


def update_times_ms(cells: Sequence[Cell], arguments: Arguments) -> dict[str, float]:
    """Median time of an update of each cell, by name, all measured in turn in this process."""
    contract = load_task(arguments.task).teacher_contract
    data = rollout(contract, 200, arguments.num_envs)
    learners = {cell.name: Learner(contract, cell.network, _learner(arguments), 10_000) for cell in cells}
    calls = {name: our_step(learner, data, _TIMED_UPDATES) for name, learner in learners.items()}
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _, (name, call) in product(range(_REPEATS), calls.items()):
        times[name].append(timed(call))
    return {name: 1e3 * float(np.median(values)) / _TIMED_UPDATES for name, values in times.items()}


def _affordable(cell: Cell, deep: Cell, times_ms: dict[str, float], arguments: Arguments) -> float:
    """The updates that a cell can make in the time that the deep network takes."""
    return arguments.updates * times_ms[deep.name] / times_ms[cell.name]


def budget_of(cell: Cell, deep: Cell, times_ms: dict[str, float], arguments: Arguments) -> int:
    """As many as the deep network makes, or as many as it has time for, in whole rounds."""
    affordable = _affordable(cell, deep, times_ms, arguments)
    rounds = math.ceil(min(max(affordable, arguments.updates), arguments.most_updates) / arguments.updates_per_rollout)
    return rounds * arguments.updates_per_rollout


def train(cell: Cell, seed: int, updates: int, arguments: Arguments) -> list[dict[str, float]]:
    """Train one cell from scratch, or go on with what an earlier call left; its evaluations."""
    config = TeacherConfig(
        task=arguments.task,
        backend="native",
        seed=seed,
        num_envs=arguments.num_envs,
        updates_per_rollout=arguments.updates_per_rollout,
        updates=updates,
        eval_every_rounds=arguments.eval_every_rounds,
        eval_envs=128,
        save_replay=False,
        network=cell.network,
        learner=_learner(arguments),
    )
    folder = _run_folder(cell, seed, arguments)
    trained(config, folder)
    shown = ("updates", "environment_steps", *_SCORES)
    return [{key: row[key] for key in shown} for row in folder.read_metrics() if "success_coarse" in row]


def _run_folder(cell: Cell, seed: int, arguments: Arguments) -> RunFolder:
    recipe = f"{arguments.critic_sees}_r{arguments.random_goal_share:g}"
    return RunFolder(arguments.folder / f"{Path(arguments.task).stem}_{cell.depth}x{cell.width}_{recipe}_{seed}")


def distil(deep: Cell, seed: int, arguments: Arguments) -> dict[str, float]:
    """The student of a deep network, and that network, on the same held-out goals."""
    teacher = load_teacher(_run_folder(deep, seed, arguments).path)
    layers, width = arguments.student_layers, CELLS[-1].width
    config = DistillConfig(
        seed=seed,
        rounds=arguments.student_rounds,
        eval_every_rounds=arguments.student_rounds,
        eval_envs=256,
        num_envs=min(128, 2 * arguments.num_envs),
        student=StudentNetworkConfig(hidden_layers=layers, hidden_width=width),
    )
    name = f"{_run_folder(deep, seed, arguments).path.name}_student_{layers}x{width}_{arguments.student_rounds}"
    folder = RunFolder(arguments.folder / name)
    known = folder.read_metrics() if (resume := folder.holds_run) else []
    if not (known and "success_coarse" in known[-1]):
        if not resume:
            folder.start(config, teacher.contract)
        Distiller(teacher, config, folder, resume=resume).train()
    student = folder.read_metrics()[-1]
    judged = evaluate(evaluation_environment(teacher, config), greedy(teacher.networks), teacher.actor).as_dict()
    return {key: student[key] for key in _SCORES} | {f"teacher_{key}": judged[key] for key in _SCORES}


def score(evaluations: Sequence[dict[str, float]], key: str, updates: float) -> float:
    """Mean of the last evaluations of a run up to a number of updates."""
    until = [row[key] for row in evaluations if row["updates"] <= updates]
    return float(np.mean(until[-_READ:])) if until else math.nan


@cache
def parameters(cell: Cell, task: str) -> int:
    """Of actor and encoders together."""
    learner = Learner(load_task(task).teacher_contract, cell.network, LearnerConfig(), 1)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    return count_parameters((state.actor, state.critic))


def table_of(rows: Sequence[dict[str, Any]], arguments: Arguments) -> Table:
    """Scores at equal updates and at equal seconds, with the spread between seeds."""
    title = f"{Path(arguments.task).stem}, {arguments.updates} updates of the deep one, {arguments.seeds} seeds"
    table = Table(
        "network", "parameters", "ms an update", "equal updates", "at goal", "equal time", "at goal", title=title
    )
    for row in rows:
        columns = [row["name"], f"{row['parameters']:,}", f"{row['update_ms']:.1f}"]
        for budget in ("equal_updates", "equal_time"):
            for key in ("success_coarse", "time_at_goal"):
                values = row[budget][key]
                columns.append(f"{np.mean(values):.0%} ({', '.join(f'{value:.0%}' for value in values)})")
        table.add_row(*columns)
    return table


def main() -> None:
    """Run all cells, seed by seed, print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    cells: tuple[Cell, ...] = CELLS
    if arguments.quick:
        cells = (Cell(4, 16), Cell(1, 16))
        arguments = Arguments(
            task=arguments.task,
            seeds=1,
            updates=60,
            most_updates=90,
            updates_per_rollout=30,
            num_envs=16,
            eval_every_rounds=1,
            student_rounds=2,
            folder=arguments.folder / "quick",
            json=arguments.json,
        )
    times_ms = _remembered_times(cells, arguments)
    runs: dict[str, list[list[dict[str, float]]]] = {cell.name: [] for cell in cells}
    students: list[dict[str, float]] = []
    rows: list[dict[str, Any]] = []
    for seed in range(arguments.seeds):
        for cell in cells:
            runs[cell.name].append(train(cell, seed, budget_of(cell, cells[0], times_ms, arguments), arguments))
            rows = [_row(cell, runs[cell.name], times_ms, cells[0], arguments) for cell in cells if runs[cell.name]]
            _write(arguments, rows, students)
        students.append(distil(cells[0], seed, arguments))
        _write(arguments, rows, students)
    Console().print(table_of(rows, arguments))
    for key in _SCORES:
        kept = [f"{one[key]:.1%} of {one[f'teacher_{key}']:.1%}" for one in students]
        print(f"student of {arguments.student_layers} layers, {key}: {', '.join(kept)}")


def _write(arguments: Arguments, rows: list[dict[str, Any]], students: list[dict[str, float]]) -> None:
    if arguments.json:
        settings = {"task": Path(arguments.task).stem, "updates": arguments.updates, "gamma": arguments.gamma}
        settings |= {"critic_sees": arguments.critic_sees, "random_goal_share": arguments.random_goal_share}
        settings |= {"num_envs": arguments.num_envs}
        settings |= {"student_layers": arguments.student_layers, "student_rounds": arguments.student_rounds}
        write_json(arguments.json, {"machine": machine(), **settings, "rows": rows, "students": students})


def _row(
    cell: Cell,
    runs: list[list[dict[str, float]]],
    times_ms: dict[str, float],
    deep: Cell,
    arguments: Arguments,
) -> dict[str, Any]:
    budgets = {
        "equal_updates": arguments.updates,
        "equal_time": _affordable(cell, deep, times_ms, arguments),
    }
    scores = {
        budget: {key: [score(run, key, until) for run in runs] for key in _SCORES} for budget, until in budgets.items()
    }
    numbers = {"parameters": parameters(cell, arguments.task), "update_ms": times_ms[cell.name]}
    return {"name": cell.name, "depth": cell.depth, "width": cell.width, **numbers, **scores, "runs": runs}


def _remembered_times(cells: Sequence[Cell], arguments: Arguments) -> dict[str, float]:
    """Measured once for a folder, so that a study that goes on keeps its budgets."""
    path = arguments.folder / f"{Path(arguments.task).stem}_update_ms.json"
    if not path.is_file():
        write_json(path, update_times_ms(cells, arguments))
    known: dict[str, float] = json.loads(path.read_text())
    return known


if __name__ == "__main__":
    with command_line():
        main()
