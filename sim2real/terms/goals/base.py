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
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from sim2real.frozen import NonNegative, Positive, Vector3
from sim2real.rotations import seen_from_columns
from sim2real.terms.layout import Layout
from sim2real.terms.reading import Reading
from sim2real.terms.term import Term

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
    critic_sees: Literal["goal", "way"] = "goal"


class Goal(Term):
    """What the policy is asked to reach, and within which limits. A contract states every field."""

    what: ClassVar[str] = "goal"
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

    def misfits(self, readings: Mapping[str, Reading]) -> list[str]:
        """Which of the readings that it needs are not what it needs, in sentences."""
        problems = []
        for part in self.parts():
            reading, wanted = readings[part.reading], part.low or part.default
            if wanted is not None and len(wanted) != reading.size:
                problems.append(
                    f"{reading.name!r} of kind {reading.kind!r} has {reading.size} numbers, and the goal's "
                    f"{part.input} {len(wanted)}; name another reading"
                )
        return problems

    @property
    def drawn(self) -> Literal["reached", "between"]:
        """How training draws one: `reached` by another configuration of the pool, or anywhere `between` its limits."""
        return "reached"

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
        """The size G of a goal vector."""
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
        offset, scale = self._scaling(contract)
        return (vector - offset) * scale

    def _scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        offset, scale = [], []
        for reading in self.readings(contract):
            metric = reading.metric(self.orientation_weight_m)
            middle, factor = reading.scaling(contract)
            offset.append(middle * metric)
            scale.append(factor / metric)
        return np.concatenate(offset).astype(np.float32), np.concatenate(scale).astype(np.float32)

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

    def way_vector(self, xp: ModuleType, contract: Contract, vector: Array, observation: Array) -> Array:
        """The way to a goal vector `[..., G]` as `way` sees it, in the goal vector's own units: m of place, and m of
        rotation.
        """
        way = self.way(xp, contract, self.features(contract, vector), observation)
        return way / (ERROR_GAIN * self._scaling(contract)[1])

    def _seen(self, xp: ModuleType, contract: Contract, columns: Array, way: Array) -> Array:
        first = self.readings(contract)[0]
        width = min(first.encoded_size, 3 if first.size == 3 and first.encoded_size == 3 else 2)
        seen = seen_from_columns(xp, columns, way[..., :width])
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

    def refusal(self, contract: Contract, request: np.ndarray) -> str | None:
        """Why nobody may ask for a request `[K]` that lies within the bounds, in words; None where they may."""
        return None

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


def require_box(low: Sequence[float], high: Sequence[float]) -> None:
    """Raise `ValueError` unless each axis of a box has a length."""
    for axis, lower, upper in zip("xyz", low, high, strict=False):
        if not lower < upper:
            raise ValueError(f"position_min_m {axis}={lower} must be below position_max_m {axis}={upper}")
