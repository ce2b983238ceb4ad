"""One actuated coordinate of a compiled model, a joint or a tendon: where it is, what drives it, how far it goes."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.robots.actuation import Actuation, joint_actuators, read_actuation, tendon_actuators

_KINDS: dict[int, Literal["hinge", "slide"]] = {
    int(mujoco.mjtJoint.mjJNT_HINGE): "hinge",
    int(mujoco.mjtJoint.mjJNT_SLIDE): "slide",
}


@dataclass(frozen=True)
class Coordinate:
    """A joint, or a fixed tendon, that one actuator drives."""

    name: str
    kind: Literal["hinge", "slide", "tendon"]
    qpos: np.ndarray
    """`[K]`, into qpos, of the joints that it moves; one for a joint."""
    dof: np.ndarray
    """`[K]`, into qvel."""
    coefficients: np.ndarray
    """`[K]`: its position is their weighted sum."""
    moves: tuple[tuple[str, float], ...]
    """Joint and coefficient, of a tendon."""
    actuator: int
    gear: float
    actuation: Actuation
    position_min: float
    position_max: float
    continuous: bool

    def position(self, qpos: np.ndarray) -> float:
        """Rad or m, from a whole `qpos` `[nq]`."""
        return float(self.coefficients @ qpos[self.qpos])

    @cached_property
    def spread(self) -> np.ndarray:
        """`[K]`: joint positions for a position of one, of many ways the one that moves the joints least."""
        return np.asarray(self.coefficients / (self.coefficients @ self.coefficients))


def read_coordinate(model: mujoco.MjModel, name: str) -> tuple[Coordinate | None, list[str]]:
    """The coordinate of that name, None where it cannot be commanded; and what is wrong with it, in sentences."""
    joint = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
    tendon = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_TENDON, name)
    if joint < 0 and tendon < 0:
        return None, [f"the MJCF has no joint or tendon {name!r}; {known_names(model, name)}"]
    moved = _of_joint(model, joint) if joint >= 0 else _of_tendon(model, tendon)
    if isinstance(moved, str):
        return None, [moved]
    what = f"{'tendon' if joint < 0 else 'joint'} {name!r}"
    if len(moved.drives) != 1:
        found = ", ".join(actuator_name(model, i) for i in moved.drives)
        found = f"{len(moved.drives)} ({found})" if found else "none"
        return None, [
            f"{what} needs exactly one actuator, found {found}; drive it once, or declare `robot.servo` for it in "
            "the task"
        ]
    (drive,) = moved.drives
    actuation, said = read_actuation(model, drive)
    problems = [f"{what}: actuator {actuator_name(model, drive)} {problem}" for problem in said]
    if actuation is None:
        return None, problems
    low, high, continuous = _range(model, joint, tendon, moved.joints, moved.coefficients)
    if continuous and moved.kind != "hinge":
        problems.append(f"{what} has no range; give it one")
    if not math.isfinite(actuation.effort_max):
        problems.append(
            f"{what}: nothing limits the force of actuator {actuator_name(model, drive)}; give forcerange, the "
            "joint's actuatorfrcrange, or `robot.servo` with effort_max in the task"
        )
    names = [model.joint(j).name for j in moved.joints] if joint < 0 else []
    moves = tuple(zip(names, moved.coefficients.tolist(), strict=False))
    places = np.array(model.jnt_qposadr[moved.joints]), np.array(model.jnt_dofadr[moved.joints])
    gear = float(model.actuator_gear[drive, 0])
    return Coordinate(
        name, moved.kind, *places, moved.coefficients, moves, drive, gear, actuation, low, high, continuous
    ), problems


class _Moved(NamedTuple):
    """The joints behind a coordinate, and what drives it."""

    kind: Literal["hinge", "slide", "tendon"]
    joints: list[int]
    coefficients: np.ndarray
    drives: list[int]


def _of_joint(model: mujoco.MjModel, joint: int) -> _Moved | str:
    """Itself, or why it cannot be commanded."""
    kind = _KINDS.get(int(model.jnt_type[joint]))
    if kind is None:
        shape = mujoco.mjtJoint(int(model.jnt_type[joint])).name.split("_")[1].lower()
        return f"joint {model.joint(joint).name!r} is a {shape} joint; only hinges and slides can be commanded"
    return _Moved(kind, [joint], np.ones(1), joint_actuators(model, joint))


def _of_tendon(model: mujoco.MjModel, tendon: int) -> _Moved | str:
    """What it pulls, or why it cannot be commanded."""
    first, count = int(model.tendon_adr[tendon]), int(model.tendon_num[tendon])
    rows = range(first, first + count)
    if any(model.wrap_type[row] != mujoco.mjtWrap.mjWRAP_JOINT for row in rows):
        return (
            f"tendon {model.tendon(tendon).name!r} is spatial; only fixed tendons (<fixed>, weighted sums of joints) "
            "can be commanded"
        )
    joints = [int(model.wrap_objid[row]) for row in rows]
    coefficients = np.array([model.wrap_prm[row] for row in rows])
    return _Moved("tendon", joints, coefficients, tendon_actuators(model, tendon))


def joint_addresses(model: mujoco.MjModel, joint: int) -> range:
    """Into qpos, of all numbers of one joint."""
    first, size = int(model.jnt_qposadr[joint]), {0: 7, 1: 4}.get(int(model.jnt_type[joint]), 1)
    return range(first, first + size)


def require_coordinate(model: mujoco.MjModel, name: str) -> Coordinate:
    """The coordinate of that name; `ShoalError` where it cannot be commanded."""
    coordinate, said = read_coordinate(model, name)
    if coordinate is None:
        raise ShoalError(f"robot.joints: {said[0]}.")
    return coordinate


def passive_addresses(model: mujoco.MjModel, coordinates: Sequence[Coordinate], body: str) -> list[int]:
    """Into qpos, of a body's joints that no coordinate moves; none where there is no such body."""
    own = {int(dof) for c in coordinates for dof in c.dof}
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, body)
    first, count = (int(model.body_jntadr[index]), int(model.body_jntnum[index])) if index >= 0 else (0, 0)
    return [
        address
        for joint in range(first, first + count)
        if int(model.jnt_dofadr[joint]) not in own
        for address in joint_addresses(model, joint)
    ]


def known_names(model: mujoco.MjModel, name: str) -> str:
    """The closest name first, then all that could be meant."""
    names = [model.joint(i).name for i in range(model.njnt)] + [model.tendon(i).name for i in range(model.ntendon)]
    return it_has(names, name)


def it_has(names: Sequence[str], name: str) -> str:
    """Which names there are, the closest first."""
    close = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {close[0]!r}? " if close else "") + f"it has {[known for known in names if known]}"


def actuator_name(model: mujoco.MjModel, actuator: int) -> str:
    """Quoted, or its number where it has none."""
    name = model.actuator(actuator).name
    return repr(name) if name else f"number {actuator}"


def _range(
    model: mujoco.MjModel, joint: int, tendon: int, joints: list[int], coefficients: np.ndarray
) -> tuple[float, float, bool]:
    """Least and largest position, and whether there is neither."""
    if tendon >= 0 > joint and model.tendon_limited[tendon]:
        return float(model.tendon_range[tendon, 0]), float(model.tendon_range[tendon, 1]), False
    if not all(model.jnt_limited[j] for j in joints):
        return -math.pi, math.pi, True
    ends = coefficients[:, None] * model.jnt_range[joints]
    return float(ends.min(axis=1).sum()), float(ends.max(axis=1).sum()), False
