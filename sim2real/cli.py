"""`sim2real`: look at tasks and contracts, compare them, and check a task before training on it.

    sim2real tasks                              # what ships with Shoal
    sim2real show franka_pose --json            # the contract, canonical JSON
    sim2real check my_robot/pick.yaml           # what a trainer should know first
    sim2real diff student.onnx my_robot/pick.yaml

`diff` exits with status 1 where the interfaces differ; every user error exits with status 2.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import mujoco
import numpy as np
import tyro
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from sim2real.contract import PER_POLICY, Contract, differences
from sim2real.errors import ShoalError
from sim2real.goal_pool import sample_goal_pool
from sim2real.kinematics import Addresses
from sim2real.policy_file import read_metadata
from sim2real.task import Task, TaskConfig, load_task, task_names

TaskName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(name="task", metavar="TASK")]
Side = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK|FILE")]


def main() -> None:
    """Console script."""
    commands: list[Callable[..., None]] = [tasks, show, schema, diff, check]
    by_name = {command.__name__: command for command in commands}
    try:
        tyro.extras.subcommand_cli_from_dict(by_name, prog="sim2real", description=(__doc__ or "").split("\n\n")[0])
    except ShoalError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # The reader, `head` for one, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tasks() -> None:
    """List the tasks that ship with Shoal."""
    table = Table("task", "robot", "joints", "goal", "control", "physics", "episode")
    for name in task_names():
        config = load_task(name).config
        timing = config.timing
        table.add_row(
            name,
            config.robot.name,
            str(len(config.robot.joints)),
            config.goal.space,
            f"{1 / timing.control_dt_s:g} Hz",
            f"{1 / timing.physics_dt_s:g} Hz",
            f"{timing.episode_s:g} s",
        )
    _console().print(table)


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
    console = _console()
    console.print(f"[bold]{contract.task}[/bold]  {contract.robot.name}  sha256 {contract.digest[:16]}")
    console.print(_joint_table(contract))
    readings = Table("reading", "size", "unit", "frame", "source on the robot")
    for reading in contract.readings:
        readings.add_row(reading.name, str(reading.size), reading.unit, reading.frame, reading.source)
    console.print(readings)
    rest = Table("field", "value")
    for part in ("action", "goal", "timing", "reachability", "lineage"):
        for field, value in getattr(contract, part).model_dump().items():
            rest.add_row(f"{part}.{field}", str(value))
    console.print(rest)


def schema() -> None:
    """Print the JSON schema of a task's YAML, for completion and checks in an editor."""
    print(json.dumps(TaskConfig.model_json_schema(), indent=2))


def diff(a: Side, b: Side) -> None:
    """Compare two contracts field by field; exit status 1 where a policy for one must not drive the other.

    Args:
        a: a shipped task, a task's .yaml, a policy's .onnx or a contract's .json.
        b: the same.
    """
    left, right = read_contract(a), read_contract(b)
    found = differences(left, right)
    if not found:
        print(f"{a} and {b} have the same contract, {left.digest[:16]}.")
        return
    for path, first, second in found:
        print(f"{_with_joint_name(path, left, right)}: {first!r} in {a}, {second!r} in {b}")
    interface = differences(left, right, ignore=PER_POLICY)
    if interface:
        print(f"{len(interface)} of the interface's fields differ: a policy made for one must not drive the other.")
        raise SystemExit(1)
    print("The interface is the same; only what belongs to one policy differs.")


def check(name: TaskName, *, samples: int = 2000, seed: int = 0) -> None:
    """Check a task before training on it: compile, build the contract, draw goals, report what they say.

    Args:
        name: a shipped task or a task's .yaml.
        samples: joint positions to draw.
        seed: of the draws.
    """
    task = load_task(name)
    contract, model, console = task.contract, task.model, _console()
    _refuse_delays(model)
    console.print(f"[bold]{contract.task}[/bold]  {task.mjcf_path.name} compiles, contract {contract.digest[:16]}")
    console.print(_joint_table(contract))
    pool = sample_goal_pool(task, size=min(samples, 500), seed=seed)
    low, high = pool.tool_position.min(axis=0), pool.tool_position.max(axis=0)
    console.print(f"goals reach from {_metres(low)} to {_metres(high)}")
    collides, outside = _random_poses(task, samples, seed)
    console.print(
        f"of {samples} joint positions over the full limits, {collides:.0%} touch themselves or the floor "
        f"and {outside:.0%} have the tool outside the goal box"
    )
    for note in _notes(contract, model):
        console.print(f"note: {note}")
    print(f"{name}: ready to train.")


