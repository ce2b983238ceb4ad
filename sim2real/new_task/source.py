"""The robot's file as a model that a task can use, and what had to be changed in it for that."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.new_task.inspection import Inspection, Mover
from sim2real.new_task.urdf import JointLimits, read_urdf
from sim2real.robots.actuation import joint_actuators, moments, tendon_actuators
from sim2real.robots.coordinates import actuator_name
from sim2real.robots.mjcf import compiled, read_mjcf

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
    changes = ["it is a URDF"] if urdf else _leave_out_keyframes(spec)
    source = Source(path, spec, compiled(spec, path), limits, changes)
    _name_bodies(source)
    _name_joints(source)
    _let_go_of_mocap(source)
    _weld_locked(source)
    if source.changes:
        source.model = compiled(spec, path)
    return source


def _leave_out_keyframes(spec: mujoco.MjSpec) -> list[str]:
    """Take out keyframes that are not of the model's size, with which nothing compiles; what was done, in words."""
    bare = spec.copy()
    for key in list(bare.keys):
        bare.delete(key)
    try:
        if not spec.keys or spec.copy().compile() is not None:
            return []
    except ValueError:
        pass
    try:
        model = bare.compile()
    except ValueError:  # it is not the keyframes
        return []
    sizes, changes = {"qpos": model.nq, "qvel": model.nv, "act": model.na, "ctrl": model.nu}, []
    for key in list(spec.keys):
        given = {name: len(getattr(key, name)) for name in sizes}
        wrong = [
            f"{given[name]} numbers of {name} for {sizes[name]}"
            for name in sizes
            if given[name] not in (0, sizes[name])
        ]
        if wrong:
            changes.append(f"keyframe {key.name or key.id!r} has {' and '.join(wrong)}, and is left out")
            spec.delete(key)
    return changes


def _name_bodies(source: Source) -> None:
    """Bodies get names where a task could not speak of the robot otherwise: where none that moves has one, or the one
    that floats has not.
    """
    inspection = Inspection(source.model)
    floating = inspection.floating
    if inspection.tool() is not None and (floating is None or source.model.body(floating).name):
        return
    taken, named = {body.name for body in source.spec.bodies}, list[str]()
    for body in source.spec.bodies[1:]:
        if not body.name:
            body.name = next(name for i in count() if (name := f"body{body.id}{'_' * i}") not in taken)
            named.append(body.name)
    if named:
        source.changes.append(f"bodies have no names, and get {', '.join(named)}")


def _name_joints(source: Source) -> None:
    """Joints are named after their bodies where they have no name."""
    taken, named = {joint.name for joint in source.spec.joints}, list[str]()
    for joint in source.spec.joints:
        if not joint.name and joint.type != mujoco.mjtJoint.mjJNT_FREE:
            plain = f"{joint.parent.name or 'body'}_joint{joint.id}"
            joint.name = next(name for i in count() if (name := plain + "_" * i) not in taken)
            named.append(joint.name)
    if named:
        source.changes.append(f"joints have no names, and get {', '.join(named)}")


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


def take_out_pulls(source: Source, movers: Sequence[Mover], qpos: np.ndarray) -> bool:
    """Take out actuators that push joints of the task at home `[nq]` in a way that no contract can state (muscles,
    spatial tendons, sites); whether there were any. Motors stay: nothing commands them, so they do nothing.
    """
    model, moment = source.model, moments(source.model, qpos)
    dofs = [int(model.jnt_dofadr[joint]) for mover in movers for joint in mover.joints]
    own = {actuator for mover in movers for actuator in _drives(model, mover)}
    pushing = (np.abs(moment[:, dofs]).max(axis=1, initial=0.0) > 0) & model.actuator_biasprm.any(axis=1)
    pulls = [int(actuator) for actuator in np.flatnonzero(pushing) if int(actuator) not in own]
    if not pulls:
        return False
    kept = np.delete(model.actuator_ctrladr, pulls)
    for key, control in zip(source.spec.keys, model.key_ctrl, strict=True):
        key.ctrl, key.act = control[kept], np.zeros(0)
    actuators, names = list(source.spec.actuators), ", ".join(actuator_name(model, actuator) for actuator in pulls)
    for actuator in pulls:
        source.spec.delete(actuators[actuator])
    source.changes.append(
        f"actuator {names} pushes joints of the task in a way that no contract states (it is on a spatial tendon, a "
        "site, or one of several), and is taken out"
    )
    source.model = compiled(source.spec, source.path)
    return True


def _drives(model: mujoco.MjModel, mover: Mover) -> list[int]:
    """Actuators of the joint, or the tendon, that a task would command."""
    joint = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, mover.name)
    return joint_actuators(model, joint) if joint >= 0 else tendon_actuators(model, model.tendon(mover.name).id)


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
