"""What several commands need: reading a contract from anything that holds one, and printing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from sim2real.contract import Contract, require_same_interface
from sim2real.contract.policy_file import read_metadata, require_intact
from sim2real.errors import ShoalError, problems
from sim2real.evaluation.onnx_policy import open_session
from sim2real.logs.log import Log, read_log
from sim2real.tasks.task import Task, load_task

TaskName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(name="task", metavar="TASK")]


def read_contract(source: str) -> Contract:
    """The contract of a task's name or YAML, a policy's `.onnx`, or a contract's `.json`; `ShoalError` otherwise."""
    path = Path(source)
    if path.suffix not in (".onnx", ".json"):
        return load_task(source).contract
    if not path.is_file():
        raise ShoalError(f"no file at {path}.")
    if path.suffix == ".onnx":
        properties = dict(open_session(path).get_modelmeta().custom_metadata_map)
        contract, certificate = read_metadata(properties, path=str(path))
        require_intact(path, certificate)
        return contract
    try:
        return Contract.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ShoalError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValidationError as error:
        raise ShoalError(f"{path}: not a contract: {problems(error)}.") from error


def joint_table(contract: Contract) -> Table:
    """Limits and gains of every joint."""
    table = Table("joint", "range rad", "home rad", "rad/s", "N m", "kp N m/rad", "kv N m s/rad", "step rad")
    for joint, scale in zip(contract.robot.joints, contract.action.step_max, strict=True):
        limits = f"{joint.position_min:.4f} to {joint.position_max:.4f}"
        numbers = (joint.velocity_max, joint.effort_max, joint.stiffness, joint.damping, scale)
        table.add_row(joint.name, limits, f"{joint.home_position:.4f}", *(f"{number:g}" for number in numbers))
    return table


def log_of(path: Path, task: Task) -> Log:
    """A recording's log; `ContractMismatch` where it was made for another robot or task."""
    log = read_log(path)
    if log.note:
        print(f"note: {log.note}", file=sys.stderr)
    require_same_interface(log.contract, task.contract, left_name=path.name, right_name=f"task {task.config.name}")
    return log


def console() -> Console:
    """Standard output."""
    # A pipe has no width of its own; tables must not be cut there.
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)
