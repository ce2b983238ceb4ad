"""The robot's file as a model that a task can use, and what had to be changed in it for that."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.new_task.urdf import JointLimits, read_urdf
from sim2real.robots.actuation import joint_actuators
from sim2real.robots.model import compiled, read_mjcf

_UNLIMITED_SLIDE_M = 5.0
_LOCKED = 1e6
"""N m s/rad or N s/m of damping against which no drive moves a robot's joint."""
_OVERLAP_M = 0.001
_WRAPS_JOINT = int(mujoco.mjtWrap.mjWRAP_JOINT)
_TIES_BODIES = (int(mujoco.mjtEq.mjEQ_WELD), int(mujoco.mjtEq.mjEQ_CONNECT))
_TIES_JOINTS = int(mujoco.mjtEq.mjEQ_JOINT)


@dataclass
class Source:
    """A robot's file, read and completed."""

    path: Path
    spec: mujoco.MjSpec
    model: mujoco.MjModel
    limits: dict[str, JointLimits]
    """By joint, of a URDF."""
    changes: list[str] = field(default_factory=list)
    """What a copy of the file has that the file itself hasn't, in words; none where it is used as it is."""


def read_source(path: Path) -> Source:
    """Read an MJCF or URDF."""
    if not path.is_file():
        raise ShoalError(f"new-task: no file at {path}; give the path of an MJCF (.xml) or URDF (.urdf).")
    urdf = path.suffix.lower() == ".urdf" or b"<robot" in path.read_bytes()[:4096]
    spec, limits = read_urdf(path) if urdf else (read_mjcf(path), {})
    source = Source(path, spec, compiled(spec, path), limits)
    if urdf:
        source.changes.append("it is a URDF")
    _name_joints(source)
    _let_go_of_mocap(source)
    _weld_locked(source)
    if source.changes:
        source.model = compiled(spec, path)
    return source


def _name_joints(source: Source) -> None:
    """Joints are named after their bodies where they have no name."""
    for joint in source.spec.joints:
        if not joint.name and joint.type != mujoco.mjtJoint.mjJNT_FREE:
            joint.name = f"{joint.parent.name or 'body'}_joint{joint.id}"
            source.changes.append(f"a joint of body {joint.parent.name!r} has no name, and gets {joint.name!r}")


def _let_go_of_mocap(source: Source) -> None:
    """Switch off what ties the robot to a mocap body, by which a script would pull it along."""
    model = source.model
    for index, tie in enumerate(source.spec.equalities):
        if int(model.eq_type[index]) in _TIES_BODIES and model.eq_active0[index]:
            bodies = [_body_of(model, index, int(end)) for end in (model.eq_obj1id[index], model.eq_obj2id[index])]
            if any(model.body_mocapid[body] >= 0 for body in bodies):
                tie.active = False
                held = " to ".join(repr(model.body(body).name) for body in bodies)
                source.changes.append(f"an equality ties {held}, a mocap body that scripts move, and is switched off")


def _body_of(model: mujoco.MjModel, equality: int, end: int) -> int:
    by_site = model.eq_objtype[equality] == mujoco.mjtObj.mjOBJ_SITE
    return int(model.site_bodyid[end]) if by_site else end


