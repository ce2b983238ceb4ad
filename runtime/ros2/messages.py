"""The standard ROS 2 messages that the bridge speaks, as DDS types under their ROS names.

Field names, order and types are those of the `.msg` files in common_interfaces and rcl_interfaces; a message
`geometry_msgs/msg/PoseStamped` is the DDS type `geometry_msgs::msg::dds_::PoseStamped_`, and a topic `/goal_pose` the
DDS topic `rt/goal_pose`. Final types in plain CDR (XCDR version 1), as ROS 2 writes them. Quaternions here are xyzw;
everywhere else in this package they are wxyz.

Without `from __future__ import annotations`, because cyclonedds reads the annotations when a class is made.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import float64, int32, uint32

from sim2real.errors import ShoalError, first_line

if TYPE_CHECKING:  # which values a field takes; cyclonedds wants its own name for it
    from collections.abc import Sequence as sequence
else:
    from cyclonedds.idl.types import sequence


@final
@dataclass
class Time(IdlStruct, typename="builtin_interfaces.msg.dds_.Time_"):
    """`builtin_interfaces/msg/Time`."""

    sec: int32
    nanosec: uint32


@final
@dataclass
class Duration(IdlStruct, typename="builtin_interfaces.msg.dds_.Duration_"):
    """`builtin_interfaces/msg/Duration`."""

    sec: int32
    nanosec: uint32


@final
@dataclass
class Header(IdlStruct, typename="std_msgs.msg.dds_.Header_"):
    """`std_msgs/msg/Header`."""

    stamp: Time
    frame_id: str


@final
@dataclass
class String(IdlStruct, typename="std_msgs.msg.dds_.String_"):
    """`std_msgs/msg/String`."""

    data: str


@final
@dataclass
class Point(IdlStruct, typename="geometry_msgs.msg.dds_.Point_"):
    """`geometry_msgs/msg/Point`, m."""

    x: float64
    y: float64
    z: float64


@final
@dataclass
class Quaternion(IdlStruct, typename="geometry_msgs.msg.dds_.Quaternion_"):
    """`geometry_msgs/msg/Quaternion`, xyzw."""

    x: float64
    y: float64
    z: float64
    w: float64


@final
@dataclass
class Pose(IdlStruct, typename="geometry_msgs.msg.dds_.Pose_"):
    """`geometry_msgs/msg/Pose`."""

    position: Point
    orientation: Quaternion


@final
@dataclass
class PoseStamped(IdlStruct, typename="geometry_msgs.msg.dds_.PoseStamped_"):
    """`geometry_msgs/msg/PoseStamped`, the message that others send."""

    header: Header
    pose: Pose

    @classmethod
    def deserialize(cls, data: bytes, has_header: bool = True, use_version_2: bool | None = None) -> "PoseStamped":
        """The message in a sample's bytes; raises `ShoalError` where there is none (a frame that is not UTF-8, say)."""
        try:
            message: PoseStamped = super().deserialize(data, has_header, use_version_2)
        except Exception as error:  # of cyclonedds' decoder, which has no error of its own
            raise ShoalError(f"not a geometry_msgs/PoseStamped: {first_line(error)}.") from error
        return message


@final
@dataclass
class JointState(IdlStruct, typename="sensor_msgs.msg.dds_.JointState_"):
    """`sensor_msgs/msg/JointState`: rad, rad/s, Nm; an array that is not known is empty."""

    header: Header
    name: sequence[str]
    position: sequence[float64]
    velocity: sequence[float64]
    effort: sequence[float64]


@final
@dataclass
class JointTrajectoryPoint(IdlStruct, typename="trajectory_msgs.msg.dds_.JointTrajectoryPoint_"):
    """`trajectory_msgs/msg/JointTrajectoryPoint`: rad, rad/s, rad/s², Nm."""

    positions: sequence[float64]
    velocities: sequence[float64]
    accelerations: sequence[float64]
    effort: sequence[float64]
    time_from_start: Duration


@final
@dataclass
class JointTrajectory(IdlStruct, typename="trajectory_msgs.msg.dds_.JointTrajectory_"):
    """`trajectory_msgs/msg/JointTrajectory`."""

    header: Header
    joint_names: sequence[str]
    points: sequence[JointTrajectoryPoint]
