"""What a task of walking needs of a model: a base that floats, the joints that hang on it, and a floor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.new_task.inspection import Inspection, Mover, ground
from sim2real.new_task.source import Source
from sim2real.robots.mjcf import compiled

_GAP_M = 0.03
"""A base that stands higher over the ground at home is set down."""
_PRESSED_M = 0.001
"""How deep the lowest geom stands in the ground, so that it is known to touch there."""
_LEAST_HEIGHT_M = 0.01
_LIFT_OF_HEIGHT = 0.1
_FALLEN = 0.5
"""Share of its height at home below which a base has fallen."""


@dataclass(frozen=True)
class Base:
    """The body that carries everything, on a free joint."""

    name: str
    height_address: int
    """Into qpos, of its motion along z."""
    unit: str
    """Name of the site or body that is taken for the inertial unit's."""
    height_m: float = 0.0
    """Over the ground at home."""
    lift_m: float = 0.0
    """By which starts are higher."""

    @property
    def fallen_m(self) -> float:
        """The height below which it has fallen."""
        return float(f"{_FALLEN * self.height_m:.2g}")

    @property
    def goal_m(self) -> float:
        """How far away goals lie along each axis."""
        return float(f"{max(1.0, min(5.0, 10 * self.height_m)):.2g}")


def cannot_walk(inspection: Inspection) -> str:
    """Why nothing of a robot can walk, drive or crawl on the ground; empty where something can."""
    model, root = inspection.model, inspection.floating
    if root is None and inspection.afloat:
        named = ", ".join(repr(model.body(body).name) for body in inspection.afloat)
        return f"no joint that a policy could command hangs on {named}, which floats"
    if root is None and _fixed_root(inspection) is None:
        rails = [
            model.joint(j).name
            for j, body in enumerate(model.jnt_bodyid)
            if not model.body_parentid[body] and int(body) not in inspection.objects
        ]
        held = f"joints hold it to the world ({', '.join(rails)}), so it goes nowhere else" if rails else ""
        said = held or "no body that is fixed to the world has several limbs to walk on"
        return (
            f"--kind walk needs a base that floats, but no body hangs on a free joint, and {said}; put <freejoint/> "
            "where the robot should come off"
        )
    if root is None:
        return ""
    if not model.body(root).name:
        return "the body on the free joint has no name; give it one"
    if not any(inspection.belongs_to(mover, root) for mover in inspection.movers):
        return f"no joint that a policy could command hangs on {model.body(root).name!r}"
    if not _touching(model, root):
        return f"no geom of {model.body(root).name!r} can touch anything; give it contype and conaffinity"
    return ""


def let_walk(source: Source) -> None:
    """Give a free joint to a robot whose base is fixed, but has legs, and a floor to a world without one; a URDF has
    neither.
    """
    model, before = source.model, len(source.changes)
    inspection = Inspection(model)
    root = _fixed_root(inspection)
    if inspection.floating is None and root is not None:
        _set_free(source, root)
        source.changes.append(f"{model.body(root).name!r} is fixed to the world, and gets a free joint")
    if ground(model) is None:
        touched = int(np.bitwise_or.reduce(model.geom_contype)) | 1
        floor = source.spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1])
        floor.contype, floor.conaffinity, floor.condim = 1, touched, 3
        source.changes.append("there is no floor (a plane geom of the world), and it gets one")
    if len(source.changes) > before:
        source.model = compiled(source.spec, source.path)


def _set_free(source: Source, root: int) -> None:
    """A free joint for a body of the world, at its place in every keyframe too."""
    model, name = source.model, source.model.body(root).name
    source.spec.body(name).add_freejoint(name=f"{name}_free")
    behind = [j for j in range(model.njnt) if model.body_rootid[model.jnt_bodyid[j]] == root]
    here = np.concatenate([model.body_pos[root], model.body_quat[root]])
    for key in source.spec.keys:
        if len(key.qpos):
            key.qpos = np.insert(key.qpos, min(int(model.jnt_qposadr[j]) for j in behind), here)
        if len(key.qvel):
            key.qvel = np.insert(key.qvel, min(int(model.jnt_dofadr[j]) for j in behind), np.zeros(6))


