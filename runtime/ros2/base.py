"""What odometry and an inertial unit tell of a floating base, placed into the contract's model.

The readings then follow from the model as in training: gravity as the base sees it, how fast it turns, where it is.
Units are SI, orientations in messages xyzw, in the model wxyz.
"""

from __future__ import annotations

import math

import mujoco
import numpy as np

from runtime.robot.rotations import is_meant_as_rotation
from runtime.ros2 import messages as ros
from sim2real.errors import ShoalError
from sim2real.terms import Scene


class Base:
    """The floating base, by odometry, by an inertial unit in the base's own frame, or by both."""

    def __init__(self, scene: Scene, *, needs_pose: bool, needs_imu: bool) -> None:
        model = scene.model
        root = int(model.body_rootid[scene.addresses.body])
        joint = scene.free_joint(root)
        if joint is None:
            raise ShoalError(f"--robot ros2: the base {model.body(root).name!r} of the policy's robot does not float.")
        self._qpos, self._dof = int(model.jnt_qposadr[joint]), int(model.jnt_dofadr[joint])
        self._needs_pose, self._needs_imu = needs_pose, needs_imu
        self._turned = np.zeros(9)
        self._pose_s = self._imu_s = -math.inf

    @property
    def measured_s(self) -> float:
        """When the older of what is needed was told, monotonic; -inf until all was."""
        needed = [*([self._pose_s] if self._needs_pose else []), *([self._imu_s] if self._needs_imu else [])]
        return min(needed, default=math.inf)

    def take_odometry(self, data: mujoco.MjData, message: ros.Odometry, now_s: float) -> None:
        """Pose and velocity; how fast it turns only without an inertial unit, which knows that better."""
        at, twist = message.pose.pose.position, message.twist.twist
        if not np.isfinite((at.x, at.y, at.z)).all() or not self._turn(data, message.pose.pose.orientation):
            return
        data.qpos[self._qpos : self._qpos + 3] = at.x, at.y, at.z
        mujoco.mju_quat2Mat(self._turned, data.qpos[self._qpos + 3 : self._qpos + 7])
        # MuJoCo has the velocity of a free joint in the world, and its rate of turning in the body.
        linear = [twist.linear.x, twist.linear.y, twist.linear.z]
        data.qvel[self._dof : self._dof + 3] = self._turned.reshape(3, 3) @ linear
        if not self._needs_imu:
            self._spin(data, twist.angular)
        self._pose_s = now_s

    def take_imu(self, data: mujoco.MjData, message: ros.Imu, now_s: float) -> None:
        """How fast it turns and, where no odometry says so, how it is turned."""
        knows_turn = message.orientation_covariance[0] != -1
        if not self._needs_pose and not (knows_turn and self._turn(data, message.orientation)):
            return
        self._spin(data, message.angular_velocity)
        self._imu_s = now_s

    def _turn(self, data: mujoco.MjData, orientation: ros.Quaternion) -> bool:
        wxyz = np.array([orientation.w, orientation.x, orientation.y, orientation.z])
        length = float(np.linalg.norm(wxyz))
        if not is_meant_as_rotation(length):
            return False
        data.qpos[self._qpos + 3 : self._qpos + 7] = wxyz / length
        return True

    def _spin(self, data: mujoco.MjData, angular: ros.Vector3) -> None:
        data.qvel[self._dof + 3 : self._dof + 6] = angular.x, angular.y, angular.z
