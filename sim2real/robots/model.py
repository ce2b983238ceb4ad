"""The digest of a compiled model: what a policy was trained on."""

from __future__ import annotations

import hashlib
from typing import Any

import mujoco
import numpy as np

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

_DIGEST_RARE_FIELDS = (
    "jnt_stiffnesspoly",
    "dof_dampingpoly",
    "geom_adhesion",
    "geom_surfacevel",
    "pair_margin",
    "pair_gap",
    "pair_solreffriction",
    "pair_adhesion",
    "hfield_size",
    "flex_vert",
    "flex_elem",
    "flex_stiffness",
    "flex_bending",
    "flex_damping",
    "flex_edgestiffness",
    "flex_edgedamping",
    "flex_friction",
    "tendon_limited",
    "tendon_margin",
    "tendon_armature",
    "tendon_actfrclimited",
    "tendon_actfrcrange",
    "tendon_stiffnesspoly",
    "tendon_dampingpoly",
    "tendon_solref_lim",
    "tendon_solimp_lim",
    "tendon_solref_fri",
    "tendon_solimp_fri",
    "actuator_actearly",
    "actuator_cranklength",
    "actuator_delay",
    "actuator_history",
    "actuator_damping",
    "actuator_dampingpoly",
    "actuator_armature",
    "npluginattr",
)
"""Likewise, and hashed only where they are present and not all zero, as in most models."""

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

_DIGEST_RARE_OPTIONS = (
    "disableactuator",
    "noslip_iterations",
    "noslip_tolerance",
    "ls_tolerance",
    "ccd_iterations",
    "ccd_tolerance",
    "sdf_iterations",
    "sdf_initpoints",
    "magnetic",
    "o_margin",
    "o_solref",
    "o_solimp",
    "o_friction",
)
"""Likewise, and hashed only where they are not MuJoCo's defaults."""


def compiled_digest(model: mujoco.MjModel) -> str:
    """SHA-256 over names and the physical fields of a compiled model.

    Values are rounded to 9 significant digits first, so that compilers that differ in the last bit of a
    derived quaternion agree.
    """
    digest = hashlib.sha256()
    counts = (("joint", model.njnt), ("actuator", model.nactuator), ("body", model.nbody), ("site", model.nsite))
    for kind, count in counts:
        names = [getattr(model, kind)(index).name for index in range(count)]
        digest.update(f"{kind}:{','.join(names)};".encode())
    for field in DIGEST_FIELDS:
        digest.update(f"{field}:{_rounded(getattr(model, field))};".encode())
    for field in _DIGEST_OPTIONS:
        digest.update(f"opt.{field}:{_rounded(getattr(model.opt, field))};".encode())
    for field in _DIGEST_RARE_FIELDS:
        if np.any(getattr(model, field)):
            digest.update(f"{field}:{_rounded(getattr(model, field))};".encode())
    default = mujoco.MjOption()
    for field in _DIGEST_RARE_OPTIONS:
        if not np.array_equal(getattr(model.opt, field), getattr(default, field)):
            digest.update(f"opt.{field}:{_rounded(getattr(model.opt, field))};".encode())
    return digest.hexdigest()


def _rounded(values: Any) -> str:
    """Nine significant digits each; no negative zeros."""
    return ",".join(format(value + 0.0, ".9g") for value in np.asarray(values, dtype=np.float64).ravel())
