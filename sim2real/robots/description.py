"""From a compiled model to the robot part of a contract: everything that the model does is said there, or refused.

All problems are found in one run. Each names the element, its value and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from sim2real.robots.actuation import moments
from sim2real.robots.config import RobotConfig
from sim2real.robots.coordinates import Coordinate, actuator_name, it_has, passive_addresses, read_coordinate
from sim2real.robots.home import Home, home_of
from sim2real.robots.model import compiled_digest
from sim2real.robots.robot import Held, HeldServo, Joint, Robot, Standing

_ROUNDING = 1e-6
"""Of a range, or of one rad: closer ranges are the same one written differently."""


def describe_robot(
    config: RobotConfig, model: mujoco.MjModel, *, placed: Sequence[int] = ()
) -> tuple[Robot | None, Home, list[str]]:
    """The robot of a task, None where there are problems; its home; and the problems.

    Args:
        config: the task's.
        model: with the task's servos, as of `sim2real.robots.servos.load_robot`.
        placed: bodies that episodes place by themselves (objects), so that nothing has to be said about them.
    """
    home, problems = home_of(config, model)
    found = [read_coordinate(model, name) for name in config.joints]
    problems += [f"robot.joints: {problem}" for _, said in found for problem in said]
    coordinates = [coordinate for coordinate, _ in found if coordinate is not None]
    problems += model_problems(model, coordinates, home)
    sites = [model.site(i).name for i in range(model.nsite)]
    tool = config.end_effector_site
    if tool is not None and tool not in sites:
        problems.append(f"robot.end_effector_site: the MJCF has no site or body {tool!r}; {it_has(sites, tool)}")
    joints = []
    for coordinate, velocity_max in zip(coordinates, config.velocity_max, strict=False):
        problems += _limit_problems(coordinate, home)
        if not problems:
            joints.append(_joint(coordinate, velocity_max, home, declared=coordinate.name in config.servos()))
    if problems:
        return None, home, problems
    robot = Robot(
        name=config.name,
        mjcf_sha256=compiled_digest(model),
        joints=tuple(joints),
        base="floating" if is_floating(model, coordinates) else "fixed",
        end_effector_frame=config.end_effector_site,
        standing=_standing(model, coordinates, home, placed),
        held=_held(model, coordinates, home, set(config.servos())),
    )
    return robot, home, []


def is_floating(model: mujoco.MjModel, coordinates: Sequence[Coordinate]) -> bool:
    """Whether the body that carries the joints hangs on a free joint."""
    body = int(model.dof_bodyid[coordinates[0].dof[0]]) if coordinates else 0
    root = int(model.body_rootid[body])
    first = int(model.body_jntadr[root])
    return first >= 0 and model.jnt_type[first] == mujoco.mjtJoint.mjJNT_FREE


def model_problems(model: mujoco.MjModel, coordinates: Sequence[Coordinate], home: Home) -> list[str]:
    """What the model as a whole does that a contract of these coordinates doesn't say."""
    problems = []
    for bit, name, does in (
        (mujoco.mjtDisableBit.mjDSBL_ACTUATION, "actuation", "no actuator gives any force"),
        (mujoco.mjtDisableBit.mjDSBL_LIMIT, "limit", "no joint keeps to its range"),
    ):
        if model.opt.disableflags & bit:
            problems.append(f'<option><flag {name}="disable"/>: {does}; enable it')
    delayed = [f"sensor {model.sensor(i).name!r}" for i in range(model.nsensor) if model.sensor_delay[i] > 0]
    delayed += [f"sensor {model.sensor(i).name!r}" for i in range(model.nsensor) if model.sensor_history[i, 0] > 0]
    if delayed:
        problems.append(
            f"{', '.join(dict.fromkeys(delayed))} with delay or nsample: MJX ignores it without a word; remove it, "
            "and let "
            "`randomisation.observation_delay_s` say it"
        )
    several = [i for i in range(model.nactuator) if model.actuator_ctrlnum[i] != 1]
    driven = {coordinate.actuator for coordinate in coordinates}
    problems += [
        f"actuator {actuator_name(model, i)} takes {model.actuator_ctrlnum[i]} controls, so that controls and "
        "actuators no "
        "longer go one by one; remove it"
        for i in several
        if i not in driven
    ]
    if not several:
        problems += _other_drives(model, coordinates, home)
    return problems + _couplings(model, coordinates)


def _other_drives(model: mujoco.MjModel, coordinates: Sequence[Coordinate], home: Home) -> list[str]:
    """Actuators outside the task that push joints of the task."""
    problems, moment = [], moments(model, home.qpos)
    low, high = model.actuator_ctrlrange.T
    told = np.where(model.actuator_ctrllimited, np.clip(home.ctrl, low, high), home.ctrl)
    driven = {coordinate.actuator for coordinate in coordinates}
    for actuator in set(range(model.nactuator)) - driven:
        moved = [c.name for c in coordinates if np.abs(moment[actuator][c.dof]).max() > 1e-12]
        idle = not model.actuator_biasprm[actuator].any() and told[actuator] == 0
        if moved and not idle:
            problems.append(
                f"actuator {actuator_name(model, actuator)}, which no command reaches, pushes "
                f"{', '.join(map(repr, moved))}; remove it from the MJCF, since `robot.servo` replaces only what "
                "drives one joint of the task alone"
            )
    return problems


