"""A task for a robot: joints, home, tool, drives, limits, goals, starts and timing, each guess said in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from sim2real.new_task.drives import GuessedServo, guess, loads
from sim2real.new_task.inspection import Inspection, Mover, ground
from sim2real.new_task.kinds import Kind, require_kind
from sim2real.new_task.postures import Reach, choose_home, inside_limits, reach
from sim2real.new_task.pushing import Pushed, find_pushed
from sim2real.new_task.source import Source, exclude_overlaps, limit_slides, take_out_pulls
from sim2real.new_task.tools import choose_tools, joints_between, require_moved
from sim2real.new_task.walking import Base, find_base, legs, let_walk, stand
from sim2real.robots.actuation import effort_limit, joint_actuators, tendon_actuators
from sim2real.world.contacts import HomeContacts

_HOME_NAMES = ("home", "stand", "standing", "ready", "neutral", "rest", "init")
_VELOCITY = {"hinge": 2.0, "slide": 0.5}
_CONTROL_S = 0.04
_EPISODE_S = {"reach": 4.0, "pose": 4.0, "walk": 12.0, "push": 6.0}
_LONGEST_STEP_S = 0.005


@dataclass
class Proposal:
    """What the task file will say, and why."""

    kind: Kind
    name: str
    movers: list[Mover]
    """Those that the policy commands, in policy order."""
    tools: list[str]
    home: str | int | dict[str, Any]
    """As `robot.home` in the task file."""
    home_qpos: np.ndarray
    servos: dict[str, GuessedServo]
    """By joint, of the task and of what it only holds."""
    velocity_max: list[float]
    reach: Reach
    physics_dt_s: float
    base: Base | None = None
    """Of tasks of kind walk."""
    pushed: Pushed | None = None
    """Of tasks of kind push."""
    guesses: list[str] = field(default_factory=list)

    @property
    def control_dt_s(self) -> float:
        """The nearest whole number of physics steps to the usual rate."""
        steps = max(1, round(_CONTROL_S / self.physics_dt_s))
        return float(f"{steps * self.physics_dt_s:.9g}")

    @property
    def episode_s(self) -> float:
        """The episode, in whole control steps, s."""
        return float(f"{round(_EPISODE_S[self.kind] / self.control_dt_s) * self.control_dt_s:.9g}")


def propose(source: Source, kind: Kind, *, name: str, tools: Sequence[str] = ()) -> Proposal:
    """Guess a whole task. `ShoalError` where the model cannot do what is asked, all reasons together."""
    require_kind(Inspection(source.model), kind, tools)
    if kind == "walk":
        let_walk(source)
    inspection, guesses = Inspection(source.model), list[str]()
    base = find_base(inspection, guesses) if kind == "walk" else None
    tools = [] if base is not None else choose_tools(inspection, list(tools), guesses, several=kind != "push")
    movers = joints_between(inspection, tools, guesses) if base is None else legs(inspection, base, guesses)
    if limit_slides(source, [joint for mover in movers for joint in mover.joints]):
        inspection = Inspection(source.model)
    home, qpos = _home(source, inspection, movers, tools, guesses)
    if any([take_out_pulls(source, movers, qpos), exclude_overlaps(source, qpos)]):
        inspection = Inspection(source.model)
    guesses += [f"{source.path.name} is not used as it is but as a copy: {change}" for change in source.changes]
    if base is not None:
        home, qpos, base = stand(inspection, base, home, qpos, guesses)
    servos = _servos(source, inspection, movers, qpos, guesses)
    velocity_max = _velocities(source, movers, guesses)
    found = reach(inspection, movers, tools, qpos, base=base)
    if kind != "pose":
        require_moved(found, tools)
    pushed = find_pushed(inspection, qpos, found, guesses) if kind == "push" else None
    _above_ground(source.model, found)
    if tools:
        guesses.append(
            f"goal: the box holds what the tool reaches from the middle of the starts ({found.accepted:.0%} of random "
            "starts touch nothing)"
        )
    guesses.append(
        "reset: starts lie within two fifths of each joint's range, at most 1.2 rad or 0.3 m, about home"
        if base is None
        else f"reset: starts lie close about home ({found.accepted:.0%} of random starts touch nothing new)"
    )
    own, step = float(source.model.opt.timestep), min(float(source.model.opt.timestep), _LONGEST_STEP_S)
    why = "as in the file" if step == own else f"(servos want shorter steps than the file's {own:g} s)"
    guesses.append(
        f"timing: physics {step:g} s {why}, commands about every {_CONTROL_S:g} s, episodes of {_EPISODE_S[kind]:g} s"
    )
    more = (base, pushed, guesses)
    return Proposal(kind, name, movers, tools, home, qpos, servos, velocity_max, found, step, *more)


def _home(
    source: Source, inspection: Inspection, movers: Sequence[Mover], tools: Sequence[str], guesses: list[str]
) -> tuple[str | int | dict[str, Any], np.ndarray]:
    model = source.model
    for key in sorted(range(model.nkey), key=lambda key: _rank(model.key(key).name)):
        qpos = np.array(model.key_qpos[key])
        if np.array_equal(inside_limits(model, qpos, inspection.movers), qpos):
            name = model.key(key).name
            guesses.append(f"home: keyframe {name or key!r}" + (f" of {model.nkey}" if model.nkey > 1 else ""))
            return name or key, qpos
    start = inside_limits(model, model.qpos0, inspection.movers)
    qpos = choose_home(inspection, movers, tools, start) if tools else start
    chosen = "where the MJCF stands" if np.array_equal(qpos, start) else "a posture in which the tool moves freely"
    why = "no keyframe" if not model.nkey else "no keyframe within the joints' ranges"
    guesses.append(f"home: {chosen}, within all limits ({why})")
    named: dict[str, Any] = {}
    for joint in range(model.njnt):
        first, kind = int(model.jnt_qposadr[joint]), int(model.jnt_type[joint])
        size = {0: 7, 1: 4}.get(kind, 1)
        values = [round(float(value), 4) for value in qpos[first : first + size]]
        if model.joint(joint).name and not np.allclose(values, model.qpos0[first : first + size], atol=5e-5):
            named[model.joint(joint).name] = values if size > 1 else values[0]
            qpos[first : first + size] = values
        elif not model.joint(joint).name:
            qpos[first : first + size] = model.qpos0[first : first + size]
    return named, qpos


def _rank(name: str) -> tuple[int, str]:
    lower = name.lower()
    return next((i for i, known in enumerate(_HOME_NAMES) if known in lower), len(_HOME_NAMES)), lower


def _servos(
    source: Source, inspection: Inspection, movers: Sequence[Mover], home: np.ndarray, guesses: list[str]
) -> dict[str, GuessedServo]:
    """Servos for what has no position servo that a contract can state: of the task, and of what would hang limp beside
    it.
    """
    model = source.model
    beside = [
        mover
        for mover in inspection.movers
        if mover not in movers and mover.drive and (inspection.is_driven(mover) or not model.nactuator)
    ]
    wanted = [mover for mover in movers if mover.drive] + beside
    if not wanted:
        return {}
    servos, reasons = guessed_servos(source, movers, wanted, home), dict[str, list[str]]()
    for mover in wanted:
        limited = math.isfinite(_known_effort(source, mover))
        said = "" if limited else ", with an effort limit guessed from the weight that it carries"
        role = "" if mover in movers else ", only to hold it where it is"
        reasons.setdefault(f"{_without_name(mover)}; a position servo is declared{role}{said}", []).append(mover.name)
    guesses += [f"servo of {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return servos


def guessed_servos(
    source: Source, movers: Sequence[Mover], wanted: Sequence[Mover], home: np.ndarray
) -> dict[str, GuessedServo]:
    """Servos of those `wanted`, by what they move in postures about `home` `[nq]` that `movers` come to."""
    model, rng = source.model, np.random.default_rng(2)
    postures = [home]
    for _ in range(30):
        qpos = home.copy()
        for mover in movers:
            for joint in mover.joints:
                qpos[int(model.jnt_qposadr[joint])] += rng.uniform(-0.6, 0.6)
        postures.append(inside_limits(model, qpos, movers))
    step, servos = min(float(model.opt.timestep), _LONGEST_STEP_S), {}
    for mover, load in zip(wanted, loads(model, wanted, np.array(postures)), strict=True):
        damping = float(model.dof_damping[int(model.jnt_dofadr[mover.joints[0]])])
        limit = _known_effort(source, mover)
        servos[mover.name] = guess(load, effort_max=limit, passive_damping=damping, step_s=step)
    return servos


def _without_name(mover: Mover) -> str:
    """Why it needs a servo, without its own name, so that several can share the reason."""
    return mover.drive.replace(f"joint {mover.name!r}: ", "").replace(f"tendon {mover.name!r}: ", "")


def _known_effort(source: Source, mover: Mover) -> float:
    model = source.model
    limits = [math.inf]
    stated = source.limits.get(mover.name)
    if stated is not None and stated.effort is not None:
        limits.append(stated.effort)
    joint = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, mover.name)
    if joint >= 0 and model.jnt_actfrclimited[joint]:
        limits.append(float(np.abs(model.jnt_actfrcrange[joint]).min()))
    drives = joint_actuators(model, joint) if joint >= 0 else tendon_actuators(model, model.tendon(mover.name).id)
    return min([*limits, *(effort_limit(model, actuator) for actuator in drives)])


def _velocities(source: Source, movers: Sequence[Mover], guesses: list[str]) -> list[float]:
    found, guessed = [], []
    for mover in movers:
        stated = source.limits.get(mover.name)
        slide = source.model.jnt_type[mover.joints[0]] == mujoco.mjtJoint.mjJNT_SLIDE
        value = None if stated is None else stated.velocity
        if value is None:
            value = _VELOCITY["slide" if slide else "hinge"]
            guessed.append(mover.name)
        found.append(value)
    if guessed:
        guesses.append(
            f"velocity_max: MJCF has no field for it; {_VELOCITY['hinge']:g} rad/s and {_VELOCITY['slide']:g} m/s are "
            f"usual ({len(guessed)} joints); write the data sheet's"
        )
    return found


def _above_ground(model: mujoco.MjModel, found: Reach) -> None:
    """Goals are not below the floor, as far as the tool gets above it."""
    floor = ground(model)
    if floor is not None:
        height = round(float(model.geom_pos[floor, 2]), 3)
        for low, high in found.boxes:
            low[2] = height if low[2] < height < high[2] else low[2]


def touching_at_home(source: Source, qpos: np.ndarray) -> list[str]:
    """Which geoms touch at home, in words."""
    return HomeContacts.of(source.model, qpos).names(source.model)


def default_name(path: Path, kind: Kind) -> str:
    """A task's name from the file's: lower case, digits and `_`."""
    stem = path.parent.name if path.stem.lower() in ("robot", "scene", "model") and path.parent.name else path.stem
    plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in stem.lower()).strip("_") or "robot"
    return f"{plain if plain[0].isalpha() else 'robot_' + plain}_{kind}"
