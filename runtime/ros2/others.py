"""Everything that a policy reads and joint states don't tell: the base by odometry and an inertial unit, the object by
a tracker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import mujoco
import numpy as np
from cyclonedds.sub import DataReader

from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Readings
from runtime.ros2 import messages as ros
from runtime.ros2.base import Base
from runtime.ros2.clock import Clock
from runtime.ros2.domain import LATEST, Participant, samples
from runtime.ros2.robot_config import Ros2RobotConfig
from runtime.ros2.tf.listener import Frames
from runtime.ros2.tf.tree import NoTransform
from sim2real.contract import Contract, Quaternion, Reading, Vector3
from sim2real.errors import ShoalError, shown
from sim2real.robots.kinematics import Addresses
from sim2real.terms import Scene
from sim2real.terms.joints import JointEffort

_JOINTS = ("encoder", "forward_kinematics")
"""Sources for which joint states are enough."""
_BY_POSE = ("odometry", "estimator")
_Say = Callable[[str], None]


class Others:
    """Base and object of one contract, as far as its policy reads them."""

    def __init__(self, base: _BaseTopics | None, tracked: _Tracked | None) -> None:
        self._base, self._tracked = base, tracked

    @classmethod
    def of(
        cls,
        model: mujoco.MjModel,
        contract: Contract,
        config: Ros2RobotConfig,
        participant: Participant,
        clock: Clock,
        *,
        say: _Say,
    ) -> Self:
        """What the contract's readings need; `ShoalError` for one that no message tells."""
        told = [contract.reading(name) for name in contract.measured.sizes]
        others = [r for r in told if r.source not in _JOINTS and not isinstance(r, JointEffort)]
        sources = {reading.source for reading in others}
        for reading in others:
            known = reading.source in (*_BY_POSE, "imu", "tracker") and reading.stage != "acceleration"
            if not known:
                raise ShoalError(
                    f"--robot ros2: reading {reading.name!r} (source {reading.source}) follows from no message that is "
                    "read here; use a driver of your own."
                )
        base = tracked = None
        if sources - {"tracker"}:
            needs_pose, needs_imu = bool(sources & {*_BY_POSE}), "imu" in sources
            addresses = Addresses.of(model, contract.robot)
            scene = Scene(model, contract.robot, addresses.rest_qpos, contract.timing.control_dt_s)
            body = Base(scene, needs_pose=needs_pose, needs_imu=needs_imu)
            base = _BaseTopics(body, config, participant, clock, say, needs_pose=needs_pose, needs_imu=needs_imu)
        if seen := [reading for reading in others if reading.source == "tracker"]:
            if len({reading.about for reading in seen}) != 1 or not all(r.axes or r.turned for r in seen):
                named = ", ".join(reading.name for reading in seen)
                raise ShoalError(f"--robot ros2: {named} are more than one pose; use a driver of your own.")
            tracked = _Tracked(seen, config, participant, clock, say)
        return cls(base, tracked)

    @property
    def measured_s(self) -> float:
        """When the older of what tells of the base was heard, monotonic; inf where nothing has to."""
        return math.inf if self._base is None else self._base.body.measured_s

    def missing(self) -> str:
        """What has not been heard of the base, in words."""
        return "" if self._base is None else self._base.missing()

    def take(self, data: mujoco.MjData) -> None:
        """Take what has arrived; a base is placed into `data`."""
        if self._base is not None:
            self._base.take(data)
        if self._tracked is not None:
            self._tracked.take()

    def write(self, robot: MujocoRobot, data: mujoco.MjData, out: Readings) -> None:
        """All that `robot.read` leaves open."""
        if self._base is not None:
            robot.read_simulated(data, out)
        if self._tracked is not None:
            self._tracked.write(out)


class _BaseTopics:
    """The base's readers."""

    def __init__(
        self,
        body: Base,
        config: Ros2RobotConfig,
        participant: Participant,
        clock: Clock,
        say: _Say,
        *,
        needs_pose: bool,
        needs_imu: bool,
    ) -> None:
        self.body, self._clock, self._say = body, clock, say
        self._odometry: DataReader[ros.Odometry] | None = None
        self._imu: DataReader[ros.Imu] | None = None
        self._topics: list[str] = []
        if needs_pose:
            self._topics.append(config.topic(config.base.odometry))
            self._odometry = participant.reader(self._topics[-1], ros.Odometry, qos=LATEST)
        if needs_imu:
            self._topics.append(config.topic(config.base.imu))
            self._imu = participant.reader(self._topics[-1], ros.Imu, qos=LATEST)

    def missing(self) -> str:
        """In words."""
        return f"nothing usable came on {' or '.join(self._topics)}"

    def take(self, data: mujoco.MjData) -> None:
        """Place what has arrived."""
        if self._odometry is not None:
            for odometry in samples(self._odometry, ros.Odometry, self._say):
                self.body.take_odometry(data, odometry, self._clock.now_s())
        if self._imu is not None:
            for imu in samples(self._imu, ros.Imu, self._say):
                self.body.take_imu(data, imu, self._clock.now_s())


class _Tracked:
    """The object's reader, and the readings that follow from its pose; NaN while it is not seen."""

    def __init__(
        self,
        readings: list[Reading],
        config: Ros2RobotConfig,
        participant: Participant,
        clock: Clock,
        say: _Say,
    ) -> None:
        self._readings, self._wanted, self._clock, self._say = readings, config.object_pose, clock, say
        self._reader = participant.reader(config.topic(self._wanted.topic), ros.PoseStamped, qos=LATEST)
        self._frames = None
        if self._wanted.tf:
            self._frames = Frames(participant, clock, max_age_s=self._wanted.tf_max_age_s, say=say)
        self._values = {reading.name: np.full(reading.size, math.nan) for reading in readings}
        self._seen_s = -math.inf

    def take(self) -> None:
        """Keep what was seen last."""
        if self._frames is not None:
            self._frames.take()
        for message in samples(self._reader, ros.PoseStamped, self._say):
            try:
                position, wxyz = self._placed(message)
                for reading in self._readings:
                    value = np.asarray(reading.of_pose(np, np.array(position), np.array(wxyz)), np.float64)
                    self._values[reading.name][:] = reading.proper(value.tolist())
            except (ValueError, NoTransform) as error:
                self._say(f"a pose of the object in frame {shown(message.header.frame_id)} is not taken: {error}")
                continue
            self._seen_s = self._clock.now_s()

    def _placed(self, message: ros.PoseStamped) -> tuple[Vector3, Quaternion]:
        """The pose in the policy's frame, m and wxyz."""
        at, turn, frame = message.pose.position, message.pose.orientation, self._wanted.frame
        position, wxyz = (at.x, at.y, at.z), (turn.w, turn.x, turn.y, turn.z)
        if message.header.frame_id == frame:
            return position, wxyz
        if self._frames is None:
            raise ValueError(f"object_pose.frame in --robot-config is {frame!r}, and object_pose.tf is false")
        return self._frames.carry(message.header.frame_id, frame, position, wxyz)

    def write(self, out: Readings) -> None:
        """Into the readings."""
        seen = self._clock.now_s() - self._seen_s <= self._wanted.max_age_s
        for name, value in self._values.items():
            out[name][:] = value if seen else math.nan
