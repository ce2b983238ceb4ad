"""Which motor of the robot is which joint of a policy, by names.

The robot's motors turn about the axes of its published description, and so do the joints of the quadruped that ships:
a hip about the way ahead, thigh and calf about the way to the left, on every leg. All signs are 1 therefore; for a
policy of a robot that was modelled the other way round, `--robot-config` names the joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from runtime.robot.readings import Float64
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch


class Motor(NamedTuple):
    """One motor."""

    slot: int
    """Where it stands in `motor_cmd` and `motor_state`."""
    name: str
    """What the robot's description calls its joint."""
    joint: str
    """The joint of the quadruped that ships."""


MOTORS = (
    Motor(0, "FR_hip_joint", "front_right_hip"),
    Motor(1, "FR_thigh_joint", "front_right_thigh"),
    Motor(2, "FR_calf_joint", "front_right_calf"),
    Motor(3, "FL_hip_joint", "front_left_hip"),
    Motor(4, "FL_thigh_joint", "front_left_thigh"),
    Motor(5, "FL_calf_joint", "front_left_calf"),
    Motor(6, "RR_hip_joint", "rear_right_hip"),
    Motor(7, "RR_thigh_joint", "rear_right_thigh"),
    Motor(8, "RR_calf_joint", "rear_right_calf"),
    Motor(9, "RL_hip_joint", "rear_left_hip"),
    Motor(10, "RL_thigh_joint", "rear_left_thigh"),
    Motor(11, "RL_calf_joint", "rear_left_calf"),
)


class MotorMap(NamedTuple):
    """The motors of a policy's joints; J joints, policy order."""

    names: tuple[str, ...]
    """What the robot calls them."""
    slots: NDArray[np.intp]
    """`[J]`"""
    signs: Float64
    """`[J]`, 1 or -1: a motor's angle is a joint's times this."""

    @classmethod
    def of(cls, contract: Contract, renamed: Mapping[str, str], reversed_joints: tuple[str, ...] = ()) -> Self:
        """By the contract's names, which are those of `MOTORS`, either kind, or `renamed` to the robot's. Raises
        `ContractMismatch` with all that does not fit.
        """
        known = {name: motor for motor in MOTORS for name in (motor.name, motor.joint)}
        problems = [
            f"--robot-config: {field}: the policy has no joint {name!r}"
            for field, names in (("joint_names", tuple(renamed)), ("reversed", reversed_joints))
            for name in names
            if name not in contract.joint_names
        ]
        found = {joint: known.get(renamed.get(joint, joint)) for joint in contract.joint_names}
        unknown = [repr(renamed.get(joint, joint)) for joint, motor in found.items() if motor is None]
        problems += [f"no motor is called {', '.join(unknown)}"] if unknown else []
        motors = [motor for motor in found.values() if motor is not None]
        slots = [motor.slot for motor in motors]
        problems += [
            f"{motor.name} is two joints' motor" for index, motor in enumerate(motors) if motor.slot in slots[:index]
        ]
        left = [motor.name for motor in MOTORS if motor.slot not in slots]
        problems += [f"no joint is {', '.join(left)}"] if left else []
        if problems:
            raise ContractMismatch(
                f"--robot unitree: {'; '.join(problems)}. Serve the policy of a quadruped; where its joints have other "
                "names, joint_names in --robot-config says which motors they are."
            )
        signs = np.array([-1.0 if joint in reversed_joints else 1.0 for joint in contract.joint_names])
        return cls(tuple(motor.name for motor in motors), np.array(slots), signs)