def _couplings(model: mujoco.MjModel, coordinates: Sequence[Coordinate]) -> list[str]:
    """Equalities that hold one joint of the task to another."""
    owner = {model.joint(int(model.dof_jntid[dof])).id: c.name for c in coordinates for dof in c.dof}
    problems = []
    for i in range(model.neq):
        first, second = int(model.eq_obj1id[i]), int(model.eq_obj2id[i])
        if not model.eq_active0[i] or model.eq_type[i] != mujoco.mjtEq.mjEQ_JOINT:
            continue
        if first in owner and (second < 0 or owner.get(second, owner[first]) != owner[first]):
            to = f"joint {owner[second]!r}" if second >= 0 else f"the position {model.eq_data[i, 0]:g}"
            problems.append(
                f"joint {owner[first]!r} is held to {to} by an <equality>, so that it cannot be commanded; leave it "
                "out of "
                "robot.joints, or remove the equality"
            )
    return problems


def _limit_problems(coordinate: Coordinate, home: Home) -> list[str]:
    """Home outside of what the joint may do or be told."""
    act, name, at = coordinate.actuation, coordinate.name, coordinate.position(home.qpos)
    problems = []
    if not coordinate.continuous and not coordinate.position_min <= at <= coordinate.position_max:
        problems.append(
            f"robot.home: {name!r} stands at {at:g}, outside its range [{coordinate.position_min:g}, "
            f"{coordinate.position_max:g}]; choose a home inside"
        )
    low, high = command_limits(coordinate, np.inf)
    low, high = -np.inf if low is None else low, np.inf if high is None else high
    if act.mode == "position" and not low <= at <= high:
        problems.append(
            f"robot.home: {name!r} stands at {at:g}, which its actuator cannot be told: ctrlrange ends at "
            f"[{act.command_min:g}, {act.command_max:g}]; choose a home inside, or widen ctrlrange"
        )
    return problems


def _joint(coordinate: Coordinate, velocity_max: float, home: Home, *, declared: bool) -> Joint:
    act = coordinate.actuation
    command_min, command_max = command_limits(coordinate, velocity_max)
    return Joint(
        name=coordinate.name,
        kind=coordinate.kind,
        mode=act.mode,
        position_min=coordinate.position_min,
        position_max=coordinate.position_max,
        continuous=coordinate.continuous,
        velocity_max=velocity_max,
        effort_max=act.effort_max,
        stiffness=act.stiffness,
        damping=act.damping,
        home_position=coordinate.position(home.qpos),
        command_min=command_min,
        command_max=command_max,
        moves=coordinate.moves,
        declared_servo=declared,
    )


def command_limits(coordinate: Coordinate, velocity_max: float) -> tuple[float | None, float | None]:
    """Where the actuator takes less than the joint could do; None where it takes all of it."""
    act = coordinate.actuation
    low, high = {
        "position": (-np.inf, np.inf) if coordinate.continuous else (coordinate.position_min, coordinate.position_max),
        "velocity": (-velocity_max, velocity_max),
        "effort": (-act.effort_max, act.effort_max),
    }[act.mode]
    rounding = _ROUNDING * min(high - low, act.command_max - act.command_min, 1.0)
    return (
        act.command_min if act.command_min > low + rounding else None,
        act.command_max if act.command_max < high - rounding else None,
    )


def _standing(
    model: mujoco.MjModel, coordinates: Sequence[Coordinate], home: Home, placed: Sequence[int]
) -> tuple[Standing, ...]:
    standing = []
    for body in set(range(1, model.nbody)) - set(placed):
        where = passive_addresses(model, coordinates, model.body(body).name)
        if where and not np.array_equal(home.qpos[where], model.qpos0[where]):
            standing.append(Standing(body=model.body(body).name, position=tuple(home.qpos[where].tolist())))
    return tuple(standing)


def _held(model: mujoco.MjModel, coordinates: Sequence[Coordinate], home: Home, declared: set[str]) -> tuple[Held, ...]:
    driven = {coordinate.actuator for coordinate in coordinates}
    own = {coordinate.name for coordinate in coordinates}
    others = [found for name in declared - own if (found := read_coordinate(model, name)[0]) is not None]
    servos = {
        other.actuator: HeldServo(
            joint=other.name,
            stiffness=other.actuation.stiffness,
            damping=other.actuation.damping,
            effort_max=other.actuation.effort_max,
        )
        for other in others
    }
    return tuple(
        Held(actuator=model.actuator(i).name, control=float(home.ctrl[i]), servo=servos.get(i))
        for i in range(model.nactuator)
        if i not in driven and (home.ctrl[i] != 0 or i in servos)
    )