def read_contract(source: str) -> Contract:
    """The contract of a task's name or YAML, a policy's `.onnx`, or a contract's `.json`; `ShoalError` otherwise."""
    path = Path(source)
    if path.suffix not in (".onnx", ".json"):
        return load_task(source).contract
    if not path.is_file():
        raise ShoalError(f"no file at {path}.")
    if path.suffix == ".onnx":
        return read_metadata(_onnx_properties(path), path=str(path))[0]
    try:
        return Contract.model_validate_json(path.read_text())
    except (ValidationError, UnicodeDecodeError) as error:
        raise ShoalError(f"{path}: not a contract: {' '.join(str(error).split())}") from error


def _onnx_properties(path: Path) -> dict[str, str]:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # Read at import; the wheels send telemetry otherwise.
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise ShoalError(f"{path}: reading a policy needs onnxruntime; pip install 'shoal[cpu]'.") from error
    try:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no public base class.
        raise ShoalError(f"{path}: ONNX Runtime cannot load it: {' '.join(str(error).split())}") from error
    return dict(session.get_modelmeta().custom_metadata_map)


def _refuse_delays(model: mujoco.MjModel) -> None:
    delayed = [model.actuator(i).name for i in range(model.nu) if model.actuator_delay[i] > 0]
    delayed += [model.sensor(i).name for i in range(model.nsensor) if model.sensor_delay[i] > 0]
    if model.nhistory or delayed:
        raise ShoalError(
            f"robot.mjcf: actuators or sensors with delay or nsample ({', '.join(delayed) or 'nsample only'}) are "
            "simulated by MuJoCo but silently ignored by MJX, so the two would train different policies; remove them."
        )


def _random_poses(task: Task, samples: int, seed: int) -> tuple[float, float]:
    """Shares of joint positions, uniform over the limits, that collide and whose tool leaves the goal box."""
    model, contract = task.model, task.contract
    addresses, data, rng = Addresses.of(model, contract), mujoco.MjData(model), np.random.default_rng(seed)
    low = np.array([joint.position_min_rad for joint in contract.robot.joints])
    high = np.array([joint.position_max_rad for joint in contract.robot.joints])
    box = np.array(contract.goal.position_min_m), np.array(contract.goal.position_max_m)
    collides = outside = 0
    for _ in range(samples):
        data.qpos[addresses.qpos] = rng.uniform(low, high)
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        tool = data.site_xpos[addresses.site]
        collides += data.ncon > 0
        outside += bool(np.any(tool < box[0]) or np.any(tool > box[1]))
    return collides / samples, outside / samples


def _notes(contract: Contract, model: mujoco.MjModel) -> list[str]:
    """What is allowed but worth a second look."""
    notes = []
    driven = set(Addresses.of(model, contract).actuator.tolist())
    idle = [model.actuator(i).name for i in range(model.nu) if i not in driven]
    if idle:
        notes.append(f"actuators that no policy commands stay at control 0: {', '.join(idle)}.")
    free = [model.joint(i).name for i in range(model.njnt) if model.joint(i).name not in contract.joint_names]
    if free:
        notes.append(
            f"joints outside the task move as physics lets them, and no reading shows them: {', '.join(free)}."
        )
    if not np.any(model.geom_contype | model.geom_conaffinity):
        notes.append("no geom can collide, so starts and goals may lie inside the robot or the floor.")
    soft = [joint.name for joint in contract.robot.joints if joint.damping_nms_rad == 0]
    if soft:
        notes.append(f"servos without damping (kv) swing for long: {', '.join(soft)}.")
    return notes


def _joint_table(contract: Contract) -> Table:
    table = Table("joint", "range rad", "home rad", "rad/s", "N m", "kp N m/rad", "kv N m s/rad", "step rad")
    for joint, scale in zip(contract.robot.joints, contract.action.scale_rad, strict=True):
        limits = f"{joint.position_min_rad:.4f} to {joint.position_max_rad:.4f}"
        numbers = (joint.velocity_max_rad_s, joint.effort_max_nm, joint.stiffness_nm_rad, joint.damping_nms_rad, scale)
        table.add_row(joint.name, limits, f"{joint.home_rad:.4f}", *(f"{number:g}" for number in numbers))
    return table


def _with_joint_name(path: str, left: Contract, right: Contract) -> str:
    """`robot.joints[3].home_rad` with the joint's name where both sides agree on it."""
    match = re.match(r"(?:robot\.joints|action\.scale_rad)\[(\d+)\]", path)
    if match is None:
        return path
    names = {contract.joint_names[int(match[1])] for contract in (left, right)}
    return f"{path} ({names.pop()})" if len(names) == 1 else path


def _metres(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in point) + ") m"


def _console() -> Console:
    # A pipe has no width of its own; tables must not be cut there.
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)
