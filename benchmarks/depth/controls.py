"""Whether depth pays on a task, against what else the same means buy: equal updates, equal parameters, equal seconds.

    python -m benchmarks.depth.controls [--task swimmer] [--seeds 2] [--updates 6000] [--json PATH] [--quick]

Every cell is one network, and each is trained under every recipe of `--random-goal-shares`; all are trained alike,
without decay of the learning rate, so that a run may be read at any of its evaluations. The time of an update is
measured for all of them in turn before anything is trained, and how many a cell may make in the deep network's seconds
follows from it: other work on the machine moves all alike. A score is the mean of the last three evaluations up to a
point. Finished runs are kept in `--folder` and not repeated, interrupted ones go on; the JSON holds every evaluation of
every run. Students are distilled from the best of a seed's runs at equal updates, whichever network and recipe that
is, so that they can be held against networks of their size that were trained directly. `--plot PATH` draws the curves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console

from benchmarks.depth.controls_report import draw, table_of
from benchmarks.learning.teacher_update import our_step, rollout, timed
from benchmarks.machine import machine
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.errors import ShoalError
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
from teacher.trained import evaluate, load_teacher

_SCORES = ("success_coarse", "success_fine", "time_at_goal")
_READ = 3
"""Evaluations that make a score."""
_TIMED_UPDATES, _REPEATS = 20, 7


class Cell(NamedTuple):
    """One network."""

    depth: int
    """Dense layers of actor and encoders."""
    width: int

    @classmethod
    def of(cls, text: str) -> Cell:
        """The cell that `16x64` says; `ShoalError` where a text says none."""
        depth, _, width = text.partition("x")
        if not (depth.isdecimal() and width.isdecimal() and int(depth) and int(width)):
            raise ShoalError(f"--cells: {text!r} is no network; write depth and width, 16x64 say.")
        return cls(int(depth), int(width))

    @property
    def name(self) -> str:
        """As tables call it."""
        return f"{self.depth} x {self.width}"

    @property
    def network(self) -> NetworkConfig:
        """Blocks of four layers, or of all layers where there are fewer."""
        depth = self.depth
        return NetworkConfig(actor_depth=depth, critic_depth=depth, width=self.width, block_size=min(depth, 4))


CELLS = (Cell(16, 64), Cell(4, 64), Cell(1, 64), Cell(4, 128), Cell(2, 64))
"""The deep one first. The wide one has its parameters."""
_STUDENT_WIDTH = 64


@dataclass(frozen=True)
class Arguments:
    """Train a deep network and its controls."""

    task: str = "swimmer"
    cells: tuple[str, ...] = tuple(f"{cell.depth}x{cell.width}" for cell in CELLS)
    """Depth and width of each network; the first is the deep one."""
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
    random_goal_shares: tuple[float, ...] = (0.0,)
    """Recipes: shares of the actor's goals that come from other rows of the batch instead of its own future."""
    continue_share: float = 0.4
    """Share of the episodes that begin where the last one ended; with 0 all begin at the task's start."""
    eval_every_rounds: int = 2
    eval_envs: int = 128
    student_layers: tuple[int, ...] = (2,)
    """Hidden layers of the students, 64 wide. The shallowest cell's actor has two with its stem."""
    student_rounds: int = 16
    folder: Path = Path("runs/depth_controls")
    quick: bool = False
    """Two tiny networks and 60 updates: shows that it works, not what is better."""
    json: JsonFile | None = None
    """Write every evaluation here, after each run."""
    plot: Path | None = None
    """Draw success against updates and against seconds here, as a PNG."""


def _learner(arguments: Arguments, share: float) -> LearnerConfig:
    return LearnerConfig(
        gamma=arguments.gamma,
        critic_sees=arguments.critic_sees,
        random_goal_share=share,
        final_learning_rate_fraction=1.0,
    )


def update_times_ms(cells: Sequence[Cell], arguments: Arguments) -> dict[str, float]:
    """Median time of an update of each cell, by name, all measured in turn in this process."""
    contract = load_task(arguments.task).teacher_contract
    data = rollout(contract, 200, arguments.num_envs)
    learners = {cell.name: Learner(contract, cell.network, _learner(arguments, 1.0), 10_000) for cell in cells}
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


def train(cell: Cell, share: float, seed: int, updates: int, arguments: Arguments) -> list[dict[str, float]]:
    """Train one cell from scratch, or go on with what an earlier call left; its evaluations."""
    config = TeacherConfig(
        task=arguments.task,
        backend="native",
        seed=seed,
        num_envs=arguments.num_envs,
        updates_per_rollout=arguments.updates_per_rollout,
        updates=updates,
        eval_every_rounds=arguments.eval_every_rounds,
        eval_envs=arguments.eval_envs,
        continue_share=arguments.continue_share,
        save_replay=False,
        network=cell.network,
        learner=_learner(arguments, share),
    )
    folder = _run_folder(cell, share, seed, arguments)
    trained(config, folder)
    return evaluations_of(folder)


def evaluations_of(folder: RunFolder) -> list[dict[str, float]]:
    """Scores of a run at each of its evaluations, and the seconds of collecting and updating until then."""
    shown, seconds, found = ("updates", "environment_steps", *_SCORES), 0.0, []
    for row in folder.read_metrics():
        seconds += row["collect_s"] + row["update_s"]
        if "success_coarse" in row:
            found.append({key: row[key] for key in shown} | {"seconds": seconds})
    return found


