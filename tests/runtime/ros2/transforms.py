"""A publisher of transforms in a process of its own, with type definitions of its own.

python -m tests.runtime.ros2.transforms [PARENT CHILD static|dynamic X Y Z QX QY QZ QW]...

Tells static ones once and dynamic ones fifty times a second, as tf2_ros' broadcasters do, and says "ready" once
somebody listens. Ends when its standard input does.
"""

import os
import sys
import threading
import time
from dataclasses import dataclass

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct, annotations, types
from cyclonedds.pub import DataWriter
from cyclonedds.topic import Topic

from tests.runtime.ros2.peer import Head, Stamp, Xyzw


@dataclass
@annotations.final
class Offset(IdlStruct, typename="geometry_msgs::msg::dds_::Vector3_"):
    x: types.float64
    y: types.float64
    z: types.float64


@dataclass
@annotations.final
class Placement(IdlStruct, typename="geometry_msgs::msg::dds_::Transform_"):
    translation: Offset
    rotation: Xyzw


@dataclass
@annotations.final
class StampedPlacement(IdlStruct, typename="geometry_msgs::msg::dds_::TransformStamped_"):
    header: Head
    child_frame_id: str
    transform: Placement


@dataclass
@annotations.final
class Placements(IdlStruct, typename="tf2_msgs::msg::dds_::TFMessage_"):
    transforms: types.sequence[StampedPlacement]


def quality(durability: Policy.Durability, depth: int) -> Qos:
    return Qos(
        Policy.Reliability.Reliable(max_blocking_time=100_000_000),
        durability,
        Policy.History.KeepLast(depth),
        Policy.DataRepresentation(use_cdrv0_representation=True),
    )


def message(rows: list[list[str]]) -> Placements:
    sec, nanosec = divmod(time.time_ns(), 1_000_000_000)
    placements = []
    for parent, child, _, *numbers in rows:
        x, y, z, qx, qy, qz, qw = map(float, numbers)
        placement = Placement(Offset(x, y, z), Xyzw(qx, qy, qz, qw))
        placements.append(StampedPlacement(Head(Stamp(sec, nanosec), parent), child, placement))
    return Placements(placements)


def main() -> None:
    rows = [sys.argv[start : start + 10] for start in range(1, len(sys.argv), 10)]
    participant = DomainParticipant(int(os.environ["ROS_DOMAIN_ID"]))

    def writer(name: str, qos: Qos) -> DataWriter:
        return DataWriter(participant, Topic(participant, f"rt/{name}", Placements), qos=qos)

    static = writer("tf_static", quality(Policy.Durability.TransientLocal, 1))
    dynamic = writer("tf", quality(Policy.Durability.Volatile, 100))
    static.write(message([row for row in rows if row[2] == "static"]))
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    said = False
    while not ended.wait(0.02):
        dynamic.write(message([row for row in rows if row[2] == "dynamic"]))
        if not said and static.get_matched_subscriptions() and dynamic.get_matched_subscriptions():
            print("ready", flush=True)
            said = True


if __name__ == "__main__":
    main()
