"""`sim2real check`: a task before training on it, or a robot before a policy moves it."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import mujoco
import numpy as np
from rich.console import Console
from rich.table import Table

from sim2real.actuators.servo_simulation import UNITS, simulate_drives
from sim2real.child_process import python_module
from sim2real.commands.checks.backends import backends
from sim2real.commands.checks.pictures import pictures as draw
from sim2real.commands.checks.starts import starts
from sim2real.commands.shared import TaskName, console, joint_table
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.pages import viser_installed
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import Task, load_task


def check(
    name: TaskName = "",
    *,
    mjx: bool = False,
    samples: int = 2000,
    seed: int = 0,
    pictures: Path | None = None,
    robot: str | None = None,
    model: Path | None = None,
    options: tuple[str, ...] = (),
) -> None:
    """Check a task before training on it; or, with --robot, a robot before a policy moves it.

    Args:
        name: a shipped task or a task's .yaml.
        mjx: also fail where the MJX backend cannot simulate the model, and measure its speed; otherwise what it cannot
            do is only said.
        samples: joint positions to draw.
        seed: of the draws.
        pictures: a folder for workspace.png, goals.png and, to turn in a browser, task.html: what the tool or base
            reaches, starts and goals.
        robot: a driver: its joints are wiggled slightly and compared with the model (the same as `runtime check`).
        model: the policy's .onnx whose contract the robot is held to, with --robot.
        options: further options of `runtime check`, for example `--options=--host=172.16.0.2`.
    """
    if robot is not None:
        raise SystemExit(_check_robot(robot, model, options))
    if not name:
        raise ShoalError("check: name a task, or give --robot and --model to check a robot.")
    if samples < 1 or seed < 0:
        raise ShoalError(f"check: --samples must be at least 1 and --seed at least 0, got {samples} and {seed}.")
    task, out = load_task(name), console()
    contract = task.contract
    out.print(f"[bold]{contract.task}[/bold]  {task.mjcf_path.name} compiles, contract {contract.digest[:16]}")
    out.print(joint_table(contract))
    problems = [*_drives(task, out)]
    pool, said = starts(task, out, samples=samples, seed=seed)
    problems += [*said, *backends(task, pool, out, mjx=mjx, seed=seed)]
    if pictures is not None:
        print(f"written: {', '.join(map(str, draw(task, pool, pictures, seed=seed))) or 'no picture'}")
        if not viser_installed():
            print("note: for a picture to turn in a browser, pip install 'shoal[page]'.")
    for note in _notes(contract, task.model):
        out.print(f"note: {note}")
    if problems:
        print(f"{name}: not ready to train, {len(problems)} {'problem' if len(problems) == 1 else 'problems'}:")
        for problem in problems:
            print(f"  {problem}.")
        raise SystemExit(1)
    print(f"{name}: ready to train.")


def _drives(task: Task, out: Console) -> tuple[str, ...]:
    """Simulate the servos, print how they did; the problems."""
    robot = task.contract.robot
    drives = simulate_drives(task.model, robot, task.home, window=getattr(task.contract.action, "window", 0.3))
    servos = {joint.name for joint in robot.joints if joint.mode == "position"}
    if servos:
        table = Table("joint", "told a small step", "sag at home", "of effort limit")
        for seen in (seen for seen in drives.joints if seen.name in servos):
            rise = f"63 % after {1e3 * seen.rise_s:.0f} ms" if math.isfinite(seen.rise_s) else f"only {seen.moved:.0%}"
            sag = f"{1e3 * seen.sag:+.2f} m{UNITS[seen.kind]}"
            table.add_row(seen.name, rise, sag, f"{seen.load:.0%}")
        out.print(table)
    if robot.end_effector_frame:
        out.print(f"under gravity the tool is {1e3 * drives.tool_sag_m:.1f} mm from where home has it")
    if robot.base == "floating":
        doing = "the drives only hold home" if servos else "the drives do nothing"
        out.print(f"while {doing}, the base sinks {1e2 * drives.base_drop_m:.1f} cm in three seconds")
    return drives.problems


def _check_robot(robot: str, model: Path | None, options: tuple[str, ...]) -> int:
    """Exit status of `runtime check`; drivers belong to the runtime, which is started as a program of its own."""
    if model is None:
        raise ShoalError("check: --robot needs --model, the policy's .onnx that the robot is meant for.")
    command = python_module("runtime.cli", "check", "--robot", robot, "--model", str(model), *options)
    return subprocess.run(command, check=False).returncode


def _notes(contract: Contract, model: mujoco.MjModel) -> list[str]:
    """What is allowed but worth a second look."""
    notes = []
    addresses = Addresses.of(model, contract.robot)
    driven = set(addresses.actuator.tolist())
    idle = [f"{model.actuator(i).name} at {addresses.rest_ctrl[i]:g}" for i in range(model.nu) if i not in driven]
    if idle:
        notes.append(f"actuators that no policy commands keep their control at home: {', '.join(idle)}.")
    told = {getattr(reading, "of", "") for reading in contract.readings} - {""}
    others = [i for i in range(model.njnt) if model.body(int(model.jnt_bodyid[i])).name not in told]
    own = {int(dof) for coordinate in addresses.coordinates for dof in coordinate.dof}
    free = [model.joint(i).name or f"number {i}" for i in others if int(model.jnt_dofadr[i]) not in own]
    if free:
        notes.append(
            f"joints outside the task move as physics lets them, and no reading shows them: {', '.join(free)}."
        )
    if not np.any(model.geom_contype | model.geom_conaffinity):
        notes.append("no geom can collide, so starts and goals may lie inside the robot or the floor.")
    sprung = [model.joint(c.name).id for c in addresses.coordinates if not c.moves]
    springs = [f"{model.joint(i).name} ({model.jnt_stiffness[i]:g})" for i in sprung if model.jnt_stiffness[i] > 0]
    if springs:
        notes.append(f"joints with springs of their own pull away from their targets: {', '.join(springs)}.")
    gravity = mujoco.mjtDisableBit.mjDSBL_GRAVITY
    if model.opt.disableflags & gravity or not model.opt.gravity.any():
        notes.append("there is no gravity in this model.")
    soft = [joint.name for joint in contract.robot.joints if joint.mode == "position" and joint.damping == 0]
    if soft:
        notes.append(f"servos without damping (kv) swing for long: {', '.join(soft)}.")
    return notes