def _run_folder(cell: Cell, share: float, seed: int, arguments: Arguments) -> RunFolder:
    recipe = f"{arguments.critic_sees}_r{share:g}"
    return RunFolder(arguments.folder / f"{Path(arguments.task).stem}_{cell.depth}x{cell.width}_{recipe}_{seed}")


def distil(teacher_run: RunFolder, layers: int, seed: int, arguments: Arguments) -> dict[str, Any]:
    """A student, and its teacher, on the same held-out goals."""
    teacher = load_teacher(teacher_run.path)
    width, rounds = _STUDENT_WIDTH, arguments.student_rounds
    config = DistillConfig(
        seed=seed,
        rounds=rounds,
        eval_every_rounds=rounds,
        eval_envs=256,
        num_envs=min(128, 2 * arguments.num_envs),
        continue_share=arguments.continue_share,
        student=StudentNetworkConfig(hidden_layers=layers, hidden_width=width),
    )
    folder = RunFolder(arguments.folder / f"{teacher_run.path.name}_student_{layers}x{width}_{rounds}")
    known = folder.read_metrics() if (resume := folder.holds_run) else []
    if not (known and "success_coarse" in known[-1]):
        if not resume:
            folder.start(config, teacher.contract)
        Distiller(teacher, config, folder, resume=resume).train()
    student = folder.read_metrics()[-1]
    judged = evaluate(evaluation_environment(teacher, config), greedy(teacher.networks), teacher.actor).as_dict()
    scores = {key: student[key] for key in _SCORES} | {f"teacher_{key}": judged[key] for key in _SCORES}
    return {"seed": seed, "layers": layers, "teacher": teacher_run.path.name, "seconds": student["elapsed_s"]} | scores


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


def quick(arguments: Arguments) -> Arguments:
    """The same with 60 updates."""
    return replace(
        arguments,
        cells=("4x16", "1x16"),
        seeds=1,
        updates=60,
        most_updates=90,
        updates_per_rollout=30,
        num_envs=16,
        eval_every_rounds=1,
        eval_envs=16,
        student_rounds=2,
        folder=arguments.folder / "quick",
    )


class Study:
    """Cells by recipe, and what is known of their runs so far."""

    def __init__(self, cells: Sequence[Cell], arguments: Arguments) -> None:
        self.cells, self.arguments = cells, arguments
        self.times_ms = _remembered_times(cells, arguments)
        self.runs: dict[tuple[float, Cell], list[list[dict[str, float]]]] = {}
        self.students: list[dict[str, Any]] = []

    def run(self) -> None:
        """All that is missing, seed by seed."""
        arguments = self.arguments
        for seed in range(arguments.seeds):
            for cell, share in product(self.cells, arguments.random_goal_shares):
                updates = budget_of(cell, self.cells[0], self.times_ms, arguments)
                self.runs.setdefault((share, cell), []).append(train(cell, share, seed, updates, arguments))
                self.write()
            share, cell = max(self.runs, key=lambda which: score(self.runs[which][seed], _SCORES[0], arguments.updates))
            for layers in arguments.student_layers:
                self.students.append(distil(_run_folder(cell, share, seed, arguments), layers, seed, arguments))
                self.write()

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One for each recipe and network that has a run."""
        return [self._row(share, cell, runs) for (share, cell), runs in self.runs.items()]

    def _row(self, share: float, cell: Cell, runs: list[list[dict[str, float]]]) -> dict[str, Any]:
        arguments = self.arguments
        budgets = {
            "equal_updates": arguments.updates,
            "equal_time": _affordable(cell, self.cells[0], self.times_ms, arguments),
        }
        scores = {
            budget: {key: [score(run, key, until) for run in runs] for key in _SCORES}
            for budget, until in budgets.items()
        }
        network = {"random_goal_share": share, "name": cell.name, "depth": cell.depth, "width": cell.width}
        numbers = {"parameters": parameters(cell, arguments.task), "update_ms": self.times_ms[cell.name]}
        return {**network, **numbers, **scores, "runs": runs}

    def write(self) -> None:
        """JSON and picture, where they are asked for."""
        arguments = self.arguments
        names = ("updates", "gamma", "critic_sees", "continue_share", "num_envs", "student_layers", "student_rounds")
        settings = {"task": Path(arguments.task).stem} | {name: getattr(arguments, name) for name in names}
        found = {"machine": machine(), **settings, "rows": self.rows, "students": self.students}
        if arguments.json:
            write_json(arguments.json, found)
        if arguments.plot:
            draw(found, arguments.plot)


def main() -> None:
    """Run all cells, seed by seed, print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.quick:
        arguments = quick(arguments)
    cells = [Cell.of(text) for text in arguments.cells]
    study = Study(cells, arguments)
    study.run()
    title = f"{Path(arguments.task).stem}, {arguments.updates} updates of the deep one, {arguments.seeds} seeds"
    Console().print(table_of(study.rows, title))
    for one, key in product(study.students, _SCORES):
        kept = f"{one[key]:.1%} of {one[f'teacher_{key}']:.1%}"
        print(f"student of {one['layers']} layers, seed {one['seed']}, {key}: {kept}")


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
