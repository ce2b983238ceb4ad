"""Goals: values that named readings are to reach. Every kind of goal is one class.

A *request* is one flat vector `[K]` of those values, in SI units: what clients ask for and environments hold. A *goal
vector* `[G]` is the point in which Euclidean distance weighs metres against rotation: what critics learn about. What is
achieved is the request that the present readings fulfil.

Shapes: `K` numbers of a request, `G` of a goal vector. `xp` is the array namespace, `numpy` or `jax.numpy`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from sim2real.frozen import NonNegative, Positive, Quaternion, Vector2, Vector3
from sim2real.rotations import seen_from_columns
from sim2real.terms.layout import Layout
from sim2real.terms.reading import Reading
from sim2real.terms.term import Term, any_of

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from sim2real.terms.scene import Scene

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""
ERROR_GAIN = 5.0
"""By which the way to the goal is enlarged for the policy, so that the last centimetre is not lost."""


class Part(NamedTuple):
    """A reading that is to reach a value."""

    reading: str
    """Its name."""
    input: str
    """Name of the graph's input that takes the value."""
    low: Sequence[float] | None = None
    """Smallest values that may be asked for; None where all may be."""
    high: Sequence[float] | None = None
    default: Sequence[float] | None = None
    """What is asked for where a message doesn't say; None where it must."""


class Settings(NamedTuple):
    """What a teacher learns this kind of goal best with; see the fields of the same names in `teacher.config`."""

    gamma: float = 0.9
    action_penalty: float = 0.0
    posture_weight: float = 0.0
    moving_goal_share: float = 0.0
    random_posture_share: float = 0.0


_MOVING_AN_OBJECT = Settings(
    gamma=0.97, action_penalty=0.05, posture_weight=0.05, moving_goal_share=0.75, random_posture_share=0.5
)


