"""`sim2real`: look at tasks and contracts, and measure what lies between simulation and robot.

    sim2real tasks                              # what ships with Shoal
    sim2real show franka_pose --json            # the contract, canonical JSON
    sim2real new-task robot.xml --kind reach    # a task file from an MJCF or URDF
    sim2real check my_robot/pick.yaml           # what a trainer should know first
    sim2real diff student.onnx my_robot/pick.yaml
    sim2real excite --task franka_reach         # a trajectory to identify with
    sim2real identify --log run.mcap --task franka_reach
    sim2real latency run.mcap --task franka_reach
    sim2real gap --log run.mcap --task franka_reach --model student.onnx
    sim2real dataset run.mcap --output dataset   # LeRobot's format: Parquet
    sim2real stress --model student.onnx        # exits with status 1 for a no-go

`diff` exits with status 1 where the interfaces differ; every user error exits with status 2.
"""

from __future__ import annotations

from collections.abc import Callable

import tyro

from sim2real.commands.check import check
from sim2real.commands.dataset import dataset
from sim2real.commands.diff import diff
from sim2real.commands.gap import gap
from sim2real.commands.identify import excite, identify
from sim2real.commands.latency import latency
from sim2real.commands.new_task import new_task
from sim2real.commands.stress import stress
from sim2real.commands.tasks import schema, show, tasks
from sim2real.console import command_line, prepare_process

COMMANDS: tuple[Callable[..., None], ...] = (
    tasks,
    show,
    schema,
    new_task,
    diff,
    check,
    excite,
    identify,
    latency,
    gap,
    dataset,
    stress,
)


def main() -> None:
    """Console script."""
    prepare_process()
    by_name = {command.__name__.replace("_", "-"): command for command in COMMANDS}
    with command_line():
        tyro.extras.subcommand_cli_from_dict(by_name, prog="sim2real", description=(__doc__ or "").split("\n\n")[0])


if __name__ == "__main__":
    main()
