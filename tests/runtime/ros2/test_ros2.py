"""The ROS 2 bridge against a second process with types of its own, and its bytes against rosbags' CDR."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_typestore

from runtime.goals.messages import GoalObject, GoalRefused
from runtime.goals.resolve import validate_goal
from runtime.protocol.snapshot import Latency, Snapshot
from runtime.ros2 import messages as ros
from runtime.ros2.convert import base_pose_of, goal_of, joint_state_of, sighting_of, tool_pose_of, trajectory_of
from runtime.ros2.domain import LOOPBACK_CONFIG, domain_id, is_open, mangled
from runtime.status import GoalStatus, Reason
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.tasks.task import load_task
from tests.runtime.every_goal import contract_with
from tests.runtime.server.test_server import Server
from tests.runtime.small_policy import write_policy

STORE = get_typestore(Stores.ROS2_HUMBLE)
NOW = 1_700_000_000.25

finite = st.floats(allow_nan=False, allow_infinity=False)
arrays = st.lists(finite, max_size=9)
names = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), max_size=9)
headers = st.builds(
    lambda sec, nanosec, frame: ros.Header(ros.Time(sec, nanosec), frame),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(0, 999_999_999),
    st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=12),
)
poses = st.builds(
    lambda header, values: ros.PoseStamped(header, ros.Pose(ros.Point(*values[:3]), ros.Quaternion(*values[3:]))),
    headers,
    st.lists(finite, min_size=7, max_size=7),
)
joint_states = st.builds(ros.JointState, headers, names, arrays, arrays, arrays)
points = st.builds(
    ros.JointTrajectoryPoint, arrays, arrays, arrays, arrays, st.builds(ros.Duration, st.integers(0, 9), st.just(7))
)
trajectories = st.builds(ros.JointTrajectory, headers, names, st.lists(points, max_size=3))
labels = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=9)
dimensions = st.builds(ros.MultiArrayDimension, labels, st.just(3), st.just(1))
layouts = st.builds(ros.MultiArrayLayout, st.lists(dimensions, max_size=2), st.integers(0, 9))
vectors = st.builds(ros.Vector3, finite, finite, finite)
quaternions = st.builds(ros.Quaternion, finite, finite, finite, finite)
nine, thirty_six = (st.lists(finite, min_size=count, max_size=count) for count in (9, 36))
odometries = st.builds(
    ros.Odometry,
    headers,
    labels,
    st.builds(ros.PoseWithCovariance, poses.map(lambda stamped: stamped.pose), thirty_six),
    st.builds(ros.TwistWithCovariance, st.builds(ros.Twist, vectors, vectors), thirty_six),
)
imus = st.builds(ros.Imu, headers, quaternions, nine, vectors, nine, vectors, nine)
robots = st.builds(ros.Float64MultiArray, layouts, arrays) | odometries | imus
transforms = st.builds(ros.TransformStamped, headers, labels, st.builds(ros.Transform, vectors, quaternions))
clocks = st.builds(ros.Clock, headers.map(lambda header: header.stamp))
frames = st.builds(ros.TFMessage, st.lists(transforms, max_size=3)) | clocks
KINDS = {
    ros.PoseStamped: "geometry_msgs/msg/PoseStamped",
    ros.JointState: "sensor_msgs/msg/JointState",
    ros.JointTrajectory: "trajectory_msgs/msg/JointTrajectory",
    ros.String: "std_msgs/msg/String",
    ros.Float64MultiArray: "std_msgs/msg/Float64MultiArray",
    ros.Odometry: "nav_msgs/msg/Odometry",
    ros.Imu: "sensor_msgs/msg/Imu",
    ros.TFMessage: "tf2_msgs/msg/TFMessage",
    ros.Clock: "rosgraph_msgs/msg/Clock",
}


def plain(message: Any) -> Any:
    """A message of either library as nested dictionaries."""
    if isinstance(message, np.ndarray):
        return message.tolist()
    if isinstance(message, (list, tuple)):
        return [plain(item) for item in message]
    fields = getattr(message, "__dataclass_fields__", None)
    if fields is None:
        return message
    return {name: plain(getattr(message, name)) for name in fields if name != "__msgtype__"}


@given(
    poses
    | joint_states
    | trajectories
    | robots
    | frames
    | st.builds(ros.String, st.text(st.characters(codec="ascii"), max_size=20))
)
@settings(max_examples=200, deadline=None)
def test_bytes_are_those_of_an_independent_ros2_serializer(message: Any) -> None:
    kind = KINDS[type(message)]
    data = message.serialize(use_version_2=False)
    theirs = STORE.deserialize_cdr(data, kind)
    assert plain(theirs) == plain(message)
    assert bytes(STORE.serialize_cdr(theirs, kind)) == data
    assert plain(type(message).deserialize(bytes(STORE.serialize_cdr(theirs, kind)))) == plain(message)


def test_names_are_mangled_as_ros2_does() -> None:
    assert ros.PoseStamped.__idl__.idl_transformed_typename == "geometry_msgs::msg::dds_::PoseStamped_"
    assert ros.JointState.__idl__.idl_transformed_typename == "sensor_msgs::msg::dds_::JointState_"
    assert mangled("/arm/goal_pose") == mangled("arm/goal_pose") == "rt/arm/goal_pose"


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    assert domain_id() == 0
    assert not is_open(network=False)
    assert is_open(network=True)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    assert is_open(network=False)
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    assert domain_id() == 42
    for wrong in ("233", "-1", "robots"):
        monkeypatch.setenv("ROS_DOMAIN_ID", wrong)
        with pytest.raises(ShoalError, match="from 0 to 232"):
            domain_id()


def pose(frame: str = "world", stamp_s: float = 0.0, **changes: float) -> ros.PoseStamped:
    values = {"x": 0.5, "y": 0.1, "z": 0.4, "qx": 1.0, "qy": 0.0, "qz": 0.0, "qw": 0.0} | changes
    sec, nanosec = int(stamp_s), round(stamp_s % 1 * 1e9)
    point = ros.Point(values["x"], values["y"], values["z"])
    quaternion = ros.Quaternion(values["qx"], values["qy"], values["qz"], values["qw"])
    return ros.PoseStamped(ros.Header(ros.Time(sec, nanosec), frame), ros.Pose(point, quaternion))


def converted(message: ros.PoseStamped, contract: Contract, **changes: Any) -> Any:
    settings = {"frame": "world", "now": NOW, "max_age_s": 1.0, "timeout_s": None} | changes
    return goal_of(message, contract, **settings)


def test_a_pose_becomes_a_goal(contract: Contract) -> None:
    goal = converted(pose(stamp_s=NOW - 0.5, qx=0.6, qw=0.8), contract, timeout_s=3.0)
    assert goal.position == (0.5, 0.1, 0.4)
    assert goal.orientation_wxyz == pytest.approx((0.8, 0.6, 0, 0))
    assert (goal.stamp, goal.timeout_s) == (pytest.approx(NOW - 0.5, abs=1e-6), 3.0)
    assert converted(pose(), contract).stamp is None
    assert converted(pose(stamp_s=5.0), contract, max_age_s=0.0).stamp is None
    assert converted(pose("fr3_link0"), contract, frame="fr3_link0").frame == "world"
    position_only = load_task("franka_reach").contract
    assert converted(pose(), position_only).orientation_wxyz is None


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (pose("map"), "frame_id is 'map', but goals are taken in 'world'"),
        (pose(""), "frame_id is ''"),
        (pose(stamp_s=NOW - 3), "3 s old"),
        (pose(qx=0.0), "orientation_wxyz has the length 0"),
        (pose(qx=1e308, qw=1e308), "orientation_wxyz has the length 1.4"),
        (pose(x=float("nan")), "finite"),
    ],
)
def test_a_pose_that_must_not_be_followed(contract: Contract, message: ros.PoseStamped, sentence: str) -> None:
    with pytest.raises(GoalRefused, match=sentence):
        converted(message, contract)


def test_a_pose_becomes_a_sighting() -> None:
    assert sighting_of(pose(stamp_s=NOW), frame="world", stamped=True) == (
        (0.5, 0.1, 0.4),
        (0.0, 1.0, 0.0, 0.0),
        pytest.approx(NOW),
    )
    assert sighting_of(pose(), frame="world", stamped=True)[2] is None
    assert sighting_of(pose(stamp_s=NOW), frame="world", stamped=False)[2] is None
    for message, sentence in ((pose("map"), "frame_id is 'map'"), (pose(x=float("inf")), "is not finite")):
        with pytest.raises(GoalRefused, match=sentence):
            sighting_of(message, frame="world", stamped=True)


def test_snapshots_become_messages(contract: Contract) -> None:
    latency = Latency(count=0, p50_us=0, p99_us=0, p999_us=0, max_us=0)
    snapshot = Snapshot(
        status=GoalStatus(state="active", reason=""),
        tick=3,
        stamp=NOW,
        frame="world",
        joint_names=("a", "b"),
        joint_position=(1.0, None),
        joint_velocity=(0.1, 0.2),
        joint_effort=(5.0, -3.0),
        joint_position_target=(1.5, 2.5),
        readings={"end_effector_position": (1, 2, 3), "end_effector_orientation": (0.8, 0.6, 0.0, 0.0)},
        lateness=latency,
        step=latency,
        tick_time=latency,
    )
    joints = joint_state_of(snapshot, "base")
    assert (joints.header.stamp.sec, joints.header.stamp.nanosec) == (1_700_000_000, 250_000_000)
    assert (joints.header.frame_id, list(joints.name), joints.position[0]) == ("base", ["a", "b"], 1.0)
    assert np.isnan(joints.position[1])
    assert joints.effort == [5.0, -3.0]
    tool = tool_pose_of(snapshot, contract, "base")
    assert tool is not None
    assert (tool.pose.position.z, tool.pose.orientation.w, joints.velocity) == (3, 0.8, [0.1, 0.2])
    assert base_pose_of(snapshot, contract, "base") is None
    trajectory = trajectory_of(snapshot, "base", 0.04)
    assert trajectory.points[0].positions == [1.5, 2.5]
    assert (trajectory.points[0].time_from_start.sec, trajectory.points[0].time_from_start.nanosec) == (0, 40_000_000)


def test_a_base_is_told_where_to_go_and_tells_where_it_is() -> None:
    contract = contract_with("planar_pose")
    message = pose(x=1.0, y=-0.5, z=0.0, qx=0.0, qz=math.sin(0.4), qw=math.cos(0.4))
    goal = validate_goal(contract, converted(message, contract), NOW)
    assert goal.request == pytest.approx((1.0, -0.5, 0.8))
    status, nothing = GoalStatus(state="active", reason=""), Latency(count=0, p50_us=0, p99_us=0, p999_us=0, max_us=0)
    snapshot = Snapshot(
        status=status,
        frame="world",
        joint_names=contract.joint_names,
        lateness=nothing,
        step=nothing,
        tick_time=nothing,
        readings={"base_pose": (1.0, 2.0, 0.8)},
    )
    base = base_pose_of(snapshot, contract, "odom")
    assert base is not None
    assert (base.pose.position.x, base.pose.position.y, base.header.frame_id) == (1.0, 2.0, "odom")
    assert 2 * math.atan2(base.pose.orientation.z, base.pose.orientation.w) == pytest.approx(0.8)
    assert tool_pose_of(snapshot, contract, "odom") is None


def test_a_sample_that_is_no_message_is_one_sentence() -> None:
    whole = pose("world", 5.0).serialize(use_version_2=False)
    assert ros.PoseStamped.deserialize(whole) == pose("world", 5.0)
    start = whole.index(b"world")
    for data in (
        b"",
        whole[:10],
        whole[:-1],
        whole.replace(b"world", b"w\xffrld"),
        whole[: start - 4] + b"\xff\xff\xff\x7f" + whole[start:],
        whole[: start - 4] + b"\0\0\0\0" + whole[start:],
        b"\xff" * 100,
    ):
        with suppress(ShoalError):  # a frame that is cut off may still be one
            ros.PoseStamped.deserialize(data)
    with pytest.raises(ShoalError, match="PoseStamped: 'utf-8' codec"):
        ros.PoseStamped.deserialize(whole.replace(b"world", b"w\xffrld"))
    with pytest.raises(GoalRefused) as refused:
        converted(pose("x" * 1_000_000), load_task("franka_pose").contract)
    assert len(str(refused.value)) < 400


class Bridged:
    """A served simulation and a bridge, each in a process of its own, in a DDS domain of their own."""

    def __init__(self, policy: Path, folder: Path, *arguments: str) -> None:
        self.environment = os.environ | {"ROS_DOMAIN_ID": str(random.randrange(100, 200))}
        for name in ("CYCLONEDDS_URI", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
            self.environment.pop(name, None)
        self.socket = folder / "s"
        # The bridge first: it must wait for the server.
        self.bridge = subprocess.Popen(
            [sys.executable, "-m", "runtime.cli", "ros2", "--address", str(self.socket), "--namespace", "/arm"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        assert self.bridge.stderr is not None
        self.said = self.bridge.stderr.readline()
        self.server = Server(policy, folder, "--speed", "4", "--quiet", *arguments)
        while "connected" not in self.said:
            self.said += self.bridge.stderr.readline() or "the bridge ended, it was never connected"

    def peer(self, frame: str, stamp: str, wanted: str, *position: float) -> dict:
        command = [sys.executable, "-m", "tests.runtime.ros2.peer", "arm", frame, stamp, wanted, *map(str, position)]
        environment = self.environment | {"CYCLONEDDS_URI": LOOPBACK_CONFIG}
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def end(self) -> str:
        self.bridge.terminate()
        self.said += "".join(self.bridge.communicate(timeout=20))
        assert self.bridge.returncode == 0, self.said
        self.server.process.kill()
        self.server.process.communicate()
        return self.said


def test_every_signal_that_asks_for_the_end_ends_the_bridge_in_order(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runtime.cli", "ros2", "--address", str(tmp_path / "nobody")]
    bridges = {
        number: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    }
    try:
        for number, bridge in bridges.items():
            assert bridge.stderr is not None
            bridge.stderr.readline()  # that no server answers yet
            for _ in range(2):
                bridge.send_signal(number)
        said = {number: "".join(bridge.communicate(timeout=120)) for number, bridge in bridges.items()}
    finally:
        for bridge in bridges.values():
            bridge.kill()
            bridge.wait()
    assert {bridge.returncode for bridge in bridges.values()} == {0}, said
    assert not any("Traceback" in words for words in said.values()), said


@pytest.fixture
def bridged(policy_path: Path, tmp_path: Path) -> Iterator[Bridged]:
    bridged = Bridged(policy_path, tmp_path)
    yield bridged
    if bridged.bridge.poll() is None:
        bridged.end()


def test_a_goal_from_another_process_is_reached_and_seen(bridged: Bridged, contract: Contract) -> None:
    seen = bridged.peer("world", "", "", 0.45, 0.1, 0.45)
    assert seen["status"]["reached"], seen
    assert seen["joint_states"] > 5
    frame, joint_names, position = seen["joints"]
    assert (frame, tuple(joint_names), len(position)) == ("world", contract.joint_names, 7)
    assert seen["tool"][0] == "world"
    assert np.linalg.norm(np.subtract(seen["tool"][1:], (0.45, 0.1, 0.45))) < 0.06
    assert abs(seen["stamp"] - time.time()) < 60
    joint_names, positions, nanosec = seen["trajectory"]
    assert (tuple(joint_names), nanosec) == (contract.joint_names, 40_000_000)
    assert np.abs(np.subtract(positions, position)).max() < 0.5
    for frame, stamp, x, sentence in (
        ("hex:fffe", "", 0.45, "not a geometry_msgs/PoseStamped: 'utf-8' codec"),
        ("map", "", 0.45, "frame_id is 'map'"),
        ("world", "-30", 0.45, "s old, more than --max-age-s 1"),
        ("world", "", 3.0, "outside the workspace"),
    ):
        assert sentence in bridged.peer(frame, stamp, sentence, x, 0.1, 0.45)["status"]["refused"]
    said = bridged.end()
    assert "loopback only" in said
    assert "is `runtime serve` running?" in said
    assert "ros2: connected" in said
    assert bridged.bridge.returncode == 0


def test_a_tracker_on_a_topic_tells_where_the_object_is(tmp_path: Path) -> None:
    contract = load_task("franka_push").contract
    policy = write_policy(tmp_path / "push.onnx", contract)
    bridged = Bridged(policy, tmp_path, "--robot", "tests.runtime.drivers.blind:BlindDriver")
    try:
        with bridged.server.client() as client:
            client.send_goal(GoalObject(object_position=(0.45, 0.1, 0.04)))
            assert client.status().state == "hold"
            status = bridged.peer("world", "object", Reason.FOLLOWING.sentence, 0.5, 0.0, 0.04)
            assert status["state"] in ("ramp-in", "active")
            assert status["distance_m"] == pytest.approx(np.hypot(0.05, 0.1))
            assert "frame_id is 'map'" in bridged.peer("map", "object", "frame_id is 'map'", 0.5, 0.0, 0.04)["refused"]
    finally:
        bridged.end()
