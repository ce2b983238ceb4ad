"""A driver to copy: a robot of servos alone, each with the lag that the contract's gains give it. It runs as it is,

    runtime serve --model student.onnx --robot runtime.drivers.template:FirstOrderServo

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

_LEAST_LAG_S = 1e-3
"""Of a servo whose gains say nothing."""


class FirstOrderServo:
    """The reference moves linearly to each target within one control period, as the contract asks of a servo, and the
    joints follow it with a first-order lag: time constant damping / stiffness, which is what a servo of these gains
    does when the links weigh nothing. A policy circles a goal on servos without the lag that it was trained with.

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
        self.description = "first-order servos, no physics"
        # ROBOT: connect with `options.host`; refuse a robot whose limits or servo gains are not the contract's.
        joints = contract.robot.joints
        self._lag_s = np.array([joint.damping / joint.stiffness if joint.stiffness else 0.0 for joint in joints])
        self._lag_s = np.maximum(self._lag_s, _LEAST_LAG_S)
        self._position = np.array([joint.home_position for joint in joints])
        self._reference, self._target = self._position.copy(), self._position.copy()
        self._written_s = -self.period_s

    def read(self, out: Readings) -> None:
        """Joint positions and velocities, the tool's pose, and when the robot measured them."""
        # ROBOT: ask for encoder values and for the time at which the robot measured them. When nothing new has arrived,
        # leave `out` as it is: its `time_s` grows old, and the loop holds the robot until readings come again.
        now = self.now_s()
        position, velocity, _ = self._at(now)
        self._kinematics.addresses.place(self._data.qpos, position)
        self._kinematics.addresses.place_velocity(self._data.qvel, velocity)
        self._kinematics.read(self._data, out)
        out.time_s = now

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad, to be approached linearly over one control period."""
        # ROBOT: send it; never wait for an answer here. `command` is overwritten later, so copy what is kept.
        now = self.now_s()
        self._position, _, self._reference = self._at(now)
        np.copyto(self._target, command)
        self._written_s = now

    def _at(self, now_s: float) -> tuple[Float64, Float64, Float64]:
        """Positions, velocities and references `[J]`: the solution of lag · dq/dt = reference - q."""
        passed_s = max(0.0, now_s - self._written_s)
        moving_s = min(passed_s, self.period_s)
        slope = (self._target - self._reference) / self.period_s
        reference = self._reference + slope * moving_s
        # A steady ramp is followed `slope * lag` behind; what is beyond that when it begins or ends fades.
        beyond = (self._position - self._reference + slope * self._lag_s) * np.exp(-moving_s / self._lag_s)
        if passed_s <= self.period_s:
            return reference - slope * self._lag_s + beyond, slope - beyond / self._lag_s, reference
        beyond = (beyond - slope * self._lag_s) * np.exp(-(passed_s - moving_s) / self._lag_s)
        return reference + beyond, -beyond / self._lag_s, reference

    def now_s(self) -> float:
        """The clock that stamps the readings."""
        return time.monotonic()

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Do nothing: there is no picture."""

    def close(self) -> None:
        """Release the robot."""
        # ROBOT: leave it holding its position, and disconnect.
