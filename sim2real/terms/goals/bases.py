"""Goals of a base that moves: a place on the ground, a place and where it faces there, or a pose in space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sim2real.errors import ShoalError
from sim2real.frozen import NonNegative, Positive, Vector2, Vector3
from sim2real.rotations import quaternion_product
from sim2real.terms.goals.base import Array, Goal, Part, Settings, require_box
from sim2real.world.map import GOAL

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from sim2real.terms.reading import Reading
    from sim2real.terms.scene import Scene


class _OfBase(Goal):
    @property
    def drawn(self) -> Literal["reached", "between"]:
        """The ground has no configurations."""
        return "between"

    def settings(self) -> Settings:
        """Long ways, no home to stay near to, and ground that is alike everywhere."""
        return Settings(gamma=0.98, critic_sees="way")


class _Ground(_OfBase):
    position_min_m: Vector2
    """Lower corner of the rectangle in which it may be asked for."""
    position_max_m: Vector2
    base_orientation: str | None = "base_orientation"
    """Name of the reading from whose frame the policy sees the way to the goal."""

    @model_validator(mode="after")
    def _box(self) -> Self:
        require_box(self.position_min_m, self.position_max_m)
        return self

    @property
    def heading(self) -> str | None:
        """The base's heading."""
        return self.base_orientation

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """The same, where there are no walls that it could be drawn in."""
        if scene.map is not None:
            raise ShoalError(f"goal: {self.kind} would be drawn in the walls of the task's map; use map_position.")
        return self

    def box(self) -> tuple[Vector3, Vector3] | None:
        """The rectangle, flat on the ground."""
        return (*self.position_min_m, 0.0), (*self.position_max_m, 0.0)


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


class PlanarAnnulus(PlanarPosition):
    """Bring the base to a place on the ground, which training draws at a distance from the frame's origin, any distance
    as likely as another.
    """

    kind: str = "planar_annulus"
    nearest_m: NonNegative = 0.0
    farthest_m: Positive
    position_min_m: Vector2 = (-1.0, -1.0)
    """The square around the circle, which follows from it, as `position_max_m` does."""
    position_max_m: Vector2 = (1.0, 1.0)

    @model_validator(mode="after")
    def _ring(self) -> Self:
        if not self.nearest_m <= self.farthest_m:
            raise ValueError(f"nearest_m {self.nearest_m} must not be above farthest_m {self.farthest_m}")
        return self

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """The square, which a drawn goal on the circle must not leave by a rounding."""
        super().completed(scene, readings)
        half = self.farthest_m * (1 + 1e-6)
        return self.model_copy(update={"position_min_m": (-half, -half), "position_max_m": (half, half)})

    def between(self, xp: ModuleType, contract: Contract, uniform: Array, normal: Array, *, grown: float) -> Array:
        """In the ring, whose outer radius is grown."""
        distance = self.nearest_m + (grown * self.farthest_m - self.nearest_m) * uniform[:, 0]
        angle = 2 * math.pi * uniform[:, 1]
        return xp.stack([distance * xp.cos(angle), distance * xp.sin(angle)], axis=-1).astype(np.float32)


class MapPosition(PlanarPosition):
    """Bring the base to a cell of the task's map."""

    kind: str = "map_position"
    position_min_m: Vector2 = (-1e3, -1e3)
    """Follows from the map, as `position_max_m` and `cells` do."""
    position_max_m: Vector2 = (1e3, 1e3)
    cells: tuple[Vector2, ...] = ()
    """Middles of the cells of which training draws one."""

    def settings(self) -> Settings:
        """As published: walls make one place unlike another."""
        return super().settings()._replace(critic_sees="goal")

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """The rectangle around all free cells, and the cells with a goal."""
        if scene.map is None:
            raise ShoalError("goal: map_position needs the task's map; write one (map.cell_m, map.layout).")
        free, half = scene.map.free, scene.map.cell_m / 2
        low, high = free.min(axis=0) - half, free.max(axis=0) + half
        return self.model_copy(
            update={
                "position_min_m": tuple(low.tolist()),
                "position_max_m": tuple(high.tolist()),
                "cells": tuple(tuple(cell) for cell in scene.map.cells(GOAL).tolist()),
            }
        )

    def refusal(self, contract: Contract, request: np.ndarray) -> str | None:
        """What lies in a wall is none."""
        if contract.map is None or contract.map.is_free(request):
            return None
        return f"({request[0]:g}, {request[1]:g}) m lies in a wall of the map; the first start is its origin"

    def between(self, xp: ModuleType, contract: Contract, uniform: Array, normal: Array, *, grown: float) -> Array:
        """The middle of a cell with a goal; anywhere where bounds are grown."""
        if grown > 1:
            return super().between(xp, contract, uniform, normal, grown=grown)
        chosen = (uniform[:, 0] * len(self.cells)).astype(np.int32)
        return xp.asarray(np.array(self.cells, np.float32))[chosen]


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

    def _seen(self, xp: ModuleType, contract: Contract, columns: Array, way: Array) -> Array:
        """The turn as well: its cosine less one, and its sine."""
        seen = super()._seen
        halves = (way[..., :2], way[..., 2:])
        return xp.concatenate([seen(xp, contract, columns, half) for half in halves], axis=-1)


class BasePose(_OfBase):
    """Bring the base to a pose in space: that of something that flies, or a body's height and tilt over its feet."""

    kind: str = "base_pose"
    position_min_m: Vector3
    """Lower corner of the box in which it may be asked for."""
    position_max_m: Vector3
    max_tilt_deg: Annotated[float, Field(ge=0, le=180)] = 0.0
    """How far goals lean at most in training; they face anywhere."""
    orientation_weight_m: Positive = 0.5
    position: str = "base_position"
    """Name of the reading, of kind `position`, that is to get there."""
    orientation: str = "base_orientation"
    """Name of that which is to be turned so, and from whose frame the policy sees the way to the goal's place."""
    coarse_position_m: Positive = 0.2
    fine_position_m: Positive = 0.1

    @model_validator(mode="after")
    def _box(self) -> Self:
        require_box(self.position_min_m, self.position_max_m)
        return self

    @property
    def heading(self) -> str | None:
        """The base's orientation."""
        return self.orientation

    def box(self) -> tuple[Vector3, Vector3] | None:
        """The box of its positions."""
        return self.position_min_m, self.position_max_m

    def parts(self) -> tuple[Part, ...]:
        """A place, and how to be turned there: upright and facing along x where a message doesn't say."""
        return (
            Part(self.position, "goal_position", self.position_min_m, self.position_max_m),
            Part(self.orientation, "goal_orientation", default=(1.0, 0.0, 0.0, 0.0)),
        )

    def between(self, xp: ModuleType, contract: Contract, uniform: Array, normal: Array, *, grown: float) -> Array:
        """Facing anywhere, and leaning towards anywhere by at most `max_tilt_deg`."""
        drawn = super().between(xp, contract, uniform, normal, grown=grown)
        turn, towards, lean = (uniform[:, i] for i in (3, 4, 5))
        half = 0.5 * math.radians(self.max_tilt_deg) * xp.sqrt(lean)
        zero, angle = xp.zeros_like(turn), 2 * math.pi * towards
        about_z = xp.stack([xp.cos(math.pi * turn), zero, zero, xp.sin(math.pi * turn)], axis=-1)
        leaning = xp.stack([xp.cos(half), xp.sin(half) * xp.cos(angle), xp.sin(half) * xp.sin(angle), zero], axis=-1)
        pose = quaternion_product(xp, leaning, about_z)
        return xp.concatenate([drawn[:, :3], pose], axis=-1).astype(np.float32)
