"""`sim2real check`: a task before training on it, or a robot before a policy moves it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import mujoco
import numpy as np

from sim2real.child_process import python_module
from sim2real.commands.shared import TaskName, console, joint_table
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import sample_goal_pool, tool_box
from sim2real.tasks.task import Task, load_task


def check(
    name: TaskName = "",
    *,
    samples: int = 2000,
    seed: int = 0,
    robot: str | None = None,
    model: Path | None = None,
    options: tuple[str, ...] = (),
) -> None:
    """Check a task before training on it; or, with --robot, a robot before a policy moves it.

    Args:
        name: a shipped task or a task's .yaml.
        samples: joint positions to draw.
        seed: of the draws.
        robot: a driver: its joints are wiggled slightly and compared with the model (the same as `runtime check`).
        model: the policy's .onnx whose contract the robot is held to, with --robot.
        options: further options of `runtime check`, for example `--options=--host=172.16.0.2`.
    """
    if robot is not None:
        raise SystemExit(_check_robot(robot, model, options))
    if not name:
        raise ShoalError("check: name a task, or give --robot and --model to check a robot.")
    task = load_task(name)
    contract, compiled, out = task.contract, task.model, console()
    _refuse_delays(compiled)
    out.print(f"[bold]{contract.task}[/bold]  {task.mjcf_path.name} compiles, contract {contract.digest[:16]}")
    out.print(joint_table(contract))
    pool = sample_goal_pool(task, size=min(samples, 500), seed=seed)
    low, high = pool.goal_position.min(axis=0), pool.goal_position.max(axis=0)
    out.print(f"goals reach from {_metres(low)} to {_metres(high)}")
    collides, outside = _random_poses(task, samples, seed)
    out.print(
        f"of {samples} joint positions over the full limits, {collides:.0%} touch themselves or the floor "
        f"and {outside:.0%} have the tool outside the box in which it starts"
    )
    for note in _notes(contract, compiled):
        out.print(f"note: {note}")
    print(f"{name}: ready to train.")


def _check_robot(robot: str, model: Path | None, options: tuple[str, ...]) -> int:
    """Exit status of `runtime check`; drivers belong to the runtime, which is started as a program of its own."""
    if model is None:
        raise ShoalError("check: --robot needs --model, the policy's .onnx that the robot is meant for.")
    command = python_module("runtime.cli", "check", "--robot", robot, "--model", str(model), *options)
    return subprocess.run(command, check=False).returncode


def _refuse_delays(model: mujoco.MjModel) -> None:
    delayed = [model.actuator(i).name for i in range(model.nu) if model.actuator_delay[i] > 0]
    delayed += [model.sensor(i).name for i in range(model.nsensor) if model.sensor_delay[i] > 0]
    if model.nhistory or delayed:
        raise ShoalError(
            f"robot.mjcf: actuators or sensors with delay or nsample ({', '.join(delayed) or 'nsample only'}) are "
            "simulated by MuJoCo but silently ignored by MJX, so the two would train different policies; remove them."
        )


def _random_poses(task: Task, samples: int, seed: int) -> tuple[float, float]:
    """Shares of joint positions, uniform over the limits, that collide and whose tool leaves the box of the starts."""
    model, contract = task.model, task.contract
    addresses, rng = Addresses.of(model, contract), np.random.default_rng(seed)
    data = addresses.home_data(model)
    low = np.array([joint.position_min for joint in contract.robot.joints])
    high = np.array([joint.position_max for joint in contract.robot.joints])
    box = tool_box(task)
    collides = outside = 0
    for _ in range(samples):
        addresses.place(data.qpos, rng.uniform(low, high))
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        tool = data.site_xpos[addresses.site]
        collides += data.ncon > 0
        outside += bool(np.any(tool < box[0]) or np.any(tool > box[1]))
    return collides / samples, outside / samples


def _notes(contract: Contract, model: mujoco.MjModel) -> list[str]:
    """What is allowed but worth a second look."""
    notes = []
    addresses = Addresses.of(model, contract)
    driven, thing = set(addresses.actuator.tolist()), -1 if addresses.object is None else addresses.object.body
    idle = [model.actuator(i).name for i in range(model.nu) if i not in driven]
    if idle:
        notes.append(f"actuators that no policy commands stay at control 0: {', '.join(idle)}.")
    others = [i for i in range(model.njnt) if model.jnt_bodyid[i] != thing]
    free = [model.joint(i).name for i in others if model.joint(i).name not in contract.joint_names]
    if free:
        notes.append(
            f"joints outside the task move as physics lets them, and no reading shows them: {', '.join(free)}."
        )
    if not np.any(model.geom_contype | model.geom_conaffinity):
        notes.append("no geom can collide, so starts and goals may lie inside the robot or the floor.")
    soft = [joint.name for joint in contract.robot.joints if joint.damping == 0]
    if soft:
        notes.append(f"servos without damping (kv) swing for long: {', '.join(soft)}.")
    return notes


def _metres(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.2f}" for value in point) + ") m"
