"""A driver in policy order at its own pace, for programs that move joints without a policy.

It has no safety layer: whoever writes through it keeps to the limits.
"""

from __future__ import annotations

import time

import numpy as np

from runtime.drivers.base import Driver, JointOrder, require_positions
from runtime.drivers.calls import DriverCalls
from runtime.robot.readings import Readings
from sim2real.contract import Contract
from sim2real.logs.robot_check import Sample


class Direct:
    """A `sim2real.logs.robot_check.Robot` made of a driver."""

    def __init__(self, driver: Driver, contract: Contract) -> None:
        require_positions(contract, "a program without a policy")
        joints = len(contract.joint_names)
        self._driver = DriverCalls.of(driver)
        self._order = JointOrder(contract.joint_names, driver.joint_names)
        self._measured, self._command = Readings.of(contract), np.zeros(joints)
        self._deadline_s = time.perf_counter()

    def read(self) -> Sample:
        """The latest readings, copied."""
        measured, readings = self._measured, Readings.of(self._measured.contract)
        self._driver.read(measured)
        self._order.readings_to_policy(measured, readings)
        joints = readings.joint_position, readings.joint_velocity
        return Sample(self._driver.now_s(), measured.time_s, *joints, readings.vector)

    def write(self, target: np.ndarray) -> None:
        """Joint targets `[J]` rad, policy order, for the coming control period."""
        self._order.to_driver(target, self._command)
        self._driver.write(self._command)

    def wait(self) -> None:
        """Sleep until the next period begins, with the servo's own steps in between; at once where the driver waits."""
        if self._driver.owns_clock:
            return
        period = self._driver.period_s
        begin = max(self._deadline_s, time.perf_counter() - period)
        self._deadline_s = begin + period
        steps = self._driver.servo_steps
        for step in range(2, steps + 1):
            _sleep_until(begin + (step - 1) * period / steps)
            self._driver.servo(step / steps)
        _sleep_until(self._deadline_s)


def _sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.perf_counter()))
