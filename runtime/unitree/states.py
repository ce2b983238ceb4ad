"""What the robot measures of itself: the newest of its states that can be believed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.robot.readings import Float64
from runtime.ros2.domain import Participant
from runtime.unitree.dds.messages import LOW_STATE, LOW_STATE_TOPIC, LowState
from runtime.unitree.dds.newest import RECENT, newest_first
from runtime.unitree.dds.packets import Packet
from runtime.unitree.motors import MotorMap
from sim2real.errors import ShoalError, shown

_SHORTEST, _LONGEST = 0.9, 1.1
"""Lengths of a quaternion that was meant to be a rotation."""
_REBOOTED_MS = 1000
"""A count of milliseconds that is so far back is another one; less is a packet that was overtaken."""


class LowStates:
    """Joints `[J]` in policy order, and the inertial unit. A state with a wrong checksum, or with numbers that are
    none, is left out; so is one that is no newer than the last.
    """

    def __init__(self, participant: Participant, motors: MotorMap, say: Callable[[str], None]) -> None:
        self._reader = participant.reader(LOW_STATE_TOPIC, LowState, qos=RECENT)
        self._motors, self._say = motors, say
        joints = len(motors.names)
        self.position, self.velocity, self.effort = (np.zeros(joints) for _ in range(3))
        """rad, rad/s and N m."""
        self.orientation: Float64 = np.array([1.0, 0.0, 0.0, 0.0])
        """Of the base, wxyz, by the inertial unit: its own way ahead, which drifts."""
        self.angular_velocity: Float64 = np.zeros(3)
        """rad/s, in the base's frame."""
        self.measured_s = -math.inf
        """When the last one came, monotonic."""
        self.reboots = 0
        """How often the robot began to count anew."""
        self.refused = 0
        """States that were not believed."""
        self._tick: int | None = None

    def take(self, now_s: float) -> bool:
        """Take what has arrived; whether that is newer than what was there."""
        for message in newest_first(self._reader, LowState, self._say):
            try:
                packet = Packet.from_cdr(LOW_STATE, message.data, "unitree_go/LowState")
            except ShoalError as error:
                self._refuse(str(error))
                continue
            if not packet.is_whole:
                self._refuse("a state with a wrong CRC is left out")
                continue
            if problem := self._problem(packet):
                self._refuse(f"a state is left out: {problem}")
                continue
            return self._accept(packet, now_s)
        return False

    def _refuse(self, sentence: str) -> None:
        self.refused += 1
        self._say(sentence)

    def _problem(self, packet: Packet) -> str:
        """What is no measurement in it."""
        states = packet["motor_state"][self._motors.slots]
        for field in ("q", "dq"):
            if not np.isfinite(states[field]).all():
                index = int(np.argmin(np.isfinite(states[field])))
                return f"{field} of {self._motors.names[index]} is {states[field][index]:g}"
        imu = packet["imu_state"]
        length = float(np.linalg.norm(imu["quaternion"]))
        if not _SHORTEST < length < _LONGEST:
            return f"imu_state.quaternion {shown(imu['quaternion'].tolist())} is no rotation"
        if not np.isfinite(imu["gyroscope"]).all():
            return f"imu_state.gyroscope is {shown(imu['gyroscope'].tolist())}"
        return ""

    def _accept(self, packet: Packet, now_s: float) -> bool:
        tick = int(packet["tick"])
        if self._tick is not None:
            back = self._tick - tick
            if back > _REBOOTED_MS:
                self.reboots += 1
            elif back >= 0:
                return False
        states: NDArray[Any] = packet["motor_state"][self._motors.slots]
        signs, imu = self._motors.signs, packet["imu_state"]
        np.multiply(states["q"], signs, out=self.position)
        np.multiply(states["dq"], signs, out=self.velocity)
        np.multiply(states["tau_est"], signs, out=self.effort)
        quaternion = imu["quaternion"].astype(np.float64)
        np.divide(quaternion, np.linalg.norm(quaternion), out=self.orientation)
        self.angular_velocity[:] = imu["gyroscope"]
        self._tick, self.measured_s = tick, now_s
        return True
