"""`sim2real new-task`: from a robot's MJCF or URDF to a task file that trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import tyro

from sim2real.commands.check import check
from sim2real.commands.outputs import OutputPath
from sim2real.errors import ShoalError
from sim2real.new_task.kinds import Kind
from sim2real.new_task.proposal import default_name, propose, touching_at_home
from sim2real.new_task.source import read_source
from sim2real.new_task.write import write_task
from sim2real.tasks.task import TASK_NAME


def new_task(
    robot: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ROBOT")],
    *,
    kind: Kind = "reach",
    tool: tuple[str, ...] = (),
    output: OutputPath | None = None,
    force: bool = False,
) -> None:
    """Make a task file for a robot's MJCF or URDF, say what was guessed, and check it.

    Args:
        robot: the MJCF (.xml) or URDF (.urdf).
        kind: reach (tool to a position), pose (tool to a pose), walk (floating base to a place on the ground) or push
            (loose body to a place, pushed by the tool).
        tool: the site or body at the tool, or several, which then have a goal each.
        output: the task file; by default named after the robot, in the working directory.
        force: replace files that exist.
    """
    path = Path(f"{default_name(robot.resolve(), kind)}.yaml") if output is None else output
    name = path.stem
    if path.suffix not in (".yaml", ".yml") or not re.fullmatch(TASK_NAME, name):
        raise ShoalError(
            f"--output: {path} is no task file; it is called after its task, in lower case letters, digits and _ that "
            "begin with a letter, and ends in .yaml."
        )
    source = read_source(robot)
    proposal = propose(source, kind, name=name, tools=tool)
    taken = [file for file in (path, path.with_suffix(".xml")) if file.exists() and not force]
    if taken:
        raise ShoalError(
            f"--output: {', '.join(map(str, taken))} exists; give another --output, or --force to replace it."
        )
    print(
        f"{robot.name}: {source.model.njnt} joints, {source.model.nactuator} actuators, {source.model.nkey} keyframes; "
        f"trying the drives of {len(proposal.movers)} in simulation ...",
        flush=True,
    )
    files = write_task(source, proposal, path)
    for guess in proposal.guesses:
        print(f"  {guess}")
    touching = touching_at_home(source, proposal.home_qpos)
    if touching:
        print(f"  touch at home, which counts against no start: {'; '.join(touching)}")
    print(f"written: {', '.join(map(str, files))}; now checking it")
    check(str(path))
