"""What a compiled actuator does at the joint or tendon that it drives: read completely, or refused by name.

MuJoCo's actuators can do more than a contract says: filter their input, push without being told to, give less force
than their range because the joint or the tendon has a range of its own, or be switched off as a group.
`read_actuation` turns one into numbers at the joint (gear taken out), and lists what cannot be said in sentences with
element, value and cure.

    force at the joint = effort limited to [-effort_max, effort_max] of
        stiffness (command - position) - damping velocity      mode position, command in rad or m
        damping (command - velocity)                           mode velocity, command in rad/s or m/s
        command                                                mode effort, command in N m or N
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np

Mode = Literal["position", "velocity", "effort"]

_ON_JOINT = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
_ON_TENDON = (int(mujoco.mjtTrn.mjTRN_TENDON),)
_SYMMETRY = 1e-6


@dataclass(frozen=True)
class Actuation:
    """One actuator as its joint feels it, SI units of the joint: rad and N m, or m and N."""

    mode: Mode
    stiffness: float
    damping: float
    effort_max: float
    """Infinite where nothing limits it."""
    command_min: float
    """-inf where `ctrlrange` does not limit the command."""
    command_max: float
    control_per_command: float
    """What stands in `ctrl` for a command of one."""


def joint_actuators(model: mujoco.MjModel, joint: int) -> list[int]:
    """Ids of the actuators that act on a joint directly.

    Not by `actuator_trnid` alone, which counts in tendons or sites where the transmission is one: a gripper's tendon
    may have the id of a joint.
    """
    return _driven_by(model, joint, _ON_JOINT)


def tendon_actuators(model: mujoco.MjModel, tendon: int) -> list[int]:
    """Ids of the actuators that pull a tendon."""
    return _driven_by(model, tendon, _ON_TENDON)


def _driven_by(model: mujoco.MjModel, target: int, kinds: tuple[int, ...]) -> list[int]:
    found = np.isin(model.actuator_trntype, kinds) & (model.actuator_trnid[:, 0] == target)
    return [int(i) for i in np.flatnonzero(found)]


def moments(model: mujoco.MjModel, qpos: np.ndarray) -> np.ndarray:
    """How every actuator pushes on every degree of freedom where the model stands at `qpos` `[nq]`, `[nactuator, nv]`;
    of actuators with several outputs the first.
    """
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_fwdPosition(model, data)
    dense = np.zeros((len(data.moment_rownnz), model.nv))
    rows = (data.moment_rownnz, data.moment_rowadr, data.moment_colind.ravel())
    mujoco.mju_sparse2dense(dense, data.actuator_moment.ravel(), *rows)
    return np.asarray(dense[model.actuator_outadr])


def is_disabled(model: mujoco.MjModel, actuator: int) -> bool:
    """Whether the actuator's group is switched off by `<option actuatorgroupdisable>`."""
    group = int(model.actuator_group[actuator])
    return 0 <= group < 31 and bool(int(model.opt.disableactuator) >> group & 1)


def read_actuation(model: mujoco.MjModel, actuator: int) -> tuple[Actuation | None, list[str]]:
    """The actuator at its joint or tendon, and what is wrong with it, in sentences without a subject.

    None where no contract can say what it does. Its controls may be in a unit of their own (a gripper's 0 to 255).
    """
    problems = _beyond_any_mode(model, actuator)
    gear, gain = float(model.actuator_gear[actuator, 0]), float(model.actuator_gainprm[actuator, 0])
    mode = _mode(model, actuator)
    if gear == 0:
        problems.append("has gear 0, so it moves nothing; give a gear")
    if mode is None:
        problems.append(
            f"is neither a position servo, a velocity servo nor a motor ({_form(model, actuator)}); use <position>, "
            "<velocity> or <motor>, or let `robot.servo` in the task replace it"
        )
    if mode is None or gear == 0:
        return None, problems
    spring, damper = (-float(model.actuator_biasprm[actuator, i]) + 0.0 for i in (1, 2))
    per_command = {"position": gear * spring / gain, "velocity": gear * damper / gain, "effort": 1 / (gear * gain)}[
        mode
    ]
    limit, said = _effort_limit(model, actuator, abs(gear))
    low, high = -np.inf, np.inf
    if model.actuator_ctrllimited[actuator]:
        low, high = sorted(float(value) / per_command for value in model.actuator_ctrlrange[actuator])
    if mode == "effort":
        low, high = max(low, -limit), min(high, limit)
        limit = max(-low, high)
    stiffness, damping = (0.0, 0.0) if mode == "effort" else (spring * gear**2, damper * gear**2)
    return Actuation(mode, stiffness, damping, limit, low, high, per_command), problems + said


