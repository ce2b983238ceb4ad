"""Goals one after another through a real server, as a walking robot gets them: how many are reached.

    python -m benchmarks.policies.served_walk models/quadruped_walk.onnx [--goals 25] [--quick] [--json PATH]

`runtime serve` simulates the robot in real time, and a client sends goals through its socket: each between 1 and 3 m
from the one before and facing anywhere. A goal is reached as the contract says, within its tolerance for its hold time.
A robot that falls reaches none of the rest, so none is sent after the first that is missed. Exit status 1 where fewer
than `--at-least` are reached.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.transport.serving import serve_goals
from runtime.goals.messages import GoalPlanar
from runtime.inference.policy import Policy
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.files import write_json

_NEAREST_M, _FARTHEST_M = 1.0, 3.0


@dataclass(frozen=True)
class Arguments:
    """Serve a policy whose goals are poses on the ground, and send it goals."""

    file: tyro.conf.Positional[Path]
    goals: int = 25
    at_least: int = 0
    """Goals that must be reached."""
    timeout_s: float = 30.0
    """For each goal."""
    safety: Path | None = None
    """Settings of the server's safety layer."""
    seed: int = 0
    quick: bool = False
    """Two goals, of 15 s each."""
    json: JsonFile | None = None
    """Write the result here too."""


def walking_contract(file: Path) -> Contract:
    """The contract of a policy for planar poses; `ShoalError` for any other."""
    contract = Policy(file).contract
    if contract.goal.kind != "planar_pose":
        raise ShoalError(
            f"{file}: goals of {contract.task} are of kind {contract.goal.kind}; give a policy of planar_pose."
        )
    return contract


def goals_in_a_row(contract: Contract, count: int, seed: int) -> list[GoalPlanar]:
    """Goals, each 1 to 3 m from the one before, the first from the frame's origin; all within the contract's bounds."""
    rng, place, goals = np.random.default_rng(seed), np.zeros(2), list[GoalPlanar]()
    while len(goals) < count:
        direction, facing = rng.uniform(-math.pi, math.pi, 2)
        way = rng.uniform(_NEAREST_M, _FARTHEST_M) * np.array([math.cos(direction), math.sin(direction)])
        if contract.goal.allows(contract, np.array([*(place + way), facing])):
            place = place + way
            goals.append(GoalPlanar(planar=(*place.tolist(), facing)))
    return goals


def main() -> None:
    """Print the table and write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    contract = walking_contract(arguments.file)
    count, timeout_s = (2, 15.0) if arguments.quick else (arguments.goals, arguments.timeout_s)
    robot = ["--robot", "mujoco", *(["--safety", str(arguments.safety)] if arguments.safety else [])]
    goals = goals_in_a_row(contract, count, arguments.seed)
    served = serve_goals(arguments.file, goals, timeout_s=timeout_s, robot=robot, until_missed=True)
    table = Table("goals", "reached", "s to goal", "step p50, us", "step p99, us", "missed periods", "state at the end")
    seconds, step = served["median_time_s"], served["tick_us"]
    table.add_row(
        str(count),
        str(served["goals_reached"]),
        "-" if seconds is None else f"{seconds:.1f}",
        f"{step['p50']:.0f}",
        f"{step['p99']:.0f}",
        str(served["missed_periods"]),
        served["reason"],
    )
    Console().print(table)
    if arguments.json:
        write_json(
            arguments.json,
            {"machine": machine(), "file": arguments.file.name, "seed": arguments.seed, "goals_planned": count}
            | served,
        )
    if served["goals_reached"] < arguments.at_least:
        sys.exit(1)


if __name__ == "__main__":
    with command_line():
        main()
