"""How well an exported policy walks: goals at one distance or a range of them, in all directions, for 1000 control
steps each.

    python -m benchmarks.policies.walking models/ant.onnx [--distance 5] [--goals 200] [--quick] [--json PATH]
    python -m benchmarks.policies.walking models/quadruped_walk.onnx --nearest 1 --distance 3
    python -m benchmarks.policies.walking runs/quadruped_teacher --nearest 1 --distance 3

A folder is a teacher's run, whose policy sees what teachers do. A file runs in ONNX Runtime against native MuJoCo, as
on a robot. Goals that say where to face, `planar_pose`, face anywhere, and are reached within their tolerance of place
and angle. Time at goal is as in the published suite (arXiv 2503.14858): the steps of 1000 within the goal's tolerance,
which no longer count after a fall.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.policies.onnx_evaluation import HELD_OUT_SEED, Targets, held_out_environment, policy_targets
from sim2real.backends.native import NativeEnvironment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract import Contract
from sim2real.contract.interface import achieved, command, goal_errors, goal_vector, observe
from sim2real.errors import ShoalError
from sim2real.evaluation.intervals import wilson
from sim2real.files import write_json
from sim2real.randomisation.config import Randomisation, load_randomisation
from sim2real.tasks.task import Task
from teacher.policies import greedy
from teacher.trained import load_teacher

STEPS = 1000
_CONFIDENCE = 0.95
_KINDS = ("planar_position", "planar_pose")


@dataclass(frozen=True)
class Walk:
    """What became of the goals."""

    goals: int
    nearest_m: float
    distance_m: float
    arrived: float
    """Share of goals within whose tolerance the robot stands at the end, for the last `goal.hold_s`."""
    arrived_interval: tuple[float, float]
    """Wilson's, of 95 %."""
    time_at_goal: float
    """Mean steps of 1000."""
    seconds_to_goal: float
    """Median, until the robot is first within the tolerance, of those that ever are; nan if none is."""
    final_distance_m: float
    """Median."""
    final_angle_deg: float
    """Median; 0 where goals say nothing of it."""
    fell: float
    """Share of goals."""


@dataclass(frozen=True)
class Arguments:
    """Evaluate a policy whose goals are places on the ground."""

    file: tyro.conf.Positional[Path]
    """A policy file, or a teacher's run folder."""
    distance: float = 5.0
    """From the start, m."""
    nearest: float | None = None
    """With it goals lie anywhere between this distance, m, and the other."""
    goals: int = 200
    randomisation: str | None = None
    """Every robot is one of its own: a preset (off, mild, hard) or a YAML file, pushes included."""
    seed: int = 0
    quick: bool = False
    """20 goals."""
    json: JsonFile | None = None
    """Write the result here too."""


Watcher = Callable[[Mapping[str, np.ndarray], np.ndarray], None]
"""Gets the true readings after every step, and which robots have not fallen, `[N]` bool."""


def walk(
    task: Task,
    targets: Targets,
    *,
    goals: int,
    distance_m: float,
    seed: int,
    nearest_m: float | None = None,
    randomisation: Randomisation | None = None,
    watch: Watcher = lambda truth, standing: None,
) -> Walk:
    """Send every robot to a goal of its own, in a direction of its own and facing anywhere, up to `distance_m` away,
    from `nearest_m` on or just there.
    """
    contract, env = task.contract, held_out_environment(task, goals, seed, randomisation=randomisation)
    nearest_m = distance_m if nearest_m is None else nearest_m
    request = _around(contract, env, distances=(nearest_m, distance_m), seed=seed)
    goal = goal_vector(np, contract, request)
    away, turned, alive = np.empty((STEPS, goals)), np.empty((STEPS, goals)), np.ones((STEPS, goals), bool)
    standing = np.ones(goals, bool)
    for step in range(STEPS):
        readings = {name: value.copy() for name, value in env.readings().items()}
        env.advance(targets(readings, request))
        standing &= ~env.terminated
        truth = env.true_readings()
        away[step], turned[step] = goal_errors(contract, achieved(np, contract, truth), goal)
        alive[step] = standing
        watch(truth, standing)
    return _judged(task, away, turned, alive, (nearest_m, distance_m))


def teacher_targets(run: Path) -> tuple[Task, Targets]:
    """The task of a teacher's run, and the commands of its mean actions."""
    teacher = load_teacher(run)
    contract = teacher.task.teacher_contract
    apply = jax.jit(greedy(teacher.networks))

    def targets(readings: dict[str, np.ndarray], request: np.ndarray) -> np.ndarray:
        seen, goal = observe(np, contract, readings), goal_vector(np, contract, request)
        action = np.asarray(apply(teacher.actor, seen, goal, jax.random.key(0)))
        return np.asarray(command(np, contract, action, readings))

    return teacher.task, targets


