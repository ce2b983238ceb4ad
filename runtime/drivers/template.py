"""A driver to copy: a robot whose servos follow perfectly. It runs as it is,

    runtime serve --model student.onnx --robot runtime.drivers.template:PerfectServo

and every line that touches a real robot is marked `ROBOT`. What the runtime expects of each member is in
`runtime.drivers.base`, and `runtime.drivers.conformance` checks that a driver keeps to it.
"""

from __future__ import annotations

import time

import numpy as np

from runtime.drivers.base import DriverOptions
from runtime.goals.messages import ResolvedGoal
from runtime.robot.model import load_model
from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Float64, Readings
from sim2real.contract import Contract


class PerfectServo:
    """Joints move linearly to each target within one control period, as the contract asks of a servo.

    Raises `ShoalError` when no MJCF ships for the robot and none is given, and `ContractMismatch` when it is not the
    contract's robot.
    """

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        # The tool's pose comes from the contract's own kinematics, so that it is the one that training saw.
        model = load_model(contract, options.mjcf)
        self._kinematics = MujocoRobot(model, contract)
        self._data = self._kinematics.addresses.home_data(model)
        self.joint_names = contract.joint_names
        self.owns_clock = False
        self.period_s = contract.timing.control_dt_s
        self.description = "perfect servos, no physics"
        # ROBOT: connect with `options.host`; refuse a robot whose limits or servo gains are not the contract's.
        self._start = np.array([joint.home_position for joint in contract.robot.joints])
        self._target = self._start.copy()
        self._written_s = -self.period_s

    def read(self, out: Readings) -> None:
        """Joint positions and velocities, the tool's pose, and when the robot measured them."""
        # ROBOT: ask for encoder values and for the time at which the robot measured them. When nothing new has arrived,
        # leave `out` as it is: its `time_s` grows old, and the loop holds the robot until readings come again.
        now = self.now_s()
        fraction = min(1.0, (now - self._written_s) / self.period_s)
        difference = self._target - self._start
        addresses = self._kinematics.addresses
        addresses.place(self._data.qpos, self._start + fraction * difference)
        addresses.place_velocity(self._data.qvel, difference / self.period_s if fraction < 1.0 else 0.0 * difference)
        self._kinematics.read(self._data, out)
        out.time_s = now

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad, to be approached linearly over one control period."""
        # ROBOT: send it; never wait for an answer here. `command` is overwritten later, so copy what is kept.
        now = self.now_s()
        fraction = min(1.0, (now - self._written_s) / self.period_s)
        self._start += fraction * (self._target - self._start)
        np.copyto(self._target, command)
        self._written_s = now

    def now_s(self) -> float:
        """The clock that stamps the readings."""
        return time.monotonic()

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Release the robot."""
        # ROBOT: leave it holding its position, and disconnect.