def _weld_locked(source: Source) -> None:
    """Take out joints by which a scene places a robot: nothing drives them, and damping holds them where they are."""
    model = source.model
    pulled = {int(j) for j, kind in zip(model.wrap_objid, model.wrap_type, strict=True) if kind == _WRAPS_JOINT}
    tied = {
        int(j) for i in np.flatnonzero(model.eq_type == _TIES_JOINTS) for j in (model.eq_obj1id[i], model.eq_obj2id[i])
    }
    sensed = set(model.sensor_objid[model.sensor_objtype == mujoco.mjtObj.mjOBJ_JOINT].tolist())
    still = (model.jnt_type >= int(mujoco.mjtJoint.mjJNT_SLIDE)) & (model.dof_damping[model.jnt_dofadr] > _LOCKED)
    locked = set(np.flatnonzero(still).tolist()) - pulled - tied - sensed
    locked = {joint for joint in locked if not joint_actuators(model, joint)}
    if not locked:
        return
    positions, speeds = model.jnt_qposadr[list(locked)], model.jnt_dofadr[list(locked)]
    for key in source.spec.keys:
        key.qpos = np.delete(key.qpos, positions) if len(key.qpos) else key.qpos
        key.qvel = np.delete(key.qvel, speeds) if len(key.qvel) else key.qvel
    for joint in list(source.spec.joints):
        if joint.name and model.joint(joint.name).id in locked:
            source.spec.delete(joint)
    held = ", ".join(model.joint(joint).name for joint in sorted(locked))
    source.changes.append(f"damping holds {held} where they are, nothing drives them, and they are taken out")


def exclude_overlaps(source: Source, qpos: np.ndarray) -> bool:
    """Let links that overlap at home `[nq]` pass through each other, since contact would push them apart; whether there
    were any.
    """
    model, data, pairs = source.model, mujoco.MjData(source.model), set[tuple[int, int]]()
    data.qpos[:] = qpos
    mujoco.mj_fwdPosition(model, data)
    for contact in data.contact:
        first, second = sorted(int(model.geom_bodyid[geom]) for geom in contact.geom)
        links = 0 < first < second and model.body_rootid[first] == model.body_rootid[second]
        if links and contact.dist < -_OVERLAP_M and model.body(first).name and model.body(second).name:
            pairs.add((first, second))
    for first, second in sorted(pairs):
        names = model.body(first).name, model.body(second).name
        source.spec.add_exclude(bodyname1=names[0], bodyname2=names[1])
        source.changes.append(f"{names[0]!r} and {names[1]!r} overlap at home, and pass through each other")
    if pairs:
        source.model = compiled(source.spec, source.path)
    return bool(pairs)


def limit_slides(source: Source, joints: Sequence[int]) -> bool:
    """Give a range to each of these joints that is a slide without one; whether there was any."""
    before = len(source.changes)
    for joint in source.spec.joints:
        endless = joint.type == mujoco.mjtJoint.mjJNT_SLIDE and not source.model.jnt_limited[joint.id]
        if endless and joint.id in joints:
            joint.range, joint.limited = [-_UNLIMITED_SLIDE_M, _UNLIMITED_SLIDE_M], mujoco.mjtLimited.mjLIMITED_TRUE
            source.changes.append(f"slide {joint.name!r} has no range, and gets {_UNLIMITED_SLIDE_M:g} m both ways")
    if len(source.changes) == before:
        return False
    source.model = compiled(source.spec, source.path)
    return True


def integrate_implicitly(source: Source) -> bool:
    """Use the integrator with which damped servos of light links stay stable at steps of the usual length; whether it
    was another.
    """
    if source.model.opt.integrator != mujoco.mjtIntegrator.mjINT_EULER:
        return False
    source.spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    source.changes.append("its drives don't hold with the Euler integrator, and it gets implicitfast")
    source.model = compiled(source.spec, source.path)
    return True


def written_copy(source: Source, folder: Path) -> str:
    """The changed model as MJCF text whose meshes are where they were, seen from `folder`."""
    spec = source.spec
    if spec.modelfiledir:
        for name in ("meshdir", "texturedir"):
            setattr(spec, name, str((Path(spec.modelfiledir) / getattr(spec, name)).resolve()))
        spec.modelfiledir = ""
    text = str(spec.to_xml())

    def relative(match: re.Match[str]) -> str:
        return f'{match[1]}="{os.path.relpath(match[2], folder.resolve())}"'

    return re.sub(r'(meshdir|texturedir|file)="(/[^"]*)"', relative, text)
