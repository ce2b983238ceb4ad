"""A second process on ROS 2's topics, with type definitions of its own: sends one goal and prints what comes back.

python -m tests.runtime.ros2.peer NAMESPACE FRAME STAMP WANTED X Y Z

FRAME is a name, or `hex:` and any bytes. STAMP is in seconds from now, empty for a stamp of zero. Ends when the goal is
reached, or, if WANTED is not empty, refused in these words.

python -m tests.runtime.ros2.peer NAMESPACE FRAME object WANTED X Y Z

says thirty times a second that the object is there, and ends when the status' reason is WANTED.
"""

import json
import os
import sys
import time
from dataclasses import dataclass

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct, annotations, types
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic


@dataclass
@annotations.final
class Stamp(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    sec: types.int32
    nanosec: types.uint32


@dataclass
@annotations.final
class Span(IdlStruct, typename="builtin_interfaces::msg::dds_::Duration_"):
    sec: types.int32
    nanosec: types.uint32


@dataclass
@annotations.final
class Head(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    stamp: Stamp
    frame_id: str


@dataclass
@annotations.final
class Xyz(IdlStruct, typename="geometry_msgs::msg::dds_::Point_"):
    x: types.float64
    y: types.float64
    z: types.float64


@dataclass
@annotations.final
class Xyzw(IdlStruct, typename="geometry_msgs::msg::dds_::Quaternion_"):
    x: types.float64
    y: types.float64
    z: types.float64
    w: types.float64


@dataclass
@annotations.final
class Place(IdlStruct, typename="geometry_msgs::msg::dds_::Pose_"):
    position: Xyz
    orientation: Xyzw


@dataclass
@annotations.final
class StampedPlace(IdlStruct, typename="geometry_msgs::msg::dds_::PoseStamped_"):
    header: Head
    pose: Place


@dataclass
@annotations.final
class Joints(IdlStruct, typename="sensor_msgs::msg::dds_::JointState_"):
    header: Head
    name: types.sequence[str]
    position: types.sequence[types.float64]
    velocity: types.sequence[types.float64]
    effort: types.sequence[types.float64]


@dataclass
@annotations.final
class Waypoint(IdlStruct, typename="trajectory_msgs::msg::dds_::JointTrajectoryPoint_"):
    positions: types.sequence[types.float64]
    velocities: types.sequence[types.float64]
    accelerations: types.sequence[types.float64]
    effort: types.sequence[types.float64]
    time_from_start: Span


@dataclass
@annotations.final
class Trajectory(IdlStruct, typename="trajectory_msgs::msg::dds_::JointTrajectory_"):
    header: Head
    joint_names: types.sequence[str]
    points: types.sequence[Waypoint]


@dataclass
@annotations.final
class Text(IdlStruct, typename="std_msgs::msg::dds_::String_"):
    data: str


ROS_DEFAULT = Qos(
    Policy.Reliability.Reliable(max_blocking_time=100_000_000),
    Policy.Durability.Volatile,
    Policy.History.KeepLast(10),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)
SENSOR_DATA = Qos(
    Policy.Reliability.BestEffort,
    Policy.Durability.Volatile,
    Policy.History.KeepLast(5),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)


class Damaged(str):
    """A string that is written as the bytes of which it is the hexadecimal form."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return bytes.fromhex(self)


def main() -> None:
    prefix, frame, stamp, wanted, *position = sys.argv[1:]
    frame = Damaged(frame.removeprefix("hex:")) if frame.startswith("hex:") else frame
    x, y, z = (float(value) for value in position)
    participant = DomainParticipant(int(os.environ["ROS_DOMAIN_ID"]))

    def reader(name: str, kind: type, qos: Qos) -> DataReader:
        return DataReader(participant, Topic(participant, f"rt/{prefix}/{name}", kind), qos=qos)

    joints = reader("joint_states", Joints, SENSOR_DATA)
    tools = reader("tool_pose", StampedPlace, ROS_DEFAULT)
    trajectories = reader("joint_trajectory", Trajectory, ROS_DEFAULT)
    statuses = reader("goal_status", Text, ROS_DEFAULT)
    goals = DataWriter(participant, Topic(participant, f"rt/{prefix}/goal_pose", StampedPlace), qos=ROS_DEFAULT)
    deadline = time.monotonic() + 60
    if stamp == "object":
        watch_object(participant, prefix, frame, wanted, Xyz(x, y, z), statuses, deadline)
        return
    while not goals.get_matched_subscriptions() and time.monotonic() < deadline:
        time.sleep(0.01)
    sec, nanosec = divmod(time.time_ns() + int(stamp) * 1_000_000_000, 1_000_000_000) if stamp else (0, 0)
    goals.write(StampedPlace(Head(Stamp(sec, nanosec), frame), Place(Xyz(x, y, z), Xyzw(1.0, 0.0, 0.0, 0.0))))
    seen: dict = {"joint_states": 0}
    while time.monotonic() < deadline:
        for sample in joints.take(10):
            seen["joint_states"] += 1
            seen["joints"] = [sample.header.frame_id, list(sample.name), list(sample.position)]
        for sample in tools.take(10):
            point = sample.pose.position
            seen["tool"] = [sample.header.frame_id, point.x, point.y, point.z]
            seen["stamp"] = sample.header.stamp.sec
        for sample in trajectories.take(10):
            point = sample.points[0]
            seen["trajectory"] = [list(sample.joint_names), list(point.positions), point.time_from_start.nanosec]
        for sample in statuses.take(10):
            seen["status"] = json.loads(sample.data)
        status = seen.get("status", {})
        everything = len(seen) == 6
        if wanted in status.get("refused", "") if wanted else status.get("reached") and everything:
            break
        time.sleep(0.005)
    print(json.dumps(seen))


def watch_object(
    participant: DomainParticipant,
    prefix: str,
    frame: str,
    wanted: str,
    place: Xyz,
    statuses: DataReader,
    deadline: float,
) -> None:
    objects = DataWriter(participant, Topic(participant, f"rt/{prefix}/object_pose", StampedPlace), qos=ROS_DEFAULT)
    status: dict = {}
    while time.monotonic() < deadline and status.get("reason") != wanted and wanted not in status.get("refused", ""):
        sec, nanosec = divmod(time.time_ns(), 1_000_000_000)
        objects.write(StampedPlace(Head(Stamp(sec, nanosec), frame), Place(place, Xyzw(0.0, 0.0, 0.0, 1.0))))
        for sample in statuses.take(10):
            status = json.loads(sample.data)
        time.sleep(0.03)
    print(json.dumps(status))


if __name__ == "__main__":
    main()
