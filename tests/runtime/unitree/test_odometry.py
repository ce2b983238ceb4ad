"""Where the base is, by either kind of source."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import pytest

from runtime.ros2 import messages as ros
from runtime.ros2.domain import RELIABLE, Participant
from runtime.unitree.config import OdometrySource
from runtime.unitree.dds.messages import SPORT_MODE_STATE, SportModeState
from runtime.unitree.dds.packets import Packet
from runtime.unitree.odometry import Odometry
from tests.runtime.unitree.conftest import PATIENCE_S

Send = Callable[[tuple[float, float, float], float], None]


@pytest.fixture
def participant(domain: str) -> Iterator[Participant]:
    joined = Participant(network=False)
    yield joined
    joined.close()


def lidar(participant: Participant, topic: str) -> Send:
    """A sender of nav_msgs/Odometry at a place, m, that faces somewhere, rad."""
    writer = participant.writer(topic, ros.Odometry, RELIABLE)
    still = ros.TwistWithCovariance(ros.Twist(ros.Vector3(0, 0, 0), ros.Vector3(0, 0, 0)), [0.0] * 36)
    header = ros.Header(ros.Time(0, 0), "odom")

    def send(at: tuple[float, float, float], heading_rad: float, length: float = 1.0) -> None:
        turn = ros.Quaternion(0.0, 0.0, length * math.sin(heading_rad / 2), length * math.cos(heading_rad / 2))
        pose = ros.PoseWithCovariance(ros.Pose(ros.Point(*at), turn), [0.0] * 36)
        writer.write(ros.Odometry(header, "base_link", pose, still))

    return send


def motion_service(participant: Participant, topic: str) -> Send:
    writer = participant.writer(topic, SportModeState, RELIABLE)

    def send(at: tuple[float, float, float], heading_rad: float, length: float = 1.0) -> None:
        packet = Packet(SPORT_MODE_STATE)
        packet["position"] = at
        turn = packet["imu_state"]["quaternion"]
        turn[0], turn[3] = length * math.cos(heading_rad / 2), length * math.sin(heading_rad / 2)
        writer.write(SportModeState(packet.cdr()))

    return send


SENDERS = {
    "odometry": (lidar, "utlidar/robot_odom"),
    "sport_mode_state": (motion_service, "sportmodestate"),
}


def arrive(odometry: Odometry, send: Send, *pose: object) -> None:
    """Send until it is taken: a reader may be found late."""
    deadline = time.monotonic() + PATIENCE_S
    send(*pose)  # type: ignore[arg-type]
    while not odometry.take(time.monotonic()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
        send(*pose)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", SENDERS)
def test_a_pose_is_taken_and_grows_old(kind: str, participant: Participant) -> None:
    make, topic = SENDERS[kind]
    odometry = Odometry(participant, OdometrySource(kind=kind, max_age_s=0.2), print)
    assert odometry.topic == f"rt/{topic}"
    assert not odometry.is_known(time.monotonic())
    arrive(odometry, make(participant, topic), (1.0, -2.0, 0.25), 0.5)
    assert odometry.position == pytest.approx([1.0, -2.0, 0.25])
    assert odometry.heading_rad == pytest.approx(0.5, abs=1e-6)
    assert odometry.is_known(odometry.measured_s + 0.19)
    assert not odometry.is_known(odometry.measured_s + 0.21)


def test_goals_may_count_from_where_the_robot_was_at_the_start(participant: Participant) -> None:
    source = OdometrySource(kind="odometry", topic="elsewhere", origin="start")
    odometry, send = Odometry(participant, source, print), lidar(participant, "elsewhere")
    arrive(odometry, send, (10.0, 5.0, 0.3), math.pi / 2)
    assert [*odometry.position, odometry.heading_rad] == pytest.approx([0.0, 0.0, 0.3, 0.0], abs=1e-9)
    # A metre on along its first way ahead, which was the source's y; then turned to the left.
    while not odometry.position[0] > 0.5:
        arrive(odometry, send, (10.0, 6.0, 0.3), math.pi)
    assert [*odometry.position, odometry.heading_rad] == pytest.approx([1.0, 0.0, 0.3, math.pi / 2], abs=1e-9)


@pytest.mark.parametrize("kind", SENDERS)
@pytest.mark.parametrize(("at", "length"), [((math.nan, 0.0, 0.0), 1.0), ((0.0, 0.0, 0.0), 0.0)])
def test_poses_that_are_none_are_left_out_and_said(
    kind: str, at: tuple[float, float, float], length: float, participant: Participant
) -> None:
    make, topic = SENDERS[kind]
    said: list[str] = []
    odometry, send = Odometry(participant, OdometrySource(kind=kind), said.append), make(participant, topic)
    deadline = time.monotonic() + PATIENCE_S
    while not said:
        assert time.monotonic() < deadline
        send(at, 0.0, length)  # type: ignore[call-arg]
        time.sleep(0.02)
        assert not odometry.take(time.monotonic())
    assert said[0].startswith(f"a pose on rt/{topic} is left out")
