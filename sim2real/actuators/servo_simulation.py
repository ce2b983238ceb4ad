"""Do the drives hold the robot, and do they bring it where they are told? Simulated before anything is trained.

    drives = simulate_drives(model, robot, home, window=0.3)
    drives.joints[0].rise_s, drives.tool_sag_m, drives.problems

At home, first all drives hold still under gravity, contacts and springs: what they sag. Then each is told a small step,
the others going on as they were. A floating base is held where it is meanwhile, without contacts; whether the robot
stands by itself is another question, see `Drives.base_drop_m`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import mujoco
import numpy as np

from sim2real.contract import Joint, Robot
from sim2real.robots.coordinates import Coordinate, require_coordinate
from sim2real.robots.home import Home

_SETTLE_S = 3.0
_STEP_S = 2.0
_STEP = {"hinge": 0.05, "slide": 0.01}
_RISE = 1 - math.exp(-1)
_OF_RANGE = 0.1
_RESTLESS = {"hinge": 0.1, "slide": 0.02}
"""Speed, rad/s and m/s, above which a joint that only holds has not come to rest."""
_NUDGE = 0.01
"""Speed that every joint begins with, rad/s or m/s, without which an unstable one would balance on the spot."""
_SWING, _SWING_S = 0.5, 0.8
_HEAVY = 1e6
UNITS = {"hinge": "rad", "slide": "m", "tendon": "m"}


@dataclass(frozen=True)
class JointResponse:
    """How one drive behaved, in the joint's units."""

    name: str
    kind: str
    rise_s: float
    """From the step to 63 % of it; infinite where it got no farther in two seconds."""
    moved: float
    """Share of the step that was done after two seconds."""
    sag: float
    """Position minus target while it only held, of position servos; 0 of the others."""
    load: float
    """Share of the effort limit that holding took."""
    speed: float
    """Largest speed in the last tenth of holding, after a nudge at its beginning."""
    swing: float
    """Share of the step by which it still went to and fro in the last 0.8 s."""

    @property
    def restless(self) -> bool:
        """Whether it moves although it is to hold."""
        return self.speed > _RESTLESS.get(self.kind, math.inf)

    @property
    def swings(self) -> bool:
        """Whether it goes to and fro around where it was told to go."""
        return not self.swing <= _SWING

    @property
    def arrives(self) -> bool:
        """Whether it gets where it is told to go, nearly."""
        return self.moved >= _RISE


