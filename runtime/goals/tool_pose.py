"""Where joint positions put the tool, by the robot's MJCF."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from runtime.goals.resolve import ForwardKinematics
from sim2real.contract import Contract, Quaternion, Vector3
from sim2real.errors import ShoalError


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

        model = load_model(self._contract, self._mjcf)
        robot = MujocoRobot(model, self._contract)
        data = robot.addresses.home_data(model)

        def compute(joint_position: Sequence[float]) -> tuple[Vector3, Quaternion]:
            robot.addresses.place(data.qpos, joint_position)
            pose = robot.tool_pose(data)
            if pose is None:
                raise ShoalError("robot.end_effector_frame: this robot has no tool that joints could put somewhere.")
            return pose

        return compute
