"""Do the drives hold the robot, and do they bring it where they are told? Simulated before anything is trained.

    response = simulate_drives(model, robot, home, window=0.3)
    response.joints[0].rise_s, response.tool_sag_m, response.problems

At home, first all drives hold still under gravity, contacts and springs: what they sag. Then each is told a small step,
the others going on as they were. A floating base is held where it is meanwhile, without contacts; whether the robot
stands by itself is another question, see `Drives.base_drop_m`.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import mujoco
import numpy as np

from sim2real.contract import Joint, Robot
from sim2real.robots.coordinates import Coordinate, read_coordinate
from sim2real.robots.home import Home

_SETTLE_S = 3.0
_STEP_S = 2.0
_STEP = {"hinge": 0.05, "slide": 0.01}
_RISE = 1 - math.exp(-1)
_MOST_OF_RANGE = 0.1
_HEAVY = 1e6


@dataclass(frozen=True)
class JointResponse:
    """How one drive behaved, in the joint's units."""

    name: str
    kind: str
    rise_s: float
    """From the step to 63 % of it; infinite where it got no farther in two seconds."""
    moved: float
    """Share of the step after two seconds."""
    sag: float
    """Position minus target while it only held, position servos; drift in that time for the others."""
    load: float
    """Share of the effort limit that it needed meanwhile."""


@dataclass(frozen=True)
class Drives:
    """How all of them behaved."""

    joints: tuple[JointResponse, ...]
    tool_sag_m: float
    """How far the tool is from where home has it; 0 without a tool."""
    base_drop_m: float
    """How far a floating base sinks in three seconds while the drives hold home; 0 for a fixed base."""
    problems: tuple[str, ...]
    """Why nothing can be trained with these drives, in sentences."""


def simulate_drives(model: mujoco.MjModel, robot: Robot, home: Home, *, window: float) -> Drives:
    """Hold home, then a small step of each joint.

    Args:
        model: of the task.
        robot: its contract's.
        home: where everything stands.
        window: how far from the measured position a target may be: a servo that sags more sinks ever lower.
    """
    coordinates = [c for joint in robot.joints if (c := read_coordinate(model, joint.name)[0]) is not None]
    drop = _base_drop(model, coordinates, home) if robot.base == "floating" else 0.0
    held = _held_base(model, coordinates) if robot.base == "floating" else model
    data = _at(held, home, robot, coordinates)
    tool = _tool(held, data, robot)
    _run(held, data, _SETTLE_S)
    responses = []
    for joint, coordinate in zip(robot.joints, coordinates, strict=True):
        sag = coordinate.position(data.qpos) - joint.home_position
        load = abs(_effort(held, data, coordinate)) / joint.effort_max
        moved, rise_s = _step(held, data, joint, coordinate)
        responses.append(JointResponse(joint.name, joint.kind, rise_s, moved, sag, load))
    sag_m = float(np.linalg.norm(_tool(held, data, robot) - tool))
    problems = [
        said for joint, seen in zip(robot.joints, responses, strict=True) for said in _problems(joint, seen, window)
    ]
    if not np.isfinite(data.qpos).all() or data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number:
        problems = [
            f"the simulation diverges while the drives only hold home; timing.physics_dt_s {model.opt.timestep:g} "
            "is too long"
        ]
    return Drives(tuple(responses), sag_m, drop, tuple(problems))


def _problems(joint: Joint, seen: JointResponse, window: float) -> list[str]:
    unit = "rad" if joint.kind == "hinge" else "m" if joint.kind == "slide" else ""
    if joint.mode == "position" and abs(seen.sag) > window:
        return [
            f"{joint.name}: the servo cannot hold home: it sags {abs(seen.sag):.3g} {unit} with {seen.load:.0%} of its "
            f"effort of {joint.effort_max:g}, farther than the window of {window:g} in which targets are kept; "
            "give it more stiffness or effort, or compensate gravity (gravcomp)"
        ]
    if joint.mode == "effort" and seen.load > 1:
        return [
            f"{joint.name}: holding home takes {seen.load:.0%} of its effort limit of {joint.effort_max:g}; raise "
            "the limit"
        ]
    if seen.moved < _RISE:
        return [
            f"{joint.name}: told a small step, it does {seen.moved:.0%} of it in {_STEP_S:g} s (stiffness "
            f"{joint.stiffness:g}, "
            f"damping {joint.damping:g}, effort limit {joint.effort_max:g}); give it more stiffness or effort, or "
            "less damping, "
            "or remove what holds it"
        ]
    return []


