"""Where the base is, by a source that the configuration names; what motors and inertial unit tell does not say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.robot.readings import Float64
from runtime.robot.rotations import is_meant_as_rotation
from runtime.ros2 import messages as ros
from runtime.ros2.domain import Participant
from runtime.unitree.config import OdometrySource
from runtime.unitree.dds.messages import SPORT_MODE_STATE, SportModeState
from runtime.unitree.dds.newest import RECENT, newest_first
from runtime.unitree.dds.packets import Numbers, require
from sim2real.errors import ShoalError, shown

_POSE = Numbers(SPORT_MODE_STATE, ("position",), ("imu_state", "quaternion"))


class Odometry:
    """The newest pose of one source."""

    def __init__(self, participant: Participant, source: OdometrySource, say: Callable[[str], None]) -> None:
        self._source, self._say = source, say
        self._kind: type[Any] = SportModeState if source.kind == "sport_mode_state" else ros.Odometry
        self._reader = participant.reader(source.topic_name, self._kind, qos=RECENT)
        self.position: Float64 = np.zeros(3)
        """m."""
        self.heading_rad = 0.0
        """About the vertical."""
        self.measured_s = -math.inf
        """When it came, monotonic."""
        self._origin: tuple[Float64, float] | None = None if source.origin == "start" else (np.zeros(3), 0.0)

    @property
    def topic(self) -> str:
        """The DDS topic."""
        return f"rt/{self._source.topic_name}"

    def is_known(self, now_s: float) -> bool:
        """Whether it is of this moment."""
        return now_s - self.measured_s <= self._source.max_age_s

    def take(self, now_s: float) -> bool:
        """Take what has arrived; whether anything usable has."""
        for message in newest_first(self._reader, self._kind, self._say):
            try:
                position, turn = _of_sport_mode(message) if self._kind is SportModeState else _of_ros(message)
            except ShoalError as error:
                self._say(str(error))
                continue
            length = math.hypot(*turn.tolist())
            if not math.isfinite(position.sum()) or not is_meant_as_rotation(length):
                self._say(f"a pose on {self.topic} is left out: {shown([*position.tolist(), *turn.tolist()])}")
                continue
            self._place(position, heading(turn))
            self.measured_s = now_s
            return True
        return False

    def _place(self, position: Float64, heading_rad: float) -> None:
        if self._origin is None:
            # Its height counts from the ground all along.
            self._origin = (np.array([position[0], position[1], 0.0]), heading_rad)
        zero, turned = self._origin
        x, y, z = (position - zero).tolist()
        cos, sin = math.cos(-turned), math.sin(-turned)
        self.position[:] = cos * x - sin * y, sin * x + cos * y, z
        self.heading_rad = heading_rad - turned


def heading(turn_wxyz: Float64) -> float:
    """Where the x axis of a body points that is turned so, rad about the vertical."""
    w, x, y, z = turn_wxyz.tolist()
    return math.atan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)


def _of_sport_mode(message: Any) -> tuple[Float64, Float64]:
    require(SPORT_MODE_STATE, message.data, "unitree_go/SportModeState")
    numbers = _POSE.floats(message.data)
    return numbers[:3], numbers[3:]


def _of_ros(message: ros.Odometry) -> tuple[Float64, Float64]:
    at, turn = message.pose.pose.position, message.pose.pose.orientation
    return np.array([at.x, at.y, at.z]), np.array([turn.w, turn.x, turn.y, turn.z])
