"""`sim2real tasks`, `show` and `schema`: what there is."""

from __future__ import annotations

import json
from typing import Annotated

import tyro
from rich.table import Table

from sim2real.commands.shared import TaskName, console, joint_table, read_contract
from sim2real.tasks.shipped import packaged_tasks, task_names
from sim2real.tasks.task import TaskConfig, load_task


def tasks() -> None:
    """List the tasks that ship with Shoal, and those of other packages that are installed."""
    table = Table("task", "robot", "joints", "goal", "control", "physics", "episode")
    for name in (*task_names(), *packaged_tasks()):
        config = load_task(name).config
        timing = config.timing
        table.add_row(
            name,
            config.robot.name,
            str(len(config.robot.joints)),
            config.goal.kind,
            f"{1 / timing.control_dt_s:g} Hz",
            f"{1 / timing.physics_dt_s:g} Hz",
            f"{timing.episode_s:g} s",
        )
    console().print(table)


def show(name: TaskName, *, canonical: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """Show the contract that policies for a task are held to.

    Args:
        name: a shipped task, a task's .yaml, a policy's .onnx or a contract's .json.
        canonical: print canonical JSON, the text whose SHA-256 is the digest.
    """
    contract = read_contract(name)
    if canonical:
        print(contract.canonical_json)
        return
    out = console()
    out.print(f"[bold]{contract.task}[/bold]  {contract.robot.name}  sha256 {contract.digest[:16]}")
    out.print(joint_table(contract))
    readings = Table("reading", "size", "unit", "frame", "source on the robot")
    for reading in contract.readings:
        readings.add_row(reading.name, str(reading.size), reading.unit, reading.frame, reading.source)
    out.print(readings)
    rest = Table("field", "value")
    for part in ("action", "goal", "timing", "reachability", "lineage"):
        for field, value in getattr(contract, part).model_dump().items():
            rest.add_row(f"{part}.{field}", str(value))
    out.print(rest)


def schema() -> None:
    """Print the JSON schema of a task's YAML, for completion and checks in an editor."""
    print(json.dumps(TaskConfig.model_json_schema(), indent=2))
