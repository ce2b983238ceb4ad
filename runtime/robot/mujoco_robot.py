"""A contract's robot inside a compiled MuJoCo model: where it is, whether it is the same, what it measures.

The model may hold more than the robot (tables, objects, a gripper); joints and actuators are found by name.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from runtime.robot.readings import Readings
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch
from sim2real.robots.actuation import joint_actuators
from sim2real.robots.kinematics import Addresses

_RELATIVE = 1e-6
_SHOWN = 6
Difference = tuple[str, Any, Any]
"""Field, value in the policy's contract, value in the model."""


class MujocoRobot:
    """Readings and actuator addresses of the contract's robot in `model`.

    Raises `ContractMismatch`, naming each field with both values, when the model's robot is a different one.
    """

    def __init__(self, model: mujoco.MjModel, contract: Contract) -> None:
        require_robot(model, contract)
        self.model = model
        self.addresses = Addresses.of(model, contract)
        self._quaternion = np.zeros(4)

    def read(self, data: mujoco.MjData, out: Readings) -> None:
        """Present readings, policy order, with the tool's pose brought up to date with `qpos` first.

        After `mj_step`, MuJoCo's poses are one step old; training always saw current ones.
        """
        mujoco.mj_kinematics(self.model, data)
        addresses = self.addresses
        np.take(data.qpos, addresses.qpos, out=out.joint_position, mode="clip")
        np.take(data.qvel, addresses.dof, out=out.joint_velocity, mode="clip")
        np.copyto(out.end_effector_position, data.site_xpos[addresses.site])
        mujoco.mju_mat2Quat(self._quaternion, data.site_xmat[addresses.site])
        np.copyto(out.end_effector_orientation, self._quaternion)
        out.time_s = data.time

    def read_simulated(self, data: mujoco.MjData, out: Readings) -> None:
        """What `data` only knows where it simulates the robot: what the actuators did in the last physics step, policy
        order, and where the object is. After `read`.
        """
        np.take(data.qfrc_actuator, self.addresses.dof, out=out.joint_effort, mode="clip")
        if self.addresses.object is not None:
            np.copyto(out.object_position, data.xpos[self.addresses.object.body])


def require_robot(model: mujoco.MjModel, contract: Contract) -> None:
    """Raise `ContractMismatch` unless every joint, limit, gain and the tool frame are the contract's."""
    found = robot_differences(model, contract)
    if found:
        shown = "; ".join(
            f"{field}: {wanted!r} in the policy, {got!r} in the model" for field, wanted, got in found[:_SHOWN]
        )
        more = f" (and {len(found) - _SHOWN} more fields)" if len(found) > _SHOWN else ""
        raise ContractMismatch(
            f"the MuJoCo model is not the robot of this policy: {shown}{more}. Use the MJCF that the policy was "
            "trained with, or train for this one."
        )


def robot_differences(model: mujoco.MjModel, contract: Contract) -> list[Difference]:
    """Every field in which the model's robot differs from the contract's."""
    found: list[Difference] = []
    joint_names = [model.joint(i).name for i in range(model.njnt)]
    for index, joint in enumerate(contract.robot.joints):
        path = f"robot.joints[{index}]"
        if joint.name not in joint_names:
            found.append((f"{path}.name", joint.name, joint_names))
            continue
        where = model.joint(joint.name)
        wanted = {"position_min": joint.position_min, "position_max": joint.position_max}
        got = {"position_min": float(where.range[0]), "position_max": float(where.range[1])}
        found += _unequal(f"{path} {joint.name}", wanted, got)
        actuators = joint_actuators(model, where.id)
        if len(actuators) != 1:
            found.append((f"{path} {joint.name}: number of actuators", 1, len(actuators)))
            continue
        wanted = {
            "stiffness": joint.stiffness,
            "damping": joint.damping,
            "effort_max": joint.effort_max,
        }
        found += _unequal(f"{path} {joint.name}", wanted, _servo(model, actuators[0]))
    sites = [model.site(i).name for i in range(model.nsite)]
    if contract.robot.end_effector_frame not in sites:
        found.append(("robot.end_effector_frame", contract.robot.end_effector_frame, sites))
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


def _servo(model: mujoco.MjModel, actuator: int) -> dict[str, Any]:
    gain, bias = float(model.actuator_gainprm[actuator, 0]), model.actuator_biasprm[actuator]
    is_servo = model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_AFFINE and bias[1] == -gain
    limited = bool(model.actuator_forcelimited[actuator])
    return {
        "stiffness": gain if is_servo else "no position servo",
        "damping": float(-bias[2]),
        "effort_max": float(model.actuator_forcerange[actuator, 1]) if limited else "unlimited",
    }


def _unequal(path: str, wanted: dict[str, float], got: dict[str, Any]) -> list[Difference]:
    return [
        (f"{path} {name}", value, got[name])
        for name, value in wanted.items()
        if not isinstance(got[name], float) or abs(got[name] - value) > _RELATIVE * max(1.0, abs(value))
    ]
