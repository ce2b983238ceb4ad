"""The robot's file as a model that a task can use, and what had to be changed in it for that."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mujoco

from sim2real.errors import ShoalError
from sim2real.new_task.urdf import JointLimits, read_urdf
from sim2real.robots.model import compiled, read_mjcf

_UNLIMITED_SLIDE_M = 5.0


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
    if source.changes:
        source.model = compiled(spec, path)
    return source


def _name_joints(source: Source) -> None:
    """Joints are named after their bodies where they have no name."""
    for joint in source.spec.joints:
        if not joint.name and joint.type != mujoco.mjtJoint.mjJNT_FREE:
            joint.name = f"{joint.parent.name or 'body'}_joint{joint.id}"
            source.changes.append(f"a joint of body {joint.parent.name!r} has no name, and gets {joint.name!r}")


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
