"""Where joint positions put the tool, by the robot's MJCF."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from runtime.goals.messages import ForwardKinematics
from sim2real.contract import Contract, Quaternion, Vector3


class ToolPose:
    """A `ForwardKinematics`. Loads MuJoCo and the model at its first use, so that a gateway that is never asked for
    joint goals starts without them; raises `ShoalError` when there is no MJCF of the contract's robot.
    """

    def __init__(self, contract: Contract, mjcf: Path | None = None) -> None:
        self._contract, self._mjcf = contract, mjcf

    def __call__(self, joint_position: Sequence[float]) -> tuple[Vector3, Quaternion]:
        """Position in m and orientation wxyz, in the contract's goal frame, of `[J]` rad in policy order."""
        return self._compute(joint_position)

    @cached_property
    def _compute(self) -> ForwardKinematics:

        from runtime.robot.model import load_model
        from runtime.robot.mujoco_robot import MujocoRobot
        from runtime.robot.readings import Readings

        model = load_model(self._contract, self._mjcf)
        robot = MujocoRobot(model, self._contract)
        data = robot.addresses.home_data(model)
        readings = Readings.of(self._contract)

        def compute(joint_position: Sequence[float]) -> tuple[Vector3, Quaternion]:
            robot.addresses.place(data.qpos, joint_position)
            robot.read(data, readings)
            x, y, z = readings.end_effector_position.tolist()
            w, i, j, k = readings.end_effector_orientation.tolist()
            return (x, y, z), (w, i, j, k)

        return compute
