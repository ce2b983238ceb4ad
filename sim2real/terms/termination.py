"""Terminations: when an episode is over before its time, a fall say. What comes after it cannot be reached any more."""

from __future__ import annotations

from abc import abstractmethod
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from sim2real.errors import ShoalError
from sim2real.frozen import Vector2
from sim2real.terms.reading import Stage
from sim2real.terms.term import Term

if TYPE_CHECKING:
    from sim2real.terms.scene import Scene, Simulated

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""


class Termination(Term):
    """Whether episodes are over."""

    what: ClassVar[str] = "termination"
    stage: ClassVar[Stage] = "position"

    @abstractmethod
    def require(self, scene: Scene) -> None:
        """Raise `ShoalError` where the model lacks what it names."""

    @abstractmethod
    def over(self, xp: ModuleType, sim: Simulated) -> Array:
        """`[N]` bool, of the true state."""


class HeightLost(Termination):
    """A site or body is lower than it should be, or higher."""

    kind: str = "height"
    of: str
    min_m: float = -1e9
    max_m: float = 1e9

    @model_validator(mode="after")
    def _range(self) -> Self:
        if not self.min_m < self.max_m:
            raise ValueError(f"min_m {self.min_m} must be below max_m {self.max_m}")
        return self

    def require(self, scene: Scene) -> None:
        """The place is there."""
        scene.place(self.of, field="terminations: height.of")

    def over(self, xp: ModuleType, sim: Simulated) -> Array:
        """Judges z in the world."""
        height = sim.position(xp, self.of)[:, 2]
        return (height < self.min_m) | (height > self.max_m)


class Tilted(Termination):
    """The vertical axis of a site or body leans too far."""

    kind: str = "tilt"
    of: str
    max_deg: Annotated[float, Field(gt=0, lt=180)]

    def require(self, scene: Scene) -> None:
        """The place is there."""
        scene.place(self.of, field="terminations: tilt.of")

    def over(self, xp: ModuleType, sim: Simulated) -> Array:
        """Judges the angle between its z axis and the world's."""
        turn = sim.orientation(xp, self.of)
        # The height of the turned z axis: the last entry of the rotation's matrix.
        up = 1 - 2 * (turn[:, 1] ** 2 + turn[:, 2] ** 2)
        return up < np.cos(np.radians(self.max_deg))


class Touched(Termination):
    """A touch or contact sensor of the MJCF tells more than it should."""

    kind: str = "contact"
    stage: ClassVar[Stage] = "acceleration"
    sensor: str
    """Its name in the MJCF."""
    more_than: Annotated[float, Field(ge=0)] = 0.0
    """In the sensor's unit, N of a touch sensor."""

    def require(self, scene: Scene) -> None:
        """The sensor is there."""
        scene.sensor(self.sensor, field="terminations: contact.sensor")

    def over(self, xp: ModuleType, sim: Simulated) -> Array:
        """Judges the largest of its numbers."""
        return sim.sensordata[:, sim.scene.sensor(self.sensor, field="sensor")].max(axis=-1) > self.more_than


class LeftMap(Termination):
    """A site or body has left a rectangle on the ground."""

    kind: str = "left_map"
    of: str
    min_m: Vector2
    max_m: Vector2

    def require(self, scene: Scene) -> None:
        """The place is there, and the rectangle is one."""
        scene.place(self.of, field="terminations: left_map.of")
        if not (np.array(self.min_m) < np.array(self.max_m)).all():
            raise ShoalError(f"terminations: left_map.min_m {self.min_m} must be below max_m {self.max_m}.")

    def over(self, xp: ModuleType, sim: Simulated) -> Array:
        """Judges x and y in the world."""
        place = sim.position(xp, self.of)[:, :2]
        return ((place < np.array(self.min_m)) | (place > np.array(self.max_m))).any(axis=-1)
