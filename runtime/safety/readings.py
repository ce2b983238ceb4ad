"""What a driver measures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


class Readings:
    """What a driver measures for J joints; arrays are filled in place. Joint arrays in policy order."""

    def __init__(self, joints: int) -> None:
        self.vector: Float64 = np.zeros(2 * joints + 7)
        """All of the arrays below but the effort, which are views on it."""
        self.joint_position: Float64 = self.vector[:joints]
        """`[J]` rad."""
        self.joint_velocity: Float64 = self.vector[joints : 2 * joints]
        """`[J]` rad/s."""
        self.end_effector_position: Float64 = self.vector[2 * joints : 2 * joints + 3]
        """`[3]` m, world frame."""
        self.end_effector_orientation: Float64 = self.vector[2 * joints + 3 :]
        """`[4]` unit quaternion wxyz, world frame."""
        self.joint_effort: Float64 = np.full(joints, np.nan)
        """`[J]` Nm; NaN from a driver that does not measure it. No policy sees it."""
        self.time_s = 0.0
        """When they were measured, on the driver's clock."""


def is_finite(values: Float64) -> bool:
    """Whether every entry is finite."""
    return bool(np.isfinite(values).all())
