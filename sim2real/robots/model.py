"""Loading an MJCF and taking its digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import mujoco
import numpy as np

from sim2real.errors import ShoalError

DIGEST_FIELDS = (
    "qpos0",
    "qpos_spring",
    "key_qpos",
    "body_parentid",
    "body_pos",
    "body_quat",
    "body_mass",
    "body_ipos",
    "body_iquat",
    "body_inertia",
    "body_gravcomp",
    "body_mocapid",
    "jnt_type",
    "jnt_bodyid",
    "jnt_axis",
    "jnt_pos",
    "jnt_limited",
    "jnt_range",
    "jnt_stiffness",
    "jnt_margin",
    "jnt_solref",
    "jnt_solimp",
    "jnt_actfrclimited",
    "jnt_actfrcrange",
    "jnt_actgravcomp",
    "dof_armature",
    "dof_damping",
    "dof_frictionloss",
    "dof_solref",
    "dof_solimp",
    "geom_type",
    "geom_bodyid",
    "geom_size",
    "geom_pos",
    "geom_quat",
    "geom_friction",
    "geom_contype",
    "geom_conaffinity",
    "geom_condim",
    "geom_priority",
    "geom_solmix",
    "geom_solref",
    "geom_solimp",
    "geom_margin",
    "geom_gap",
    "geom_fluid",
    "mesh_vert",
    "hfield_data",
    "site_bodyid",
    "site_pos",
    "site_quat",
    "exclude_signature",
    "pair_geom1",
    "pair_geom2",
    "pair_dim",
    "pair_friction",
    "pair_solref",
    "pair_solimp",
    "eq_type",
    "eq_objtype",
    "eq_obj1id",
    "eq_obj2id",
    "eq_active0",
    "eq_data",
    "eq_solref",
    "eq_solimp",
    "tendon_range",
    "tendon_stiffness",
    "tendon_damping",
    "tendon_frictionloss",
    "tendon_lengthspring",
    "wrap_type",
    "wrap_objid",
    "wrap_prm",
    "actuator_trntype",
    "actuator_trnid",
    "actuator_gear",
    "actuator_dyntype",
    "actuator_dynprm",
    "actuator_gaintype",
    "actuator_gainprm",
    "actuator_biastype",
    "actuator_biasprm",
    "actuator_forcelimited",
    "actuator_forcerange",
    "actuator_ctrllimited",
    "actuator_ctrlrange",
    "actuator_actlimited",
    "actuator_actrange",
)
"""Compiled fields that change what a policy experiences; colours, cameras and lights do not."""

_DIGEST_OPTIONS = (
    "integrator",
    "cone",
    "solver",
    "iterations",
    "ls_iterations",
    "tolerance",
    "impratio",
    "gravity",
    "wind",
    "density",
    "viscosity",
    "disableflags",
    "enableflags",
)
"""Of `<option>`; the time step is part of the contract's timing."""


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
    for field in DIGEST_FIELDS:
        values = np.asarray(getattr(model, field), dtype=np.float64).ravel()
        digest.update(f"{field}:{','.join(format(value + 0.0, '.9g') for value in values)};".encode())
    for field in _DIGEST_OPTIONS:
        values = np.asarray(getattr(model.opt, field), dtype=np.float64).ravel()
        digest.update(f"opt.{field}:{','.join(format(value + 0.0, '.9g') for value in values)};".encode())
    return digest.hexdigest()
