"""The standard ROS 2 messages that are spoken here, as DDS types under their ROS names.

Field names, order and types are those of the `.msg` files in common_interfaces, rcl_interfaces and geometry2; a message
`geometry_msgs/msg/PoseStamped` is the DDS type `geometry_msgs::msg::dds_::PoseStamped_`, and a topic `/goal_pose` the
DDS topic `rt/goal_pose`. Final types in plain CDR (XCDR version 1), as ROS 2 writes them. Quaternions here are xyzw;
everywhere else in this package they are wxyz.

Without `from __future__ import annotations`, because cyclonedds reads the annotations when a class is made.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.idl.types import float64, int32, uint32

from sim2real.errors import ShoalError, first_line

if TYPE_CHECKING:  # which values a field takes; cyclonedds wants its own names for it
    from collections.abc import Sequence as sequence

    _Nine = sequence[float]
    _ThirtySix = sequence[float]
else:
    from cyclonedds.idl.types import array, sequence

    _Nine = array[float64, 9]
    _ThirtySix = array[float64, 36]

_Kind = TypeVar("_Kind", bound=type[IdlStruct])


def _refusing_damage(kind: _Kind) -> _Kind:
    """For messages that others send: bytes that are none of this kind (a name that is not UTF-8, say) are a
    `ShoalError`.
    """
    read = kind.deserialize

    def deserialize(data: bytes, has_header: bool = True, use_version_2: bool | None = None) -> IdlStruct:
        try:
            return read(data, has_header, use_version_2)
        except Exception as error:  # of cyclonedds' decoder, which has no error of its own
            package, _, name = kind.__idl_typename__.partition(".msg.dds_.")
            raise ShoalError(f"not a {package}/{name.rstrip('_')}: {first_line(error)}.") from error

    kind.deserialize = staticmethod(deserialize)  # type: ignore[method-assign]
    return kind


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


@_refusing_damage
@final
@dataclass
class PoseStamped(IdlStruct, typename="geometry_msgs.msg.dds_.PoseStamped_"):
    """`geometry_msgs/msg/PoseStamped`, the message that others send."""

    header: Header
    pose: Pose


@_refusing_damage
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


@final
@dataclass
class MultiArrayDimension(IdlStruct, typename="std_msgs.msg.dds_.MultiArrayDimension_"):
    """`std_msgs/msg/MultiArrayDimension`."""

    label: str
    size: uint32
    stride: uint32


@final
@dataclass
class MultiArrayLayout(IdlStruct, typename="std_msgs.msg.dds_.MultiArrayLayout_"):
    """`std_msgs/msg/MultiArrayLayout`."""

    dim: sequence[MultiArrayDimension]
    data_offset: uint32


@final
@dataclass
class Float64MultiArray(IdlStruct, typename="std_msgs.msg.dds_.Float64MultiArray_"):
    """`std_msgs/msg/Float64MultiArray`."""

    layout: MultiArrayLayout
    data: sequence[float64]


@final
@dataclass
class Vector3(IdlStruct, typename="geometry_msgs.msg.dds_.Vector3_"):
    """`geometry_msgs/msg/Vector3`."""

    x: float64
    y: float64
    z: float64


@final
@dataclass
class Twist(IdlStruct, typename="geometry_msgs.msg.dds_.Twist_"):
    """`geometry_msgs/msg/Twist`, m/s and rad/s."""

    linear: Vector3
    angular: Vector3


@final
@dataclass
class PoseWithCovariance(IdlStruct, typename="geometry_msgs.msg.dds_.PoseWithCovariance_"):
    """`geometry_msgs/msg/PoseWithCovariance`."""

    pose: Pose
    covariance: _ThirtySix


@final
@dataclass
class TwistWithCovariance(IdlStruct, typename="geometry_msgs.msg.dds_.TwistWithCovariance_"):
    """`geometry_msgs/msg/TwistWithCovariance`."""

    twist: Twist
    covariance: _ThirtySix


@_refusing_damage
@final
@dataclass
class Odometry(IdlStruct, typename="nav_msgs.msg.dds_.Odometry_"):
    """`nav_msgs/msg/Odometry`: the pose in `header.frame_id`, the twist in `child_frame_id`."""

    header: Header
    child_frame_id: str
    pose: PoseWithCovariance
    twist: TwistWithCovariance


@_refusing_damage
@final
@dataclass
class Imu(IdlStruct, typename="sensor_msgs.msg.dds_.Imu_"):
    """`sensor_msgs/msg/Imu`: rad/s, m/s²; a covariance that begins with -1 says that there is no such value."""

    header: Header
    orientation: Quaternion
    orientation_covariance: _Nine
    angular_velocity: Vector3
    angular_velocity_covariance: _Nine
    linear_acceleration: Vector3
    linear_acceleration_covariance: _Nine


@_refusing_damage
@final
@dataclass
class Clock(IdlStruct, typename="rosgraph_msgs.msg.dds_.Clock_"):
    """`rosgraph_msgs/msg/Clock`: the time of a simulation."""

    clock: Time


@final
@dataclass
class Transform(IdlStruct, typename="geometry_msgs.msg.dds_.Transform_"):
    """`geometry_msgs/msg/Transform`, m: from coordinates in the child frame to those in the parent frame."""

    translation: Vector3
    rotation: Quaternion


@final
@dataclass
class TransformStamped(IdlStruct, typename="geometry_msgs.msg.dds_.TransformStamped_"):
    """`geometry_msgs/msg/TransformStamped`: `header.frame_id` is the parent frame."""

    header: Header
    child_frame_id: str
    transform: Transform


@_refusing_damage
@final
@dataclass
class TFMessage(IdlStruct, typename="tf2_msgs.msg.dds_.TFMessage_"):
    """`tf2_msgs/msg/TFMessage`."""

    transforms: sequence[TransformStamped]