def _mode(model: mujoco.MjModel, actuator: int) -> Mode | None:
    fixed, affine = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    kind, bias = model.actuator_biastype[actuator], model.actuator_biasprm[actuator]
    if model.actuator_gaintype[actuator] != fixed or model.actuator_gainprm[actuator, 0] <= 0:
        return None
    if kind == mujoco.mjtBias.mjBIAS_NONE or (kind == affine and not bias[1:3].any()):
        return "effort"
    if kind != affine or bias[1] > 0 or bias[2] > 0:
        return None
    return "position" if bias[1] < 0 else "velocity"


def _form(model: mujoco.MjModel, actuator: int) -> str:
    gain, bias = model.actuator_gaintype[actuator], model.actuator_biastype[actuator]
    return (
        f"gaintype {_enum(mujoco.mjtGain, gain)}, gainprm {model.actuator_gainprm[actuator, :3].tolist()}, "
        f"biastype {_enum(mujoco.mjtBias, bias)}, biasprm {model.actuator_biasprm[actuator, :3].tolist()}"
    )


def _enum(kind: type, value: int) -> str:
    return str(kind(int(value)).name).split("_", 1)[1].lower()


def _beyond_any_mode(model: mujoco.MjModel, actuator: int) -> list[str]:
    """What no contract says of any actuator."""
    problems = []
    if is_disabled(model, actuator):
        problems.append(
            f"is switched off: its group {model.actuator_group[actuator]} is in <option actuatorgroupdisable>; "
            "enable the group, or leave the joint out of the task"
        )
    if model.actuator_actnum[actuator] > 0 or model.actuator_dyntype[actuator] != mujoco.mjtDyn.mjDYN_NONE:
        kind, value = _enum(mujoco.mjtDyn, model.actuator_dyntype[actuator]), model.actuator_dynprm[actuator, 0]
        problems.append(
            f"has dynamics of its own (dyntype {kind}, dynprm {value:g}), whose state no robot reports; remove "
            "timeconst "
            "or dyntype, and let `randomisation.actuator_lag_s` say how the servo lags"
        )
    if model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_AFFINE and model.actuator_biasprm[actuator, 0] != 0:
        problems.append(
            f"pushes with {model.actuator_biasprm[actuator, 0]:g} whatever it is told (biasprm[0]); make biasprm[0] 0"
        )
    if model.actuator_delay[actuator] > 0 or model.actuator_history[actuator, 0] > 0:
        problems.append(
            f"has a delay of {model.actuator_delay[actuator]:g} s (delay, nsample), which MJX ignores without a word; "
            "remove it, and let `randomisation.action_delay_s` say it"
        )
    if model.actuator_plugin[actuator] >= 0:
        problems.append("is computed by a plugin; use <position>, <velocity> or <motor>")
    if model.actuator_ctrlnum[actuator] != 1:
        problems.append(f"takes {model.actuator_ctrlnum[actuator]} controls; use one that takes one")
    return problems


def effort_limit(model: mujoco.MjModel, actuator: int) -> float:
    """The most force that an actuator can give at its joint or tendon; infinite where nothing limits it."""
    gear, gain = abs(float(model.actuator_gear[actuator, 0])), abs(float(model.actuator_gainprm[actuator, 0]))
    limit, _ = _effort_limit(model, actuator, gear)
    if model.actuator_ctrllimited[actuator] and not model.actuator_biasprm[actuator].any():
        limit = min(limit, gear * gain * float(np.abs(model.actuator_ctrlrange[actuator]).max()))
    return limit if limit > 0 else math.inf


def _effort_limit(model: mujoco.MjModel, actuator: int, gear: float) -> tuple[float, list[str]]:
    """The least of all limits on the force at the joint, and what is wrong with them."""
    kind, target = int(model.actuator_trntype[actuator]), int(model.actuator_trnid[actuator, 0])
    ranges = []
    if model.actuator_forcelimited[actuator]:
        ranges.append(("forcerange", gear, model.actuator_forcerange[actuator]))
    if kind in _ON_JOINT and model.jnt_actfrclimited[target]:
        ranges.append(("the joint's actuatorfrcrange", 1.0, model.jnt_actfrcrange[target]))
    if kind in _ON_TENDON and model.tendon_actfrclimited[target]:
        ranges.append(("the tendon's actuatorfrcrange", 1.0, model.tendon_actfrcrange[target]))
    limit, problems = np.inf, []
    for name, factor, (low, high) in ranges:
        if high <= 0 or low >= 0 or abs(low + high) > _SYMMETRY * (high - low):
            problems.append(
                f"pushes and pulls differently hard ({name} {low:g} {high:g}), and a contract has one effort limit; "
                f"give the smaller one both ways"
            )
        limit = min(limit, factor * max(min(-low, high), 0.0))
    return float(limit), problems