@dataclass(frozen=True)
class Drives:
    """How all of them behaved."""

    joints: tuple[JointResponse, ...]
    tool_sag_m: float
    """How far the tool is from where home has it; 0 without a tool."""
    base_drop_m: float
    """How far a floating base sinks in three seconds while the drives hold home; 0 of a fixed base."""
    problems: tuple[str, ...]
    """Why nothing can be trained with these drives, in sentences."""


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep MuJoCo from telling the terminal, and a file MUJOCO_LOG.TXT in the working directory, that a simulation
    diverges: that is said in a sentence.
    """
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


@_without_warnings()
def simulate_drives(model: mujoco.MjModel, robot: Robot, home: Home, *, window: float) -> Drives:
    """Hold home, then a small step of each joint.

    Args:
        model: of the task.
        robot: its contract's.
        home: where everything stands.
        window: how far from the measured position a target may be: a servo that sags more sinks ever lower.
    """
    coordinates = [require_coordinate(model, joint.name) for joint in robot.joints]
    drop = 0.0
    held = model
    if robot.base == "floating":
        drop, held = _base_drop(model, robot, coordinates, home), _with_base_held(model, coordinates)
    data = _told_to_stay(held, robot, coordinates, home)
    tool = _tool(held, data, robot)
    _run(held, data, 0.9 * _SETTLE_S)
    speeds = _largest_speeds(held, data, coordinates, 0.1 * _SETTLE_S)
    if not np.isfinite(data.qacc).all() or data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number:
        diverges = (
            "the simulation diverges while the drives only hold home: timing.physics_dt_s "
            f"{model.opt.timestep:g} is too long for them; shorten it, or lower stiffness and damping"
        )
        return Drives((), 0.0, drop, (diverges,))
    responses = []
    for joint, coordinate, speed in zip(robot.joints, coordinates, speeds, strict=True):
        positions = joint.mode == "position"
        sag = coordinate.position(data.qpos) - joint.home_position if positions else 0.0
        load = abs(float(data.actuator_force[coordinate.actuator]) * coordinate.gear) / joint.effort_max
        moved, rise_s, swing = _step(held, data, joint, coordinate)
        restless = speed if positions else 0.0
        responses.append(JointResponse(joint.name, joint.kind, rise_s, moved, sag, load, restless, swing))
    sag_m = float(np.linalg.norm(_tool(held, data, robot) - tool)) if any(r.sag for r in responses) else 0.0
    pairs = zip(robot.joints, responses, strict=True)
    return Drives(tuple(responses), sag_m, drop, tuple(said for pair in pairs for said in _problems(*pair, window)))


def _problems(joint: Joint, seen: JointResponse, window: float) -> list[str]:
    unit, drive = UNITS[joint.kind], f"stiffness {joint.stiffness:g}, damping {joint.damping:g}"
    if abs(seen.sag) > window:
        return [
            f"{joint.name}: the servo cannot hold home: it sags {abs(seen.sag):.3g} {unit} with {seen.load:.0%} of its "
            f"effort limit of {joint.effort_max:g}, farther than targets may be from the joint (action.window "
            f"{window:g}); give it more stiffness or effort, or compensate gravity (gravcomp)"
        ]
    if seen.restless:
        return [
            f"{joint.name}: the servo does not come to rest at home: it still moves at {seen.speed:.2g} {unit}/s after "
            f"{_SETTLE_S:g} s ({drive}); shorten timing.physics_dt_s, or choose other gains"
        ]
    if joint.mode == "effort" and seen.load > 1:
        return [
            f"{joint.name}: holding home takes {seen.load:.0%} of its effort limit of {joint.effort_max:g}; raise the "
            "limit, or compensate gravity (gravcomp)"
        ]
    if seen.swings:
        return [
            f"{joint.name}: told a small step, it swings around its target by {seen.swing:.0%} of the step after "
            f"{_STEP_S:g} s ({drive}); give it damping, or shorten timing.physics_dt_s"
        ]
    if not seen.arrives:
        return [
            f"{joint.name}: told a small step, it does {seen.moved:.0%} of it in {_STEP_S:g} s ({drive}, effort limit "
            f"{joint.effort_max:g}); give it more stiffness or effort, or less damping, or remove what holds it"
        ]
    return []


def _told_to_stay(model: mujoco.MjModel, robot: Robot, coordinates: Sequence[Coordinate], home: Home) -> mujoco.MjData:
    """Everything at home, drives told to stay."""
    data = mujoco.MjData(model)
    data.qpos[:], data.ctrl[:] = home.qpos, home.ctrl
    mujoco.mj_forward(model, data)
    against = data.qfrc_bias - data.qfrc_passive
    for joint, c in zip(robot.joints, coordinates, strict=True):
        effort = float(c.spread @ against[c.dof])
        command = {"position": joint.home_position, "velocity": 0.0, "effort": effort}[joint.mode]
        data.ctrl[c.actuator] = command * c.actuation.control_per_command
        data.qvel[c.dof] = _NUDGE * c.spread
    return data


def _run(model: mujoco.MjModel, data: mujoco.MjData, duration_s: float) -> None:
    for _ in range(round(duration_s / model.opt.timestep)):
        mujoco.mj_step(model, data)


def _largest_speeds(
    model: mujoco.MjModel, data: mujoco.MjData, coordinates: Sequence[Coordinate], duration_s: float
) -> list[float]:
    largest = np.zeros(len(coordinates))
    for _ in range(round(duration_s / model.opt.timestep)):
        mujoco.mj_step(model, data)
        largest = np.maximum(largest, [abs(_velocity(data, c)) for c in coordinates])
    return [float(speed) for speed in largest]


def _step(model: mujoco.MjModel, settled: mujoco.MjData, joint: Joint, c: Coordinate) -> tuple[float, float, float]:
    """Share of a small step after two seconds, when 63 % of it were done, and how much it still swings.

    A motor obeys at once.
    """
    if joint.mode == "effort":
        return 1.0, 0.0, 0.0
    data, size, positions = copy.copy(settled), _step_size(joint), joint.mode == "position"
    data.ctrl[c.actuator] += size * c.actuation.control_per_command
    start, share, rise_s = c.position(data.qpos) if positions else 0.0, 0.0, math.inf
    steps, last = round(_STEP_S / model.opt.timestep), []
    for index in range(steps):
        mujoco.mj_step(model, data)
        share = ((c.position(data.qpos) if positions else _velocity(data, c)) - start) / size
        if share >= _RISE and math.isinf(rise_s):
            rise_s = (index + 1) * model.opt.timestep
            if not positions:
                return share, rise_s, 0.0  # A velocity soon ends at a limit of the joint.
        if (steps - index) * model.opt.timestep <= _SWING_S:
            last.append(share)
    if data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number:
        return math.nan, rise_s, math.inf
    return share, rise_s, max(last) - min(last)


def _velocity(data: mujoco.MjData, c: Coordinate) -> float:
    return float(c.coefficients @ data.qvel[c.dof])


def _step_size(joint: Joint) -> float:
    """Towards the middle of the range: a twentieth of a radian or a centimetre, and at most a tenth of the range."""
    low, high = joint.command_range
    size = min(_STEP.get(joint.kind, math.inf), _OF_RANGE * (high - low))
    return -size if joint.mode == "position" and joint.home_position - low > high - joint.home_position else size


def _tool(model: mujoco.MjModel, data: mujoco.MjData, robot: Robot) -> np.ndarray:
    mujoco.mj_kinematics(model, data)
    if robot.end_effector_frame is None:
        return np.zeros(3)
    return np.array(data.site(robot.end_effector_frame).xpos)


def _root(model: mujoco.MjModel, coordinates: Sequence[Coordinate]) -> int:
    return int(model.body_rootid[int(model.dof_bodyid[coordinates[0].dof[0]])])


def _with_base_held(model: mujoco.MjModel, coordinates: Sequence[Coordinate]) -> mujoco.MjModel:
    """A copy whose floating base is too heavy to move, and in which nothing touches."""
    held, first = copy.copy(model), int(model.body_dofadr[_root(model, coordinates)])
    held.dof_armature[first : first + 6] = _HEAVY * max(float(model.body_mass.sum()), 1.0)
    held.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
    return held


def _base_drop(model: mujoco.MjModel, robot: Robot, coordinates: Sequence[Coordinate], home: Home) -> float:
    data, root = _told_to_stay(model, robot, coordinates, home), _root(model, coordinates)
    start = float(data.xpos[root, 2])
    _run(model, data, _SETTLE_S)
    return start - float(data.xpos[root, 2])
