"""What the robot measures of itself: the newest of its states that can be believed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from runtime.robot.readings import Float64
from runtime.robot.rotations import is_meant_as_rotation
from runtime.ros2.domain import Participant
from runtime.unitree.dds.messages import LOW_STATE, LOW_STATE_TOPIC, LowState
from runtime.unitree.dds.newest import RECENT, newest_first
from runtime.unitree.dds.packets import Numbers, checksum, require
from runtime.unitree.motors import MotorMap
from sim2real.errors import ShoalError, shown

_REBOOTED_MS = 1000
"""A count of milliseconds that is so far back is another one; less is a packet that was overtaken."""


class LowStates:
    """Joints `[J]` in policy order, and the inertial unit. A state with a wrong checksum, or with numbers that are
    none, is left out; so is one that is no newer than the last.
    """

    def __init__(self, participant: Participant, motors: MotorMap, say: Callable[[str], None]) -> None:
        self._reader = participant.reader(LOW_STATE_TOPIC, LowState, qos=RECENT)
        self._motors, self._say = motors, say
        of_motors = [("motor_state", name, motors.slots) for name in ("q", "dq", "tau_est")]
        of_base = [("imu_state", "quaternion"), ("imu_state", "gyroscope")]
        self._numbers = Numbers(LOW_STATE, *of_motors, *of_base)
        self._ticks, self._crc = Numbers(LOW_STATE, ("tick",)), Numbers(LOW_STATE, ("crc",))
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
                require(LOW_STATE, message.data, "unitree_go/LowState")
            except ShoalError as error:
                self._refuse(str(error))
                continue
            if self._crc.integer(message.data) != checksum(LOW_STATE, message.data):
                self._refuse("a state with a wrong CRC is left out")
                continue
            numbers = self._numbers.floats(message.data)
            if problem := self._problem(numbers):
                self._refuse(f"a state is left out: {problem}")
                continue
            return self._accept(numbers, self._ticks.integer(message.data), now_s)
        return False

    def _refuse(self, sentence: str) -> None:
        self.refused += 1
        self._say(sentence)

    def _problem(self, numbers: Float64) -> str:
        """What is no measurement in it."""
        joints = len(self._motors.names)
        # A sum is finite only of finite numbers, and those of 32 bits cannot overflow it.
        if not math.isfinite(numbers.sum()):
            index = int(np.argmin(np.isfinite(numbers)))
            field = ("q", "dq", "tau_est", "imu_state")[min(index // joints, 3)]
            of = f" of {self._motors.names[index % joints]}" if index < 3 * joints else ""
            return f"{field}{of} is {numbers[index]:g}"
        quaternion = numbers[3 * joints : 3 * joints + 4].tolist()
        if not is_meant_as_rotation(math.hypot(*quaternion)):
            return f"imu_state.quaternion {shown(quaternion)} is no rotation"
        return ""

    def _accept(self, numbers: Float64, tick: int, now_s: float) -> bool:
        if self._tick is not None:
            back = self._tick - tick
            if back > _REBOOTED_MS:
                self.reboots += 1
            elif back >= 0:
                return False
        joints = len(self._motors.names)
        moved = numbers[: 3 * joints].reshape(3, joints) * self._motors.signs
        self.position[:], self.velocity[:], self.effort[:] = moved
        quaternion = numbers[3 * joints : 3 * joints + 4]
        np.divide(quaternion, math.hypot(*quaternion.tolist()), out=self.orientation)
        self.angular_velocity[:] = numbers[3 * joints + 4 :]
        self._tick, self.measured_s = tick, now_s
        return True