def _fixed_root(inspection: Inspection) -> int | None:
    """The named body without joints of its own, right in the world, with most movers behind it, on two limbs at least:
    what hangs on one is an arm.
    """
    model, roots = inspection.model, {}
    for body in range(1, model.nbody):
        if not model.body_parentid[body] and not model.body_jntnum[body] and model.body(body).name:
            behind = [mover for mover in inspection.movers if inspection.belongs_to(mover, body)]
            limbs = {inspection.chain(int(model.jnt_bodyid[joint]))[0] for mover in behind for joint in mover.joints}
            if len(limbs) > 1:
                roots[body] = len(behind)
    return max(roots, key=roots.__getitem__, default=None)


def find_base(inspection: Inspection, guesses: list[str]) -> Base:
    """The base of a robot that `cannot_walk` has nothing against, and that `let_walk` has let go of."""
    model, root = inspection.model, inspection.floating
    assert root is not None
    sites = [model.site(i).name for i in range(model.nsite) if int(model.site_bodyid[i]) == root]
    units = [name for name in sites if "imu" in name.lower()]
    name, unit = model.body(root).name, units[0] if units else model.body(root).name
    guesses.append(f"base: {name!r}, whose inertial unit is at {unit!r}; odometry tells where it is")
    return Base(name, int(model.jnt_qposadr[int(model.body_jntadr[root])]) + 2, unit)


def legs(inspection: Inspection, base: Base, guesses: list[str]) -> list[Mover]:
    """All joints that hang on the base."""
    root = int(inspection.model.body(base.name).id)
    found = [mover for mover in inspection.movers if inspection.belongs_to(mover, root)]
    guesses.append(f"joints: all {len(found)} that hang on {base.name!r}")
    return found


def stand(
    inspection: Inspection, base: Base, home: str | int | dict[str, Any], qpos: np.ndarray, guesses: list[str]
) -> tuple[str | int | dict[str, Any], np.ndarray, Base]:
    """The base set down on the floor, where home has it in the air or in the ground, and how high it then is."""
    model, data = inspection.model, mujoco.MjData(inspection.model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    gap = _lowest(inspection, data, base)
    floor = ground(model)
    assert floor is not None
    if not -_GAP_M / 3 <= gap <= _GAP_M:
        qpos = qpos.copy()
        qpos[base.height_address] -= gap + _PRESSED_M
        first = base.height_address - 2
        named = home if isinstance(home, dict) else _as_positions(model, qpos)
        home = named | {base.name: [round(float(value), 5) for value in qpos[first : first + 7]]}
        moved = "lowered" if gap > 0 else "raised"
        guesses.append(f"home: the base is {moved} by {100 * abs(gap):.0f} cm, so that it stands on the floor")
    height = float(qpos[base.height_address] - data.geom_xpos[floor][2])
    if height < _LEAST_HEIGHT_M:
        raise ShoalError(
            f"new-task: {base.name!r} lies on the floor at home ({100 * height:.1f} cm above it), so it has nothing to "
            "walk on; give a home in which it stands."
        )
    guesses.append(
        f"terminations: fallen is below half of its height at home ({height:.2g} m), or leaning by more than 75 degrees"
    )
    lift = float(f"{_LIFT_OF_HEIGHT * height:.2g}")
    return home, qpos, replace(base, height_m=height, lift_m=lift)


def _as_positions(model: mujoco.MjModel, qpos: np.ndarray) -> dict[str, Any]:
    """A keyframe's joints one by one."""
    return {
        model.joint(j).name: round(float(qpos[model.jnt_qposadr[j]]), 5)
        for j in range(model.njnt)
        if model.jnt_type[j] != mujoco.mjtJoint.mjJNT_FREE and model.joint(j).name
    }


def _lowest(inspection: Inspection, data: mujoco.MjData, base: Base) -> float:
    """How far the lowest geom of the robot that can touch is above the floor, m; below zero in it."""
    model, floor = inspection.model, ground(inspection.model)
    geoms, line = _touching(model, int(model.body(base.name).id)), np.zeros(6)
    return min(float(mujoco.mj_geomDistance(model, data, geom, floor, 10.0, line)) for geom in geoms)


def _touching(model: mujoco.MjModel, root: int) -> list[int]:
    """Geoms of the robot at this body that can touch anything."""
    own = model.body_rootid[model.geom_bodyid] == model.body_rootid[root]
    return [int(geom) for geom in np.flatnonzero(own & ((model.geom_contype | model.geom_conaffinity) != 0))]
