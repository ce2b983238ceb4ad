"""How many goals a served policy reaches on a robot of ros2_control: states and commands over DDS, no ROS installed.

    python -m benchmarks.transport.ros2_robot [models/franka_pose.onnx] [--goals 25] [--quick] [--json PATH]

The robot is `benchmarks.transport.ros2_controller`, a process of its own with message types of its own: MuJoCo behind a
joint_state_broadcaster and a controller, whose joints have other names and another order than the policy's.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.machine import write_numbers
from benchmarks.report.recording import goals_from_pool
from benchmarks.transport.serving import serve_goals
from runtime.inference.policy import Policy
from runtime.ros2.domain import LOOPBACK_CONFIG
from runtime.ros2.robot_config import ForwardCommand, Ros2RobotConfig, TrajectoryCommand
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.files import write_yaml
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import load_task

Kind = Literal["trajectory", "forward", "none"]
"""Of controller; `none` is the same goals without topics, by the driver mujoco."""
GOAL_SEED = 9_000_011
"""Away from the seeds of training and of evaluations."""
_PREFIX = "left_"


@dataclass(frozen=True)
class Arguments:
    """Drive a simulated robot of ros2_control in another process."""

    models: tyro.conf.Positional[tuple[Path, ...]] = (Path("models/franka_pose.onnx"), Path("models/franka_reach.onnx"))
    goals: int = 25
    timeout_s: float = 10.0
    """For each goal."""
    kinds: tuple[Kind, ...] = ("trajectory", "forward", "none")
    quick: bool = False
    """Five goals."""
    json: JsonFile | None = None
    """Write the rows here too."""


@contextmanager
def controller(task: str, kind: Kind) -> Iterator[None]:
    """The robot's process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.transport.ros2_controller", task, "--kind", kind, "--rename", _PREFIX],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"CYCLONEDDS_URI": LOOPBACK_CONFIG},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise ShoalError("ros2_robot: the controller's process ended at once.")
    try:
        yield
    finally:
        process.stdin.close()
        process.wait()


def names_of(contract: Contract, kind: Kind) -> Ros2RobotConfig:
    """What that robot calls things."""
    names = {name: _PREFIX + name for name in contract.joint_names}
    told = tuple(_PREFIX + name for name in reversed(contract.joint_names))
    command = TrajectoryCommand() if kind == "trajectory" else ForwardCommand(kind="forward", joints=told)
    return Ros2RobotConfig(joint_names=names, command=command, wait_s=60.0)


def drive(model: Path, kind: Kind, *, goals: int, timeout_s: float) -> dict[str, Any]:
    """One row: goals that nobody has trained on, one after another."""
    contract = Policy(model).contract
    pool = sample_goal_pool(load_task(contract.task), size=goals, seed=GOAL_SEED)
    wanted = goals_from_pool(pool, goals)
    row = {"model": model.name, "kind": kind}
    if kind == "none":
        return row | serve_goals(model, wanted, timeout_s=timeout_s)
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder, controller(contract.task, kind):
        path = Path(folder) / "robot.yaml"
        write_yaml(path, names_of(contract, kind).model_dump(mode="json"))
        robot = ("--robot", "ros2", "--robot-config", str(path))
        return row | serve_goals(model, wanted, timeout_s=timeout_s, robot=robot)


def main(argv: list[str] | None = None) -> None:
    """Entry point of `python -m benchmarks.transport.ros2_robot`."""
    arguments = tyro.cli(Arguments, args=argv, description=__doc__)
    # Nobody else's robot must hear these commands.
    os.environ["ROS_DOMAIN_ID"] = str(random.randrange(100, 200))
    os.environ.pop("CYCLONEDDS_URI", None)
    os.environ.pop("ROS_AUTOMATIC_DISCOVERY_RANGE", None)
    goals = 5 if arguments.quick else arguments.goals
    rows = [
        drive(model, kind, goals=goals, timeout_s=arguments.timeout_s)
        for model in arguments.models
        for kind in arguments.kinds
    ]
    table = Table("policy", "controller", "goals reached", "the others", "median time, s", "missed periods")
    for row in rows:
        time_s = "-" if row["median_time_s"] is None else f"{row['median_time_s']:.2f}"
        table.add_row(
            row["kind"],
            f"{row['goals_reached']} of {row['goals_sent']}",
            time_s,
            f"{row['missed_periods']} of {row['ticks']}",
        )
    Console().print(table)
    write_numbers(arguments.json, {"rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
