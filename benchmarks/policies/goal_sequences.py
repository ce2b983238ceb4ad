"""How many goals a policy file reaches when they are sent one after another, as a robot receives them.

    python -m benchmarks.policies.goal_sequences models/*.onnx [--arms 128] [--goals 25] [--quick] [--json PATH]

Every arm starts at home and is sent its own goals. It gets the next one when the last one was within the coarse
tolerance for the contract's hold time, or after `--timeout-s`, from wherever it stands then: a miss may leave a
posture from which the next goals are missed too, which single episodes from fresh starts never show. Exit
status 1 when fewer than `--min-share` of the sequences reach all their goals but one.
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
from benchmarks.policies.onnx_evaluation import Targets, policy_targets
from sim2real.backends.native import NativeEnvironment
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract import Contract
from sim2real.contract.interface import achieved, goal_errors, goal_vector
from sim2real.errors import ShoalError
from sim2real.tasks.goal_pool import GoalPool, sample_goal_pool
from sim2real.tasks.task import Task

SEQUENCE_SEED = 8_000_009
"""Away from the seeds of training, of evaluations and of the demo's served goals."""


@dataclass(frozen=True)
class Sequences:
    """What N arms did with K goals each."""

    reached: np.ndarray
    """`[N, K]` bool."""
    final_joint_position: np.ndarray
    """`[N, K, J]` rad, where each goal ended."""
    position: np.ndarray
    """`[N, K, 3]` m, the goals."""

    def all_but_one(self) -> float:
        """Share of the sequences that miss at most one goal."""
        return float((self.reached.sum(axis=1) >= self.reached.shape[1] - 1).mean())

    def after(self, outcome: bool) -> float | None:
        """Share of goals reached among those whose predecessor was reached (`True`) or missed (`False`); None where
        there is no such.
        """
        before, now = self.reached[:, :-1], self.reached[:, 1:]
        return float(now[before == outcome].mean()) if (before == outcome).any() else None

    def longest_miss(self) -> int:
        """The longest run of misses in a row in any sequence."""
        longest = run = np.zeros(len(self.reached), int)
        for column in self.reached.T:
            run = np.where(column, 0, run + 1)
            longest = np.maximum(longest, run)
        return int(longest.max())

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, for tables and JSON."""
        return {
            "reached": float(self.reached.mean()),
            "all_but_one": self.all_but_one(),
            "reached_after_reached": self.after(True),
            "reached_after_missed": self.after(False),
            "longest_miss": self.longest_miss(),
            "worst_sequence": int(self.reached.sum(axis=1).min()),
            "by_index": [round(float(share), 4) for share in self.reached.mean(axis=0)],
        }


def run_sequences(task: Task, targets: Targets, *, arms: int, goals: int, timeout_s: float, seed: int) -> Sequences:
    """Send `goals` goals to each of `arms` arms that start at home."""
    contract = task.contract
    pool = sample_goal_pool(task, size=arms * goals, seed=seed)
    requests = pool.goal.reshape(arms, goals, -1)
    env = _at_home(task, arms, pool)
    rows, hold = np.arange(arms), max(1, round(contract.goal.hold_s / contract.timing.control_dt_s))
    limit = round(timeout_s / contract.timing.control_dt_s)
    index, held, age = (np.zeros(arms, int) for _ in range(3))
    reached = np.zeros((arms, goals), bool)
    final = np.zeros((arms, goals, len(contract.robot.joints)), np.float32)
    while (index < goals).any():
        current = np.minimum(index, goals - 1)
        request = requests[rows, current]
        readings = {name: value.copy() for name, value in env.readings().items()}
        within = _within(contract, readings, request)
        held, age = np.where(within, held + 1, 0), age + 1
        done = ((held >= hold) | (age > limit)) & (index < goals)
        reached[rows[done], index[done]] = held[done] >= hold
        final[rows[done], index[done]] = readings["joint_position"][done]
        index, held, age = index + done, np.where(done, 0, held), np.where(done, 0, age)
        env.advance(targets(readings, request))
    return Sequences(reached, final, requests[..., :3])


def _at_home(task: Task, arms: int, pool: GoalPool) -> NativeEnvironment:
    env = NativeEnvironment(task, num_envs=arms, seed=0, pool=pool)
    env.place(np.arange(arms), np.tile(task.scene.home, (arms, 1)), pool.goal[:arms])
    return env


def _within(contract: Contract, readings: dict[str, np.ndarray], request: np.ndarray) -> np.ndarray:
    goals = goal_vector(np, contract, request)
    distance, angle = goal_errors(contract, achieved(np, contract, readings), goals)
    goal = contract.goal
    return np.asarray((distance <= goal.coarse_position_m) & (angle <= goal.coarse_angle_deg))


@dataclass(frozen=True)
class Arguments:
    """Send goals one after another to policy files in native MuJoCo."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    arms: int = 128
    goals: int = 25
    timeout_s: float = 5.0
    seed: int = 0
    quick: bool = False
    """16 arms, 8 goals."""
    min_share: float = 0.0
    """Exit status 1 when a smaller share of the sequences misses at most one goal."""
    json: JsonFile | None = None
    """Write the rows here too."""


def main() -> None:
    """Print the table, write JSON, compare with the threshold."""
    arguments = tyro.cli(Arguments, description=__doc__)
    rows = _measure(arguments)
    raise SystemExit(0 if all(row["all_but_one"] >= arguments.min_share for row in rows) else 1)


def _measure(arguments: Arguments) -> list[dict[str, Any]]:
    if not arguments.files:
        raise ShoalError("goal_sequences: name at least one policy file.")
    arms, goals = (16, 8) if arguments.quick else (arguments.arms, arguments.goals)
    table = Table(
        "file",
        "goals reached",
        "all but one",
        "after a miss",
        "longest miss",
        "worst sequence",
        title=f"{arms} sequences of {goals} goals from home, {arguments.timeout_s:g} s each",
    )
    rows = []
    for path in arguments.files:
        task, targets = policy_targets(path, rows=arms)
        seen = run_sequences(
            task, targets, arms=arms, goals=goals, timeout_s=arguments.timeout_s, seed=SEQUENCE_SEED + arguments.seed
        )
        row = {"file": str(path)} | seen.as_dict()
        found = (row[key] for key in ("reached", "all_but_one", "reached_after_missed"))
        shares = ("none" if share is None else f"{share:.1%}" for share in found)
        table.add_row(row["file"], *shares, str(row["longest_miss"]), f"{row['worst_sequence']} of {goals}")
        rows.append(row)
    Console().print(table)
    write_numbers(arguments.json, {"seed": arguments.seed, "arms": arms, "goals": goals, "rows": rows})
    return rows


if __name__ == "__main__":
    with command_line():
        main()
