"""What MJX (`impl="jax"`) cannot simulate of a model, and what it would leave out without a word, element by element.

    refusals = mjx_refusals(model)      # sentences; empty where MJX simulates what MuJoCo does

The first kind `mjx.put_model` raises for, one type at a time and without saying which element has it. The second kind
is worse: both backends train, and train different policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import mujoco
import numpy as np

from sim2real.world.contacts import pair_name

_SHOWN = 4
_ELLIPSOID_DRAG = 0
"""Where `geom_fluid` says whether a geom has the ellipsoid model of drag."""


def mjx_refusals(model: mujoco.MjModel) -> list[str]:
    """Every reason not to use MJX for this model. Imports JAX."""
    return _ignored(model) + _unsupported(model)


def _ignored(model: mujoco.MjModel) -> list[str]:
    """What MJX leaves out in silence."""
    actuators = {
        "delay or nsample": (model.actuator_delay > 0) | (model.actuator_history[:, 0] > 0),
        "damping": (model.actuator_damping != 0) | _any(model.actuator_dampingpoly),
        "armature": model.actuator_armature != 0,
        "actearly": model.actuator_actearly != 0,
        "a group that <option actuatorgroupdisable> switches off": _disabled(model),
    }
    said = [_said("actuator", _names(model.actuator, ids), what) for what, ids in actuators.items()]
    joints = {
        "a polynomial stiffness": _any(model.jnt_stiffnesspoly),
        "a polynomial damping": _any(model.dof_dampingpoly)[model.jnt_dofadr],
        "actuatorgravcomp": model.jnt_actgravcomp != 0,
    }
    said += [_said("joint", _names(model.joint, ids), what) for what, ids in joints.items()]
    tendons = {"a polynomial stiffness or damping": _any(model.tendon_stiffnesspoly) | _any(model.tendon_dampingpoly)}
    said += [_said("tendon", _names(model.tendon, ids), what) for what, ids in tendons.items()]
    geoms = {
        "surfacevel": _any(model.geom_surfacevel),
        "adhesion": model.geom_adhesion != 0,
        "fluidshape ellipsoid": model.geom_fluid[:, _ELLIPSOID_DRAG] != 0,
    }
    said += [_said("geom", _names(model.geom, ids), what) for what, ids in geoms.items()]
    sensors = (model.sensor_delay > 0) | (model.sensor_history[:, 0] > 0)
    said += [_said("sensor", _names(model.sensor, sensors), "delay or nsample")]
    if model.nplugin:
        said.append(f"MJX leaves out the {model.nplugin} plugins; remove them, or use the native backend")
    if model.opt.noslip_iterations:
        count = model.opt.noslip_iterations
        said.append(f"MJX leaves out noslip_iterations {count} (<option>); make it 0, or use the native backend")
    return [sentence for sentence in said if sentence]


def _unsupported(model: mujoco.MjModel) -> list[str]:
    """What `mjx.put_model` raises for."""
    return [*_options(model), *_elements(model), *_collisions(model)]


def _options(model: mujoco.MjModel) -> list[str]:
    from mujoco.mjx._src import types

    option = model.opt
    said = [
        f"MJX has no {field} {kind(int(value)).name.split('_', 1)[1].lower()} (<option {field}>); use another"
        for field, value, kind, known in (
            ("integrator", option.integrator, mujoco.mjtIntegrator, types.IntegratorType),
            ("cone", option.cone, mujoco.mjtCone, types.ConeType),
            ("solver", option.solver, mujoco.mjtSolver, types.SolverType),
        )
        if int(value) not in set(known)
    ]
    implicit = option.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    if implicit and (option.density > 0 or option.viscosity > 0 or option.wind.any()):
        said.append("MJX has no integrator implicitfast with density, viscosity or wind (<option>); use Euler")
    return said


def _elements(model: mujoco.MjModel) -> list[str]:
    from mujoco.mjx._src import types

    said = []
    if model.nflex:
        said.append(f"MJX has no flexible bodies (<flex>, {model.nflex} of them); use the native backend")
    for element, kinds, enum, known in (
        ("actuator", model.actuator_trntype, mujoco.mjtTrn, types.TrnType),
        ("actuator", model.actuator_dyntype, mujoco.mjtDyn, types.DynType),
        ("actuator", model.actuator_gaintype, mujoco.mjtGain, types.GainType),
        ("actuator", model.actuator_biastype, mujoco.mjtBias, types.BiasType),
        ("equality", model.eq_type, mujoco.mjtEq, types.EqType),
        ("sensor", model.sensor_type, mujoco.mjtSensor, types.SensorType),
    ):
        for value in sorted(set(kinds.tolist()) - {int(one) for one in known}):
            names = _names(getattr(model, element), kinds == value)
            said.append(
                f"MJX has no {_word(enum, value)}: {element} {_list(names)}; use another kind, or the native backend"
            )
    return said


def _collisions(model: mujoco.MjModel) -> list[str]:
    from mujoco.mjx._src import collision_driver

    pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
    widened: list[tuple[int, int]] = []
    for first, second, pair in collision_driver.geom_pairs(model):
        shapes = int(model.geom_type[first]), int(model.geom_type[second])
        margin = model.pair_margin[pair] if pair >= 0 else model.geom_margin[first] + model.geom_margin[second]
        if not collision_driver.has_collision_fn(*shapes):
            pairs.setdefault(shapes, []).append((int(first), int(second)))
        elif margin and {"mesh", "hfield"} & {_word(mujoco.mjtGeom, shape) for shape in shapes}:
            widened.append((int(first), int(second)))
    said = []
    if widened:
        named = _list([pair_name(model, pair) for pair in widened])
        said.append(
            f"MJX has no margin for meshes and height fields: {named}; make margin 0, or use the native backend"
        )
    for shapes, which in pairs.items():
        words = " with ".join(_word(mujoco.mjtGeom, shape) for shape in shapes)
        named = _list([pair_name(model, pair) for pair in which])
        said.append(
            f"MJX cannot collide {words}: {named}; give them other shapes or contype and conaffinity that don't "
            "meet, or use the native backend"
        )
    return said


def _disabled(model: mujoco.MjModel) -> Any:
    groups = model.actuator_group
    return (groups >= 0) & (groups < 31) & ((int(model.opt.disableactuator) >> np.clip(groups, 0, 30)) & 1 > 0)


def _any(values: np.ndarray) -> Any:
    """`[n]` bool from `[n, k]`."""
    return values.any(axis=1)


def _names(accessor: Any, which: Iterable[Any]) -> list[str]:
    found = np.flatnonzero(np.asarray(which))
    return [repr(accessor(int(i)).name) if accessor(int(i)).name else f"number {i}" for i in found]


def _said(element: str, names: Sequence[str], what: str) -> str:
    if not names:
        return ""
    return f"MJX leaves out without a word: {what} of {element} {_list(names)}; remove it, or use the native backend"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _word(enum: Any, value: int) -> str:
    return str(enum(value).name).split("_", 1)[1].lower()