def _at(model: mujoco.MjModel, home: Home, robot: Robot, coordinates: list[Coordinate]) -> mujoco.MjData:
    """Everything at home, drives told to stay."""
    data = mujoco.MjData(model)
    data.qpos[:], data.ctrl[:] = home.qpos, home.ctrl
    mujoco.mj_forward(model, data)
    for joint, coordinate in zip(robot.joints, coordinates, strict=True):
        command = {"position": joint.home_position, "velocity": 0.0, "effort": _static_effort(model, data, coordinate)}
        data.ctrl[coordinate.actuator] = command[joint.mode] * coordinate.actuation.control_per_command
    return data


def _static_effort(model: mujoco.MjModel, data: mujoco.MjData, coordinate: Coordinate) -> float:
    """What keeps the coordinate where it is against gravity and springs."""
    needed = data.qfrc_bias - data.qfrc_passive
    return float(coordinate.coefficients @ needed[coordinate.dof] / (coordinate.coefficients @ coordinate.coefficients))


def _effort(model: mujoco.MjModel, data: mujoco.MjData, coordinate: Coordinate) -> float:
    """Force at the coordinate in the last step."""
    return float(data.actuator_force[coordinate.actuator] * model.actuator_gear[coordinate.actuator, 0])


def _run(model: mujoco.MjModel, data: mujoco.MjData, duration_s: float) -> None:
    for _ in range(round(duration_s / model.opt.timestep)):
        mujoco.mj_step(model, data)


def _step(model: mujoco.MjModel, settled: mujoco.MjData, joint: Joint, coordinate: Coordinate) -> tuple[float, float]:
    """Share of a small step after two seconds, and when 63 % of it were done."""
    data = copy.copy(settled)
    size, bias = _step_size(joint), data.ctrl[coordinate.actuator]
    if joint.mode == "effort":
        # A motor obeys at once; that it can move at all is what holding home has shown.
        return 1.0, 0.0
    data.ctrl[coordinate.actuator] = bias + size * coordinate.actuation.control_per_command
    steps, rise_s = round(_STEP_S / model.opt.timestep), math.inf
    start = coordinate.position(data.qpos) if joint.mode == "position" else 0.0
    share = 0.0
    for index in range(steps):
        mujoco.mj_step(model, data)
        now = coordinate.position(data.qpos) if joint.mode == "position" else _velocity(data, coordinate)
        share = (now - start) / size
        if share >= _RISE and math.isinf(rise_s):
            rise_s = (index + 1) * model.opt.timestep
    return (max(share, _RISE) if joint.mode == "velocity" and math.isfinite(rise_s) else share), rise_s


def _velocity(data: mujoco.MjData, coordinate: Coordinate) -> float:
    return float(coordinate.coefficients @ data.qvel[coordinate.dof])


def _step_size(joint: Joint) -> float:
    """Towards the middle of the range: a twentieth of a radian, a centimetre, or a tenth of a small range."""
    if joint.mode == "velocity":
        return _MOST_OF_RANGE * joint.velocity_max
    low, high = joint.command_range
    size = min(_STEP.get(joint.kind, math.inf), _MOST_OF_RANGE * (high - low))
    return size if joint.continuous or joint.home_position <= (low + high) / 2 else -size


def _tool(model: mujoco.MjModel, data: mujoco.MjData, robot: Robot) -> np.ndarray:
    if robot.end_effector_frame is None:
        return np.zeros(3)
    mujoco.mj_kinematics(model, data)
    return np.array(data.site(robot.end_effector_frame).xpos)


def _base_dofs(model: mujoco.MjModel, coordinates: list[Coordinate]) -> np.ndarray:
    root = int(model.body_rootid[int(model.dof_bodyid[coordinates[0].dof[0]])])
    first = int(model.body_dofadr[root])
    return np.arange(first, first + 6)


def _held_base(model: mujoco.MjModel, coordinates: list[Coordinate]) -> mujoco.MjModel:
    """A copy whose base is too heavy to move, and in which nothing touches."""
    held = copy.copy(model)
    held.dof_armature[_base_dofs(model, coordinates)] = _HEAVY * max(float(model.body_mass.sum()), 1.0)
    held.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    return held


def _base_drop(model: mujoco.MjModel, coordinates: list[Coordinate], home: Home) -> float:
    root = int(model.body_rootid[int(model.dof_bodyid[coordinates[0].dof[0]])])
    data = mujoco.MjData(model)
    data.qpos[:], data.ctrl[:] = home.qpos, home.ctrl
    for coordinate in coordinates:
        if coordinate.actuation.mode == "position":
            data.ctrl[coordinate.actuator] = coordinate.position(home.qpos) * coordinate.actuation.control_per_command
    mujoco.mj_kinematics(model, data)
    start = float(data.xpos[root, 2])
    _run(model, data, _SETTLE_S)
    return start - float(data.xpos[root, 2])
