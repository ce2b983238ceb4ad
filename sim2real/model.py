"""Loading an MJCF and taking its digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import mujoco
import numpy as np

from sim2real.errors import ShoalError

_DIGEST_FIELDS = (
    "body_parentid", "body_pos", "body_quat", "body_mass", "body_ipos", "body_iquat", "body_inertia",
    "body_gravcomp", "jnt_type", "jnt_axis", "jnt_pos", "jnt_range", "dof_armature", "dof_damping",
    "dof_frictionloss", "geom_type", "geom_size", "geom_pos", "geom_quat", "geom_friction", "geom_contype",
    "geom_conaffinity", "site_pos", "site_quat", "actuator_trnid", "actuator_gainprm", "actuator_biasprm",
    "actuator_forcerange", "actuator_ctrlrange", "qpos0", "key_qpos",
)  # fmt: skip
"""Compiled fields that change what a policy experiences; colours, cameras and lights do not."""


def load_mjcf(path: Path) -> mujoco.MjModel:
    """Compile the MJCF at `path`; a `ShoalError` says what is wrong with it."""
    if not path.is_file():
        raise ShoalError(f"robot.mjcf: no file at {path}; give a path relative to the task file or an absolute one.")
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise ShoalError(f"robot.mjcf: MuJoCo cannot compile {path}: {' '.join(str(error).split())}") from error


def compiled_digest(model: mujoco.MjModel) -> str:
    """SHA-256 over names and the physical fields of a compiled model.

    Values are rounded to 9 significant digits first, so that compilers that differ in the last bit of a
    derived quaternion agree.
    """
    digest = hashlib.sha256()
    for kind, count in (("joint", model.njnt), ("actuator", model.nu), ("body", model.nbody), ("site", model.nsite)):
        names = [getattr(model, kind)(index).name for index in range(count)]
        digest.update(f"{kind}:{','.join(names)};".encode())
    for field in _DIGEST_FIELDS:
        values = np.asarray(getattr(model, field), dtype=np.float64).ravel()
        digest.update(f"{field}:{','.join(format(value + 0.0, '.9g') for value in values)};".encode())
    option = model.opt
    digest.update(f"{option.integrator},{option.cone},{list(option.gravity)},{option.disableflags}".encode())
    return digest.hexdigest()
