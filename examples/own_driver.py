"""A driver of your own: runtime serve --model models/franka_pose.onnx --robot own_driver:ReversedServo

Run that in this folder, or with it on PYTHONPATH. A driver is any class with the members of
`runtime.drivers.base.Driver`; this one is a robot that names its joints from the hand to the base. The loop maps by
name, so a driver keeps the order that its robot has.
"""

import numpy as np

from runtime.drivers.base import DriverOptions
from runtime.drivers.template import FirstOrderServo
from runtime.robot.readings import Float64, Readings
from shoal import Contract


class ReversedServo(FirstOrderServo):
    """First-order servos, in the opposite order."""

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        super().__init__(contract, options)
        self.joint_names = contract.joint_names[::-1]
        self.description = "first-order servos, hand first"

    def read(self, out: Readings) -> None:
        """Fill in `[J]` rad and rad/s, the last joint first."""
        super().read(out)
        for array in (out.joint_position, out.joint_velocity):
            np.copyto(array, array[::-1].copy())

    def write(self, command: Float64) -> None:
        """Take targets `[J]` rad, the last joint first."""
        super().write(command[::-1])