def _around(contract: Contract, env: NativeEnvironment, *, distances: tuple[float, float], seed: int) -> np.ndarray:
    """Requests `[N, K]` all around where each robot stands; the angle, where goals have one, is anywhere."""
    start = env.true_readings()[contract.goal.parts()[0].reading]
    count, rng = len(start), np.random.default_rng(seed)
    angle = 2 * np.pi * (np.arange(count) + rng.random()) / count
    length = rng.uniform(*distances, size=(count, 1))
    place = start[:, :2] + length * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    facing = rng.uniform(-np.pi, np.pi, (count, start.shape[1] - 2))
    request = np.concatenate([place, facing], axis=-1).astype(np.float32)
    if not (allowed := contract.goal.allows(contract, request)).all():
        raise ShoalError(
            f"walking: {int((~allowed).sum())} of {count} goals at {distances[1]:g} m lie outside the goals of "
            f"{contract.task}; give a smaller --distance."
        )
    return request


def _judged(
    task: Task, away: np.ndarray, turned: np.ndarray, alive: np.ndarray, distances: tuple[float, float]
) -> Walk:
    """From distances to goals, m, angles, deg, and who had not fallen yet, `[1000, N]` each."""
    goal, control_dt_s = task.contract.goal, task.contract.timing.control_dt_s
    within = (away <= goal.coarse_position_m) & (turned <= goal.coarse_angle_deg) & alive
    arrived = within[-max(1, round(goal.hold_s / control_dt_s)) :].all(axis=0)
    ever = within.any(axis=0)
    first_s = control_dt_s * (1 + within.argmax(axis=0)[ever])
    count = away.shape[1]
    return Walk(
        goals=count,
        nearest_m=distances[0],
        distance_m=distances[1],
        arrived=float(arrived.mean()),
        arrived_interval=wilson(int(arrived.sum()), count, _CONFIDENCE),
        time_at_goal=float(within.sum(axis=0).mean()),
        seconds_to_goal=float(np.median(first_s)) if len(first_s) else float("nan"),
        final_distance_m=float(np.median(away[-1])),
        final_angle_deg=float(np.median(turned[-1])),
        fell=float(1 - alive[-1].mean()),
    )


def main() -> None:
    """Print the table and write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    given = {"distance": arguments.distance, "goals": arguments.goals, "nearest": arguments.nearest}
    wrong = [f"--{name} {value}" for name, value in given.items() if value is not None and value <= 0]
    if wrong:
        raise ShoalError(f"walking: {' and '.join(wrong)} must be above 0.")
    if arguments.nearest is not None and arguments.nearest > arguments.distance:
        raise ShoalError(f"walking: --nearest {arguments.nearest:g} is beyond --distance {arguments.distance:g}.")
    count = 20 if arguments.quick else arguments.goals
    of_teacher = arguments.file.is_dir()
    task, targets = teacher_targets(arguments.file) if of_teacher else policy_targets(arguments.file, rows=count)
    if task.contract.goal.kind not in _KINDS:
        raise ShoalError(
            f"{arguments.file}: goals of {task.contract.task} are of kind {task.contract.goal.kind}; give a policy "
            f"of {' or '.join(_KINDS)}."
        )
    found = walk(
        task,
        targets,
        goals=count,
        distance_m=arguments.distance,
        nearest_m=arguments.nearest,
        randomisation=None if arguments.randomisation is None else load_randomisation(arguments.randomisation),
        seed=HELD_OUT_SEED + arguments.seed,
    )
    columns = ("goals", "arrived", "95 %", "steps at goal", "s to goal", "distance, m", "angle, deg", "fell")
    table = Table(*columns, title=arguments.file.name)
    low, high = found.arrived_interval
    table.add_row(
        str(count),
        f"{found.arrived:.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{found.time_at_goal:.0f} of {STEPS}",
        f"{found.seconds_to_goal:.1f}",
        f"{found.final_distance_m:.2f}",
        f"{found.final_angle_deg:.1f}",
        f"{found.fell:.1%}",
    )
    Console().print(table)
    if arguments.json:
        named = None if arguments.randomisation is None else Path(arguments.randomisation).stem
        row = {"file": arguments.file.name, "randomisation": named} | dataclasses.asdict(found)
        write_json(arguments.json, {"machine": machine(), "seed": arguments.seed} | row)


if __name__ == "__main__":
    with command_line():
        main()
