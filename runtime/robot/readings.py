"""What a driver measures."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from sim2real.contract import Contract

Float64 = NDArray[np.float64]


class Readings:
    """What a driver measures for J joints; arrays are filled in place. Joint arrays in policy order."""

    def __init__(self, joints: int, *, with_object: bool = False) -> None:
        self.vector: Float64 = np.zeros(readings_size(joints, with_object=with_object))
        """All of the arrays below but the effort, which are views on it."""
        self.joint_position: Float64 = self.vector[:joints]
        """`[J]` rad."""
        self.joint_velocity: Float64 = self.vector[joints : 2 * joints]
        """`[J]` rad/s."""
        self.end_effector_position: Float64 = self.vector[2 * joints : 2 * joints + 3]
        """`[3]` m, world frame."""
        self.end_effector_orientation: Float64 = self.vector[2 * joints + 3 : 2 * joints + 7]
        """`[4]` unit quaternion wxyz, world frame."""
        self.object_position: Float64 = self.vector[2 * joints + 7 :]
        """`[3]` m, world frame, NaN until a driver or a tracker tells; `[0]` for contracts without an object."""
        self.object_position.fill(np.nan)
        self.joint_effort: Float64 = np.full(joints, np.nan)
        """`[J]` Nm; NaN from a driver that does not measure it. No policy sees it."""
        self.time_s = 0.0
        """When they were measured, on the driver's clock."""

    @classmethod
    def of(cls, contract: Contract) -> Self:
        """Everything that policies of this contract are told."""
        return cls(len(contract.robot.joints), with_object=contract.tracked is not None)


def readings_size(joints: int, *, with_object: bool) -> int:
    """Entries of `Readings.vector`."""
    return 2 * joints + (10 if with_object else 7)


def is_finite(values: Float64) -> bool:
    """Whether every entry is finite."""
    return bool(np.isfinite(values).all())