class Goal(Term):
    """What the policy is asked to reach, and within which limits. A contract states every field."""

    what: ClassVar[str] = "goal"
    drawn: ClassVar[str] = "reached"
    """How training draws one: `reached` by another configuration of the pool, or anywhere `between` its limits."""

    frame: str = "world"
    orientation_weight_m: NonNegative = 0.0
    """Length given to one unit of a rotation in the goal vector."""
    coarse_position_m: Positive = 0.05
    coarse_angle_deg: Positive = 20.0
    fine_position_m: Positive = 0.02
    fine_angle_deg: Positive = 8.0
    hold_s: NonNegative = 0.5
    """A goal counts as reached when the tolerance holds for this long."""

    @abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """The readings that are to reach values, in the order of a request."""

    @property
    def heading(self) -> str | None:
        """Name of the orientation from whose frame a policy sees the way to the goal; None for the world's."""
        return None

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the readings that it is made of."""
        names = tuple(part.reading for part in self.parts())
        return names if self.heading is None else (*names, self.heading)

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """The same goal with what follows from the model and from the task's readings at home."""
        return self

    def settings(self) -> Settings:
        """A teacher's settings."""
        return Settings()

    def box(self) -> tuple[Vector3, Vector3] | None:
        """Lower and upper corner of where it may be asked for, m in its frame, if that is a place."""
        return None

    # All below follows from the parts.

    def readings(self, contract: Contract) -> list[Reading]:
        """The readings of the parts."""
        return [contract.reading(part.reading) for part in self.parts()]

    def layout(self, contract: Contract) -> Layout:
        """Which entries of a request go to which input of the graph."""
        return Layout.of({p.input: r.size for p, r in zip(self.parts(), self.readings(contract), strict=True)})

    def size(self, contract: Contract) -> int:
        """The size G of a request."""
        return sum(reading.encoded_size for reading in self.readings(contract))

    def achieved(self, xp: ModuleType, readings: Mapping[str, Array]) -> Array:
        """The request that the present readings fulfil, `[..., K]`."""
        values = [readings[part.reading] for part in self.parts()]
        return values[0] if len(values) == 1 else xp.concatenate(values, axis=-1)

    def vector(self, xp: ModuleType, contract: Contract, request: Array) -> Array:
        """The goal vector `[..., G]` of a request `[..., K]`."""
        values = self.layout(contract).split(request)
        return self._joined(xp, contract, [values[part.input] for part in self.parts()])

    def vector_of(self, xp: ModuleType, contract: Contract, inputs: Mapping[str, Array]) -> Array:
        """The vector of a request whose parts come apart, as the graph gets them."""
        return self._joined(xp, contract, [inputs[part.input] for part in self.parts()])

    def _joined(self, xp: ModuleType, contract: Contract, values: list[Array]) -> Array:
        columns = []
        for reading, value in zip(self.readings(contract), values, strict=True):
            encoded, metric = reading.encode(xp, value), np.float32(reading.metric(self.orientation_weight_m))
            columns.append(encoded if (metric == 1).all() else encoded * metric)
        return columns[0] if len(columns) == 1 else xp.concatenate(columns, axis=-1)

    def features(self, contract: Contract, vector: Array) -> Array:
        """What a network sees of a goal vector, `[..., G]` of order one: scaled as the readings are."""
        offset, scale = [], []
        for reading in self.readings(contract):
            metric = reading.metric(self.orientation_weight_m)
            middle, factor = reading.scaling(contract)
            offset.append(middle * metric)
            scale.append(factor / metric)
        return (vector - np.float32(np.concatenate(offset))) * np.float32(np.concatenate(scale))

    def way(self, xp: ModuleType, contract: Contract, features: Array, observation: Array) -> Array:
        """How far the goal is from what is achieved in an observation, `[..., G]`, enlarged; from the frame of
        `heading` where there is one.
        """
        runs = contract.observation.runs([part.reading for part in self.parts()])
        now = [observation[..., run] for run in runs]
        way = features - (now[0] if len(now) == 1 else xp.concatenate(now, axis=-1))
        if self.heading is not None:
            columns = observation[..., contract.observation.slices[self.heading]]
            way = self._seen(xp, contract, columns, way)
        return ERROR_GAIN * way

    def _seen(self, xp: ModuleType, contract: Contract, columns: Array, way: Array) -> Array:
        first = self.readings(contract)[0]
        width = min(first.encoded_size, 3 if first.size == 3 and first.encoded_size == 3 else 2)
        flat = way[..., :width]
        if width == 2:
            flat = xp.concatenate([flat, xp.zeros_like(flat[..., :1])], axis=-1)
        seen = seen_from_columns(xp, columns, flat)[..., :width]
        return seen if way.shape[-1] == width else xp.concatenate([seen, way[..., width:]], axis=-1)

    def errors(self, contract: Contract, achieved: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance in m and angle in degrees between goal vectors `[..., G]`, the largest of all parts."""
        lengths, angles, start = [], [], 0
        for reading in self.readings(contract):
            part = slice(start, start + reading.encoded_size)
            metric = reading.metric(self.orientation_weight_m)
            length, angle = reading.distance(achieved[..., part] / metric, goal[..., part] / metric)
            lengths.append(length)
            angles.append(angle)
            start = part.stop
        return np.max(lengths, axis=0), np.max(angles, axis=0)

    def bounds(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest request, `[K]` each, infinite where there is no bound."""
        low: list[float] = []
        high: list[float] = []
        for part, reading in zip(self.parts(), self.readings(contract), strict=True):
            low += part.low if part.low is not None else [-math.inf] * reading.size
            high += part.high if part.high is not None else [math.inf] * reading.size
        return np.array(low), np.array(high)

    def allows(self, contract: Contract, request: np.ndarray) -> np.ndarray:
        """Whether requests `[..., K]` lie within the bounds, `[...]` bool."""
        low, high = self.bounds(contract)
        return np.asarray(((request >= low) & (request <= high)).all(axis=-1))

    def between(self, xp: ModuleType, contract: Contract, uniform: Array, normal: Array, *, grown: float) -> Array:
        """Requests `[n, K]` that nobody checked, in bounds grown by a factor about their middle.

        The draws come from the caller: uniform in [0, 1) and normal, `[n, K]` each.
        """
        layout, values = self.layout(contract), []
        for part, reading in zip(self.parts(), self.readings(contract), strict=True):
            where = layout.slices[part.input]
            low, high = _bounded(part, reading, contract)
            middle, half = (low + high) / 2, grown * (high - low) / 2
            draws = uniform[:, where], normal[:, where]
            values.append(reading.between(xp, middle - half, middle + half, *draws))
        return xp.concatenate(values, axis=-1).astype(np.float32)


def _bounded(part: Part, reading: Reading, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    low, high = reading.limits(contract)
    return (low if part.low is None else np.array(part.low)), (high if part.high is None else np.array(part.high))


class _Place(Goal):
    position_min_m: Vector3
    """Lower corner of the box in which it may be asked for."""
    position_max_m: Vector3

    @model_validator(mode="after")
    def _box(self) -> Self:
        _require_box(self.position_min_m, self.position_max_m)
        return self

    def box(self) -> tuple[Vector3, Vector3] | None:
        """The box of its positions."""
        return self.position_min_m, self.position_max_m


class ToolPosition(_Place):
    """Put the tool at a place, in whatever orientation."""

    kind: str = "tool_position"
    position: str = "end_effector_position"
    """Name of the reading that is to get there."""
    input: str = "goal_position"
    """Name of the graph's input."""

    def parts(self) -> tuple[Part, ...]:
        """The tool's or the object's place."""
        return (Part(self.position, self.input, self.position_min_m, self.position_max_m),)

    def settings(self) -> Settings:
        """Joints are left free, so that moving and leaving home cost something."""
        return Settings(gamma=0.9, action_penalty=0.2, posture_weight=0.1)


class ObjectPosition(_Place):
    """Bring an object to a place."""

    kind: str = "object_position"
    position: str = "object_position"
    """Name of the reading that is to get there."""
    input: str = "goal_position"

    def parts(self) -> tuple[Part, ...]:
        """The tool's or the object's place."""
        return (Part(self.position, self.input, self.position_min_m, self.position_max_m),)

    def settings(self) -> Settings:
        """Going round an object and pushing it takes long, and objects rest most of the time."""
        return _MOVING_AN_OBJECT


class _Pose(_Place):
    orientation_weight_m: Positive
    default_orientation_wxyz: Quaternion | None = None
    """Used when a position is given without an orientation; that at home if not given."""
    position_input: str = "goal_position"
    orientation_input: str = "goal_orientation"
    position: str
    orientation: str

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """The goal turned as at home, unless told otherwise."""
        found = [reading for reading in readings if reading.name == self.orientation]
        if self.default_orientation_wxyz is not None or not found:
            return self
        w, x, y, z = (round(float(value), 9) + 0.0 for value in scene.at_home(found[0]))
        return self.model_copy(update={"default_orientation_wxyz": (w, x, y, z)})

    def parts(self) -> tuple[Part, ...]:
        """A place, and how to be turned there."""
        return (
            Part(self.position, self.position_input, self.position_min_m, self.position_max_m),
            Part(self.orientation, self.orientation_input, default=self.default_orientation_wxyz),
        )


class ToolPose(_Pose):
    """Put the tool at a place, turned in a certain way."""

    kind: str = "tool_pose"
    position: str = "end_effector_position"
    orientation: str = "end_effector_orientation"

    def settings(self) -> Settings:
        """Settings for goals that leave at most one joint free."""
        return Settings(gamma=0.9, posture_weight=0.05)


class ObjectPose(_Pose):
    """Bring an object to a place, turned in a certain way."""

    kind: str = "object_pose"
    position: str = "object_position"
    orientation: str = "object_orientation"

    def settings(self) -> Settings:
        """Settings as for its position alone."""
        return _MOVING_AN_OBJECT


class _Ground(Goal):
    drawn: ClassVar[str] = "between"

    position_min_m: Vector2
    """Lower corner of the rectangle in which it may be asked for."""
    position_max_m: Vector2
    base_orientation: str | None = "base_orientation"
    """Name of the reading from whose frame the policy sees the way to the goal."""

    @model_validator(mode="after")
    def _box(self) -> Self:
        _require_box(self.position_min_m, self.position_max_m)
        return self

    @property
    def heading(self) -> str | None:
        """The base's heading."""
        return self.base_orientation

    def box(self) -> tuple[Vector3, Vector3] | None:
        """The rectangle, flat on the ground."""
        return (*self.position_min_m, 0.0), (*self.position_max_m, 0.0)

    def settings(self) -> Settings:
        """Long ways, and no home to stay near to."""
        return Settings(gamma=0.98)


class PlanarPosition(_Ground):
    """Bring the base to a place on the ground."""

    kind: str = "planar_position"
    position: str = "base_position"
    """Name of the reading, of kind `planar_position`, that is to get there."""
    coarse_position_m: Positive = 0.5
    fine_position_m: Positive = 0.25

    def parts(self) -> tuple[Part, ...]:
        """Two coordinates."""
        return (Part(self.position, "goal_position", self.position_min_m, self.position_max_m),)


class PlanarPose(_Ground):
    """Bring the base to a place on the ground, facing somewhere."""

    kind: str = "planar_pose"
    pose: str = "base_pose"
    """Name of the reading, of kind `planar_pose`, that is to get there."""
    orientation_weight_m: Positive = 0.5
    coarse_position_m: Positive = 0.2
    fine_position_m: Positive = 0.1

    def parts(self) -> tuple[Part, ...]:
        """Two coordinates and an angle."""
        low, high = (*self.position_min_m, -math.pi), (*self.position_max_m, math.pi)
        return (Part(self.pose, "goal_pose", low, high),)


class JointConfiguration(Goal):
    """Bring every joint to a position of its own."""

    kind: str = "joint_configuration"
    position: str = "joint_position"
    orientation_weight_m: Positive = 0.3
    coarse_angle_deg: Positive = 10.0
    fine_angle_deg: Positive = 3.0
    position_min: tuple[float, ...] = Field(default=())
    """Smallest positions that may be asked for, `[J]`; the joints' limits if not given."""
    position_max: tuple[float, ...] = Field(default=())

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """The joints' limits."""
        low, high = (tuple(getattr(j, f"position_{end}") for j in scene.robot.joints) for end in ("min", "max"))
        return self.model_copy(
            update={"position_min": self.position_min or low, "position_max": self.position_max or high}
        )

    def parts(self) -> tuple[Part, ...]:
        """All joints' positions."""
        return (Part(self.position, "goal_joint_position", self.position_min, self.position_max),)


class Together(Goal):
    """Several goals at once: two tools, say. All of them must be reached."""

    kind: str = "together"
    goals: tuple[any_of(Goal), ...] = Field(min_length=2)  # type: ignore[valid-type]

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """Complete every one of its goals."""
        return self.model_copy(update={"goals": tuple(goal.completed(scene, readings) for goal in self.goals)})

    def parts(self) -> tuple[Part, ...]:
        """The parts of all goals, with inputs named after their readings."""
        return tuple(part._replace(input=f"goal_{part.reading}") for goal in self.goals for part in goal.parts())

    def box(self) -> tuple[Vector3, Vector3] | None:
        """One around those of all."""
        boxes = [box for goal in self.goals if (box := goal.box()) is not None]
        if not boxes:
            return None
        low, high = (np.array(corners) for corners in zip(*boxes, strict=True))
        return tuple(low.min(axis=0).tolist()), tuple(high.max(axis=0).tolist())

    def settings(self) -> Settings:
        """The settings of the first goal."""
        first: Goal = self.goals[0]
        return first.settings()


def _require_box(low: Sequence[float], high: Sequence[float]) -> None:
    for axis, lower, upper in zip("xyz", low, high, strict=False):
        if not lower < upper:
            raise ValueError(f"position_min_m {axis}={lower} must be below position_max_m {axis}={upper}")
