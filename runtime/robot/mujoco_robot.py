"""A contract's robot inside a compiled MuJoCo model: where it is, whether it is the same, what it measures.

The model may hold more than the robot (tables, objects, a gripper); joints and actuators are found by name.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from runtime.robot.readings import Readings
from runtime.robot.sensing import Sensors
from sim2real.contract import Contract, Joint, Quaternion, Vector3
from sim2real.errors import ContractMismatch
from sim2real.robots.coordinates import Coordinate, read_coordinate
from sim2real.robots.description import command_limits, model_problems
from sim2real.robots.home import Home
from sim2real.robots.kinematics import Addresses, home_state
from sim2real.terms import Scene

_OWN = ("encoder", "forward_kinematics")
"""Sources of readings that a robot's joints tell."""
_RELATIVE = 1e-6
_SHOWN = 6


class MujocoRobot:
    """Readings and actuator addresses of the contract's robot in `model`.

    Raises `ContractMismatch`, naming each field with both values, when the model's robot is a different one.
    """

    def __init__(self, model: mujoco.MjModel, contract: Contract) -> None:
        require_robot(model, contract)
        self.model = model
        self.addresses = Addresses.of(model, contract.robot)
        scene = Scene(model, contract.robot, self.addresses.rest_qpos, contract.timing.control_dt_s)
        told = [contract.reading(name) for name in contract.measured.sizes]
        self._own = Sensors(scene, [reading for reading in told if reading.source in _OWN])
        self._others = Sensors(scene, [reading for reading in told if reading.source not in _OWN])
        self._quaternion = np.zeros(4)

    def read(self, data: mujoco.MjData, out: Readings) -> None:
        """What follows from the robot's joints alone, policy order, by encoders and forward kinematics, with everything
        brought up to date with `qpos` first.

        After `mj_step`, MuJoCo's poses are one step old; training always saw current ones.
        """
        self._own.read(data, out.named)
        out.time_s = data.time

    def read_simulated(self, data: mujoco.MjData, out: Readings) -> None:
        """What `data` only knows where it simulates the robot: what the actuators did in the last physics step, policy
        order, where objects and the base are, what an inertial unit measures. After `read`.
        """
        self.addresses.effort(data, out.joint_effort)
        if self._others.passive:
            self._others.copy(data, out.named)
        else:
            self._others.read(data, out.named)

    def tool_pose(self, data: mujoco.MjData) -> tuple[Vector3, Quaternion] | None:
        """Position in m and orientation wxyz of the tool at `qpos`; None for a robot without one."""
        site = self.addresses.site
        if site is None:
            return None
        mujoco.mj_kinematics(self.model, data)
        mujoco.mju_mat2Quat(self._quaternion, data.site_xmat[site])
        (x, y, z), (w, i, j, k) = data.site_xpos[site].tolist(), self._quaternion.tolist()
        return (x, y, z), (w, i, j, k)


def require_robot(model: mujoco.MjModel, contract: Contract) -> None:
    """Raise `ContractMismatch` unless every joint, limit, gain and the tool frame are the contract's, and no more."""
    found = robot_differences(model, contract)
    if found:
        more = f" (and {len(found) - _SHOWN} more fields)" if len(found) > _SHOWN else ""
        raise ContractMismatch(
            f"the MuJoCo model is not the robot of this policy: {'; '.join(found[:_SHOWN])}{more}. Use the MJCF "
            "that the "
            "policy was trained with (where the task declares servos, compile it with "
            "`runtime.robot.model.load_model`), "
            "or train for this one."
        )


def robot_differences(model: mujoco.MjModel, contract: Contract) -> list[str]:
    """Every field, in words, in which the model differs from the contract, and what it does beyond it."""
    found: list[str] = []
    coordinates: list[Coordinate] = []
    for index, joint in enumerate(contract.robot.joints):
        path = f"robot.joints[{index}]"
        coordinate, said = read_coordinate(model, joint.name)
        found += [f"{path}: {problem}" for problem in said]
        if coordinate is not None:
            coordinates.append(coordinate)
            found += _unequal(f"{path} {joint.name}", joint, coordinate)
    if len(coordinates) == len(contract.robot.joints):
        found += model_problems(model, coordinates, Home(*home_state(model, contract.robot, coordinates)))
    sites = [model.site(i).name for i in range(model.nsite)]
    tool = contract.robot.end_effector_frame
    if tool is not None and tool not in sites:
        found.append(f"robot.end_effector_frame: {tool!r} in the policy, {sites} in the model")
    return found


def require_rate(timestep_s: float, contract: Contract) -> int:
    """Physics steps per control period; `ContractMismatch` when that is not a whole number."""
    control_dt_s = contract.timing.control_dt_s
    ratio = control_dt_s / timestep_s
    if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-6 * ratio:
        raise ContractMismatch(
            f"timing.control_dt_s is {control_dt_s!r} in the policy, which is no whole multiple of the model's "
            f"opt.timestep {timestep_s!r}; use {contract.timing.physics_dt_s!r}, as in training."
        )
    return round(ratio)


def interpolate(previous: np.ndarray, new: np.ndarray, fraction: float, out: np.ndarray) -> None:
    """The servo target on the way from one command to the next, `[J]` rad each: linear, exactly `new` at 1."""
    if fraction >= 1.0:
        np.copyto(out, new)
        return
    np.subtract(new, previous, out=out)
    np.multiply(out, fraction, out=out)
    np.add(out, previous, out=out)


def _unequal(path: str, joint: Joint, coordinate: Coordinate) -> list[str]:
    drive = coordinate.actuation
    command_min, command_max = command_limits(coordinate, joint.velocity_max)
    got: dict[str, Any] = {
        "kind": coordinate.kind,
        "mode": drive.mode,
        "position_min": coordinate.position_min,
        "position_max": coordinate.position_max,
        "continuous": coordinate.continuous,
        "effort_max": drive.effort_max,
        "stiffness": drive.stiffness,
        "damping": drive.damping,
        "moves": coordinate.moves,
        "command_min": command_min,
        "command_max": command_max,
    }
    wanted = {name: getattr(joint, name) for name in got}
    return [
        f"{path} {name}: {wanted[name]!r} in the policy, {value!r} in the model"
        for name, value in got.items()
        if not _same(wanted[name], value)
    ]


def _same(wanted: Any, got: Any) -> bool:
    if isinstance(wanted, float) and isinstance(got, float):
        return abs(got - wanted) <= _RELATIVE * max(1.0, abs(wanted))
    return bool(wanted == got)
