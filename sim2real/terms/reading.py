"""Readings: what a policy is told in every control step, each one class that says all about itself.

    class WheelSpeed(Reading):
        kind: str = "my_robot.terms:WheelSpeed"
        source: Source | None = "encoder"

        def completed(self, scene: Scene) -> Self:
            return self.stated(size=2, unit="rad/s", frame="wheel")

        def sense(self, xp: ModuleType, sim: Simulated) -> Array:
            return sim.qvel[:, :2]

Shapes: `N` environments, `size` numbers of a reading, `E` numbers of its encoding, which is what networks see of it
before scaling. `xp` is the array namespace, `numpy` or `jax.numpy`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from sim2real.errors import ShoalError
from sim2real.frozen import NonNegative, Quaternion, Vector3
from sim2real.terms.term import Term

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from sim2real.terms.scene import Scene, Simulated
    from sim2real.terms.sides import Mirrored, Sides

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""
Stage = Literal["position", "velocity", "acceleration"]
"""How much of the forward dynamics a simulation must have computed, each including those before it."""
Source = Literal[
    "encoder",
    "forward_kinematics",
    "last_command",
    "clock",
    "imu",
    "torque_sensor",
    "contact_switch",
    "tracker",
    "odometry",
    "estimator",
    "simulation",
]
"""Where a robot gets a reading; `simulation` is what none of them can tell."""
KNOWN_TO_CONTROLLERS: tuple[Source, ...] = ("last_command", "clock")
"""Sources that no robot has to deliver, for neither noise nor delay changes them."""


class Reading(Term):
    """One named input of the policy, as the robot delivers it. A contract states every field."""

    what: ClassVar[str] = "reading"
    stage: ClassVar[Stage] = "position"
    unmeasured: ClassVar[str] = "no sensor measures it"
    """Why a robot has no such reading unless its task names a source."""
    per_joint: ClassVar[bool] = False
    """Whether it has one number for every joint, in policy order."""
    axes: ClassVar[int] = 0
    """How many coordinates of a place it says: 3, or 2 on the ground, or none."""
    turned: ClassVar[bool] = False
    """Whether it says how something is turned."""

    name: str = ""
    """By which goals, features, graph and robot call it; the kind if not given."""
    size: int = Field(default=0, ge=0)
    unit: str = ""
    frame: str = ""
    """What it is relative to."""
    source: Source | None = None
    noise_std: NonNegative = 0.0
    """Of each number, in its unit."""

    def stated(self, **fields: Any) -> Self:
        """A copy with the fields that follow from the model, and a name."""
        return self.model_copy(update={"name": self.name or self.kind} | fields)

    @abstractmethod
    def completed(self, scene: Scene) -> Self:
        """A copy with size, unit, frame and source; `ShoalError` where the model lacks what it names."""

    @abstractmethod
    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """True value in a simulation, `[N, size]`."""

    def from_joints(self, scene: Scene) -> Any | None:
        """What computes it from the robot's joint positions alone, `f(xp, [N, J]) -> [N, size]`, where that is so."""
        return None

    # What networks see of it.

    @property
    def encoded_size(self) -> int:
        """The size E of the encoding."""
        return self.size

    def encode(self, xp: ModuleType, value: Array) -> Array:
        """`[..., size]` to `[..., E]`."""
        return value

    def observed(self, xp: ModuleType, readings: Mapping[str, Array]) -> Array:
        """Entries of the observation before scaling, `[..., E]`; others may be taken into account."""
        return self.encode(xp, readings[self.name])

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Offset and factor `[E]` that bring the encoding to order one."""
        return np.zeros(self.encoded_size), np.ones(self.encoded_size)

    def mirrored(self, sides: Sides) -> Mirrored:
        """What becomes of the scaled encoding `[E]` where left and right are exchanged."""
        raise ShoalError(f"mirror: what becomes of readings of kind {self.kind!r} is not known; leave mirror out.")

    # What people and messages say of it.

    @property
    def about(self) -> str:
        """What it is a reading of: a site, a body, or itself."""
        return self.name

    def entries(self, contract: Contract) -> tuple[str, ...]:
        """What its numbers are called, `[size]`."""
        if self.per_joint:
            return contract.joint_names
        return ("",) if self.size == 1 else tuple(str(index) for index in range(self.size))

    @property
    def units(self) -> tuple[str, ...]:
        """Of its numbers, `[size]`."""
        units = tuple(self.unit.split(", "))
        return units if len(units) == self.size else (self.unit,) * self.size

    def of_pose(self, xp: ModuleType, position: Array, orientation: Array) -> Array:
        """What it is, `[..., size]`, of a pose `[..., 3]` m and `[..., 4]` wxyz: for those with `axes` or `turned`."""
        raise ShoalError(f"readings: {self.name!r} of kind {self.kind!r} does not follow from a pose.")

    def to_pose(self, value: Sequence[float]) -> tuple[Vector3 | None, Quaternion | None]:
        """The place in m and the orientation wxyz that a value `[size]` says; None for what it doesn't."""
        return None, None

    def proper(self, value: Sequence[float]) -> tuple[float, ...]:
        """The value that somebody means by these numbers `[size]`; `ValueError` where they are none."""
        return tuple(value)

    # What it means to be near a value of it, for goals.

    def metric(self, rotation_m: float) -> np.ndarray:
        """Length in m that one unit of each entry of the encoding counts in a goal vector, `[E]`.

        `rotation_m` is that of a rotation.
        """
        raise ShoalError(f"goal: the reading {self.name!r} of kind {self.kind!r} cannot be a goal.")

    def distance(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance between encodings `[..., E]`: in m, and in degrees; 0 for what it doesn't have."""
        raise ShoalError(f"goal: the reading {self.name!r} of kind {self.kind!r} cannot be a goal.")

    def error(self, first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
        """Distance between two values `[size]`, for a control loop."""
        encoded = (self.encode(np, np.asarray(value, np.float64)) for value in (first, second))
        length, angle = self.distance(*encoded)
        return float(length), float(angle)

    # Which values it may have.

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest value that is to be expected, `[size]` each, beyond which files are not certified."""
        return np.full(self.size, -1.0), np.full(self.size, 1.0)

    def sample(self, rng: np.random.Generator, contract: Contract, count: int) -> np.ndarray:
        """Values over all of its limits and a fifth beyond, a third of them exactly there, `[count, size]`."""
        low, high = self.limits(contract)
        margin = 0.1 * (high - low)
        values = rng.uniform(low - margin, high + margin, (count, self.size))
        edge = rng.integers(0, 6, values.shape)
        return np.where(edge == 0, low, np.where(edge == 1, high, values))

    def usual(self, contract: Contract) -> tuple[float, ...]:
        """One value that it may well have, `[size]`."""
        low, high = self.limits(contract)
        return tuple(((low + high) / 2).tolist())

    def between(self, xp: ModuleType, low: Array, high: Array, uniform: Array, normal: Array) -> Array:
        """Values `[n, size]` between bounds, from the caller's draws `[n, size]`: uniform in [0, 1), and normal."""
        return low + (high - low) * uniform
