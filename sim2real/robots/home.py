"""Where the whole model stands at the beginning: joints of the task, everything else, and the controls."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from sim2real.robots.config import RobotConfig
from sim2real.robots.coordinates import it_has, joint_addresses


@dataclass(frozen=True)
class Home:
    """A state at rest."""

    qpos: np.ndarray
    """`[nq]`."""
    ctrl: np.ndarray
    """`[nu]`."""


def home_of(config: RobotConfig, model: mujoco.MjModel) -> tuple[Home, list[str]]:
    """The task's home, and what is wrong with what it says, in sentences; the MJCF's zeros where it says too little."""
    if isinstance(config.home, dict):
        return _from_positions(config.home, model)
    wanted = config.home_keyframe if config.home is None else config.home
    field = "robot.home_keyframe" if config.home is None else "robot.home"
    keys = [model.key(i).name for i in range(model.nkey)]
    found = wanted if isinstance(wanted, int) else keys.index(wanted) if wanted in keys else -1
    if 0 <= found < model.nkey:
        return Home(model.key_qpos[found].copy(), model.key_ctrl[found].copy()), []
    has = (
        f"it has {model.nkey} ({', '.join(repr(key) if key else str(i) for i, key in enumerate(keys))})"
        if keys
        else "it has none"
    )
    problem = (
        f"{field}: the MJCF has no keyframe {wanted!r}, {has}; name one of them, or write the positions of the joints, "
        "`home: {joint: value}`"
    )
    return Home(model.qpos0.copy(), np.zeros(model.nu)), [problem]


def _from_positions(positions: dict[str, float | list[float]], model: mujoco.MjModel) -> tuple[Home, list[str]]:
    qpos, problems = model.qpos0.copy(), []
    names = [model.joint(i).name for i in range(model.njnt)]
    for name, value in positions.items():
        joint = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
        joint = _free_joint_of(model, name) if joint < 0 else joint
        if joint < 0:
            problems.append(f"robot.home: the MJCF has no joint {name!r}; {it_has(names, name)}")
            continue
        numbers, where = np.atleast_1d(value), joint_addresses(model, joint)
        if len(numbers) != len(where):
            problems.append(f"robot.home: joint {name!r} has {len(where)} numbers, got {value}")
            continue
        qpos[where] = numbers
    mujoco.mj_normalizeQuat(model, qpos)
    return Home(qpos, _holding(model, qpos)), problems


def _free_joint_of(model: mujoco.MjModel, name: str) -> int:
    """The free joint of a body by name, since `<freejoint/>` is often left without one; -1 where there is none."""
    body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
    joint = int(model.body_jntadr[body]) if body > 0 else -1
    return joint if joint >= 0 and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE else -1


def _holding(model: mujoco.MjModel, qpos: np.ndarray) -> np.ndarray:
    """`[nu]`, with which position servos stay where they are, the rest 0."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_fwdPosition(model, data)
    ctrl = np.zeros(model.nu)
    for actuator in range(model.nactuator):
        gain, spring = model.actuator_gainprm[actuator, 0], -model.actuator_biasprm[actuator, 1]
        if spring > 0 and gain > 0 and model.actuator_gaintype[actuator] == mujoco.mjtGain.mjGAIN_FIXED:
            address = int(model.actuator_ctrladr[actuator])
            value = data.actuator_length[actuator] * spring / gain
            limits = model.actuator_ctrlrange[actuator] if model.actuator_ctrllimited[actuator] else (-np.inf, np.inf)
            ctrl[address] = np.clip(value, *limits)
    return ctrl
