"""What a driver measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.terms.joints import JointEffort

Float64 = NDArray[np.float64]


class Readings:
    """What a driver measures for a contract, one attribute for each of its readings, to be filled in place:

        readings.joint_position[:] = ...        # [J], policy order
        readings.base_position[:] = ...         # whatever the contract names, with its size, unit and frame
        readings["base_position"][:] = ...      # the same

    Readings that a tracker tells are NaN until somebody does.
    """

    joint_position: Float64
    """`[J]` rad or m, of contracts that name it so, as all that ship do."""
    joint_velocity: Float64
    """`[J]` rad/s or m/s, likewise."""
    end_effector_position: Float64
    """`[3]` m, world frame, of contracts with a tool."""
    end_effector_orientation: Float64
    """`[4]` unit quaternion wxyz, world frame, likewise."""
    object_position: Float64
    """`[3]` m, world frame, NaN until a driver or a tracker tells; `[0]` for contracts without an object."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.vector: Float64 = np.zeros(contract.measured.size)
        """All of the readings, laid out by `contract.measured`; the attributes are views on it."""
        self.named: dict[str, Float64] = contract.measured.split(self.vector)
        """The same by name."""
        told = [reading for reading in contract.readings if reading.name in self.named]
        efforts = [self.named[reading.name] for reading in told if isinstance(reading, JointEffort)]
        self.joint_effort: Float64 = efforts[0] if efforts else np.empty(len(contract.joint_names))
        """`[J]` N m or N, NaN from a driver that does not measure it; a reading of the contract where it has one."""
        self.joint_effort.fill(np.nan)
        for reading in told:
            if reading.source == "tracker":
                self.named[reading.name].fill(np.nan)
        self.time_s = 0.0
        """When they were measured, on the driver's clock."""
        if taken := [name for name in self.named if name in _OWN]:
            raise ShoalError(f"readings: {', '.join(taken)} cannot be the name of a reading; give it another one.")
        self.joints: Float64 = self.named[contract.action.measured]
        """`[J]`, where the joints are, whatever the contract calls that."""
        self.object_position = np.zeros(0)
        for name, view in self.named.items():
            setattr(self, name, view)
        self._filled_in_place = frozenset({"vector", "named", "joints", "joint_effort", *self.named})

    @classmethod
    def of(cls, contract: Contract) -> Readings:
        """Everything that policies of this contract are told."""
        return cls(contract)

    def __getitem__(self, name: str) -> Float64:
        return self.named[name]

    def __setattr__(self, name: str, value: object) -> None:
        """Raises `ShoalError` for a reading that would be replaced: nobody would look at the new array."""
        own = self.__dict__
        if name != "time_s" and name in own.get("_filled_in_place", ()) and value is not own[name]:
            raise ShoalError(f"{name} would be replaced by a new array; write out.{name}[:] = ... instead")
        own[name] = value

    if TYPE_CHECKING:  # in earnest it would make every access slower

        def __getattr__(self, name: str) -> Float64:
            """Whatever the contract names."""


_OWN = ("contract", "vector", "named", "joints", "time_s", "of")


def is_finite(values: Float64) -> bool:
    """Whether every entry is finite."""
    return bool(np.isfinite(values).all())
