"""The model that a task really uses: the MJCF with the servos and walls that the task declares, and a site at its tool.

An MJCF of motors, or one without actuators, is used as it is: position servos are written into its spec before it is
compiled, in the place of whatever drives these joints. The contract says which joints have one, so that the runtime
makes the very same model from the same file.

    model = robot_spec(path, {"elbow": Servo(stiffness=50, damping=4, effort_max=10)}, tool="tool").compile()
    model = load_robot(path, contract.robot, contract.map)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import mujoco
import numpy as np

from sim2real.errors import raise_all
from sim2real.robots.actuation import effort_limit, joint_actuators, tendon_actuators
from sim2real.robots.config import Servo
from sim2real.robots.coordinates import known_names
from sim2real.robots.mjcf import compiled, read_mjcf
from sim2real.robots.robot import Robot
from sim2real.world.map import Map

_WALL_COLOUR = (0.62, 0.66, 0.72, 1.0)
_OFF = int(mujoco.mjtLimited.mjLIMITED_FALSE)
_ON = int(mujoco.mjtLimited.mjLIMITED_TRUE)


def load_robot(path: Path, robot: Robot, map: Map | None) -> mujoco.MjModel:
    """The compiled model of a contract's robot on its map; `ShoalError` where the file cannot be one."""
    return compiled(described_spec(path, robot, map), path)


def described_spec(path: Path, robot: Robot, map: Map | None) -> mujoco.MjSpec:
    """What `load_robot` compiles."""
    servos = {
        joint.name: Servo(stiffness=joint.stiffness, damping=joint.damping, effort_max=joint.effort_max)
        for joint in robot.joints
        if joint.declared_servo
    }
    for held in robot.held:
        if held.servo is not None:
            servos[held.servo.joint] = Servo(**held.servo.model_dump(exclude={"joint"}))
    return robot_spec(path, servos, tool=robot.end_effector_frame, map=map)


def robot_spec(path: Path, servos: Mapping[str, Servo], *, tool: str | None, map: Map | None = None) -> mujoco.MjSpec:
    """The MJCF at `path` with these servos by joint (or tendon), with a site where `tool` is the name of a body, and
    with the walls of a map.
    """
    spec = read_mjcf(path)
    if servos:
        _declare(spec, compiled(spec, path), servos)
    if tool is not None and spec.site(tool) is None and spec.body(tool) is not None:
        spec.body(tool).add_site(name=tool)
    if map is not None:
        _add_walls(spec, map)
    return spec


def _add_walls(spec: mujoco.MjSpec, map: Map) -> None:
    """Boxes that touch whatever a floor would, and nothing from the file's defaults.

    Of a robot and its floor either may be the one that says what it collides with (contype) and the other what with
    (conaffinity); a wall is both.
    """
    for index, wall in enumerate(map.walls()):
        spec.worldbody.add_geom(
            name=f"wall_{index}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=wall.middle,
            size=wall.half_size,
            contype=1,
            conaffinity=1,
            condim=3,
            friction=[1.0, 0.01, 0.01],
            group=0,
            rgba=_WALL_COLOUR,
        )


def _declare(spec: mujoco.MjSpec, original: mujoco.MjModel, servos: Mapping[str, Servo]) -> None:
    problems, replaced, names, limits = [], set[int](), {}, {}
    for name, servo in servos.items():
        joint = mujoco.mj_name2id(original, mujoco.mjtObj.mjOBJ_JOINT, name)
        tendon = mujoco.mj_name2id(original, mujoco.mjtObj.mjOBJ_TENDON, name)
        if joint < 0 and tendon < 0:
            problems.append(f"robot.servo: the MJCF has no joint or tendon {name!r}; {known_names(original, name)}")
            continue
        old = joint_actuators(original, joint) if joint >= 0 else tendon_actuators(original, tendon)
        limit = min([*(effort_limit(original, i) for i in old), _own_limit(original, joint, tendon)])
        limits[name] = limit if servo.effort_max is None else min(servo.effort_max, _own_limit(original, joint, tendon))
        if not math.isfinite(limits[name]):
            problems.append(f"robot.servo: nothing limits the force at {name!r}; give its effort_max")
        replaced.update(old)
        names[name] = original.actuator(old[0]).name if old else ""
    raise_all(problems, what="task")
    kept = [i for i in range(original.nactuator) if i not in replaced]
    controls = _key_controls(original, kept, list(servos))
    actuators = list(spec.actuators)
    for index in sorted(replaced):
        spec.delete(actuators[index])
    taken = {actuator.name for actuator in spec.actuators}
    for name, servo in servos.items():
        _add(spec, original, name, names[name] or (name if name not in taken else f"{name}_servo"), servo, limits[name])
    for key, control in zip(spec.keys, controls, strict=True):
        key.ctrl = control
        if original.na:
            key.act = np.zeros(0)


def _add(
    spec: mujoco.MjSpec, original: mujoco.MjModel, target: str, name: str, servo: Servo, effort_max: float
) -> None:
    """A position servo with nothing from the file's defaults."""
    joint = mujoco.mj_name2id(original, mujoco.mjtObj.mjOBJ_JOINT, target) >= 0
    actuator = spec.add_actuator(
        name=name,
        target=target,
        trntype=mujoco.mjtTrn.mjTRN_JOINT if joint else mujoco.mjtTrn.mjTRN_TENDON,
        gear=[1.0, 0, 0, 0, 0, 0],
        ctrllimited=_OFF,
        actlimited=_OFF,
        forcelimited=_ON,
        forcerange=[-effort_max, effort_max],
        inheritrange=0.0,
        delay=0.0,
        nsample=0,
        group=0,
    )
    actuator.set_to_position(kp=servo.stiffness, kv=servo.damping)


def _own_limit(model: mujoco.MjModel, joint: int, tendon: int) -> float:
    """The joint's or tendon's own actuatorfrcrange, which limits whatever drives it; infinite where it has none."""
    limited, span = (
        (model.jnt_actfrclimited[joint], model.jnt_actfrcrange[joint])
        if joint >= 0
        else (model.tendon_actfrclimited[tendon], model.tendon_actfrcrange[tendon])
    )
    return float(min(-span[0], span[1])) if limited else math.inf


def _key_controls(model: mujoco.MjModel, kept: list[int], declared: list[str]) -> list[np.ndarray]:
    """Controls of each keyframe, for the actuators that stay and then for the declared servos, which stay where they
    are.
    """
    controls = []
    data = mujoco.MjData(model)
    for key in range(model.nkey):
        mujoco.mj_resetDataKeyframe(model, data, key)
        mujoco.mj_fwdPosition(model, data)
        own = [
            data.qpos[model.joint(name).qposadr[0]]
            if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name) >= 0
            else data.ten_length[model.tendon(name).id]
            for name in declared
        ]
        controls.append(np.array([*model.key_ctrl[key][model.actuator_ctrladr[kept]], *own]))
    return controls
