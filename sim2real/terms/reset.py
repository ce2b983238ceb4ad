"""Resets: how an episode begins. They act one after the other on a model that stands at home.

Starts are drawn once, into a pool, and kept where nothing touches that doesn't touch at home; backends draw from the
pool. A reset may refuse what those before it have drawn.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from sim2real.errors import ShoalError
from sim2real.frozen import Frozen, NonNegative, Positive, Share, Vector2, Vector3
from sim2real.rotations import quaternion_product
from sim2real.terms.scene import Scene
from sim2real.terms.term import Term
from sim2real.world.map import START

if TYPE_CHECKING:
    import mujoco

    from sim2real.robots.kinematics import Addresses
    from sim2real.world.objects import ObjectAddresses

_T = TypeVar("_T")


@dataclass
class Start:
    """A start in the making."""

    scene: Scene
    addresses: Addresses
    data: mujoco.MjData
    """At home, or as the resets so far have left it."""
    low: np.ndarray
    """`[J]`, least joint positions of starts, clear of the limits."""
    high: np.ndarray
    wide: bool
    """Whether joints are to stand anywhere in their ranges, as a missed goal can leave them."""
    _known: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], _T]) -> _T:
        """What `make` finds in model and limits, looked up for the first of many thousand starts."""
        if key not in self._known:
            self._known[key] = make()
        found: _T = self._known[key]
        return found

    def position(self, name: str) -> np.ndarray:
        """Where a site or body is now, `[3]` m in the world."""
        import mujoco

        place = self.once(name, lambda: self.scene.place(name, field="resets"))
        mujoco.mj_kinematics(self.scene.model, self.data)
        return np.array(self.data.xpos[place.body] if place.site is None else self.data.site_xpos[place.site])

    def object(self, body: str) -> ObjectAddresses:
        """Where an object is in `qpos`."""
        from sim2real.world.objects import ObjectAddresses

        return self.once(("object", body), lambda: ObjectAddresses.of(self.scene.model, body))


class Reset(Term):
    """One step on the way to a start."""

    what: ClassVar[str] = "reset"

    def require(self, scene: Scene) -> None:
        """Raise `ShoalError` where the model lacks what it names, or has other sizes."""
        return

    @abstractmethod
    def draw(self, rng: np.random.Generator, start: Start) -> bool:
        """Change `start.data.qpos` and `qvel`; False refuses the start as it is."""


class AroundHome(Reset):
    """Start every joint uniformly around home."""

    kind: str = "around_home"
    half_range: Annotated[list[Positive], Field(min_length=1)]
    """Largest distance from home, rad or m, `[J]`."""

    def require(self, scene: Scene) -> None:
        """One entry for each joint."""
        joints = scene.robot.joints
        if len(self.half_range) != len(joints):
            raise ShoalError(
                f"resets: half_range has {len(self.half_range)} entries for {len(joints)} joints; give one for each."
            )
        for joint, half in zip(joints, self.half_range, strict=True):
            if joint.kind == "hinge" and half > 2 * math.pi:
                raise ShoalError(f"resets: half_range {half:g} of {joint.name!r} is more than a turn; write it in rad.")

    def draw(self, rng: np.random.Generator, start: Start) -> bool:
        """Within the limits; of wide starts every sixth joint stands at one of them."""
        low, width = start.once(id(self), lambda: self._range(start))
        position = low + width * rng.random(len(low))
        start.addresses.place(start.data.qpos, np.clip(position, start.low, start.high) if start.wide else position)
        return True

    def _range(self, start: Start) -> tuple[np.ndarray, np.ndarray]:
        """Least position of what is drawn, and how much more it can be, `[J]` each."""
        low, high = start.low, start.high
        if start.wide:
            beyond = 0.1 * (high - low)
            return low - beyond, (high + beyond) - (low - beyond)
        home = np.array([joint.home_position for joint in start.scene.robot.joints])
        # A home that is closer to a limit than starts should be is still one.
        low = np.maximum(home - self.half_range, np.minimum(low, home))
        return low, np.minimum(home + self.half_range, np.maximum(high, home)) - low


class Keyframes(Reset):
    """Start at one of the MJCF's keyframes, each as likely as another."""

    kind: str = "keyframes"
    names: Annotated[list[str], Field(min_length=1)]

    def require(self, scene: Scene) -> None:
        """Check that all of them are there."""
        have = [scene.model.key(i).name for i in range(scene.model.nkey)]
        missing = [name for name in self.names if name not in have]
        if missing:
            raise ShoalError(
                f"resets: the MJCF has no keyframe {', '.join(missing)}; it has {', '.join(have) or 'none'}."
            )

    def draw(self, rng: np.random.Generator, start: Start) -> bool:
        """Positions and velocities of everything."""
        key = start.scene.model.key(self.names[rng.integers(len(self.names))])
        start.data.qpos[:], start.data.qvel[:] = key.qpos, key.qvel
        return True


class Inside(Reset):
    """Keep only starts at which a site or body is in a box."""

    kind: str = "inside"
    of: str
    min_m: Vector3
    max_m: Vector3

    def require(self, scene: Scene) -> None:
        """The place is there."""
        scene.place(self.of, field="resets: inside.of")

    def draw(self, rng: np.random.Generator, start: Start) -> bool:
        """Whether it is; wide starts may be anywhere."""
        if start.wide:
            return True
        return _within(start.position(self.of), self.min_m, self.max_m)


def _within(position: np.ndarray, low: Iterable[float], high: Iterable[float]) -> bool:
    """Whether a point is in a box, edges included; plain floats, since NumPy takes ten times as long for three."""
    return all(least <= x <= most for least, x, most in zip(low, position.tolist(), high, strict=True))


class Near(Frozen):
    """That a body lies near something else now and then, so that an untrained robot touches it."""

    of: str
    """Name of the site or body, the tool say."""
    share: Share = 0.5
    """Of the starts."""
    distance_m: Positive = 0.15
    """Farthest."""


class FreeBody(Reset):
    """A body that hangs on the world by a free joint, or by slides along x and y, somewhere on a rectangle.

    Height and tilt are those at home. The base of a robot that floats is such a body as well.
    """

    kind: str = "free_body"
    body: str
    min_m: Vector2
    max_m: Vector2
    turned: bool = False
    """Whether it also faces anywhere; of free joints only."""
    near: Near | None = None
    lift_m: NonNegative = 0.0
    """How much higher than at home it starts; of free joints only. Legs that stand otherwise need some room below."""

    @model_validator(mode="after")
    def _rectangle(self) -> Self:
        for axis, low, high in zip("xy", self.min_m, self.max_m, strict=True):
            if not low <= high:
                raise ValueError(f"min_m {axis}={low} must not be above max_m {axis}={high}")
        return self

    def require(self, scene: Scene) -> None:
        """The body is there and can be put anywhere."""
        from sim2real.world.objects import ObjectAddresses

        where = ObjectAddresses.of(scene.model, self.body)
        if (self.turned or self.lift_m) and where.height is None:
            field = "turned" if self.turned else "lift_m"
            raise ShoalError(f"resets: free_body.{field}: body {self.body!r} has no free joint, so it only slides.")
        if self.near is not None:
            scene.place(self.near.of, field="resets: free_body.near.of")

    def draw(self, rng: np.random.Generator, start: Start) -> bool:
        """x, y, and the turn about the vertical."""
        low, width = start.once(id(self), lambda: (np.array(self.min_m), np.subtract(self.max_m, self.min_m)))
        position = low + width * rng.random(2)
        if self.near is not None and rng.random() < self.near.share:
            distance, angle = self.near.distance_m * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
            close = start.position(self.near.of)[:2] + distance * np.array([math.cos(angle), math.sin(angle)])
            position = close if _within(close, self.min_m, self.max_m) else position
        where = start.object(self.body)
        start.data.qpos[where.qpos] = position - where.origin
        if where.height is not None:
            start.data.qpos[where.height] += self.lift_m
        if self.turned and where.height is not None:
            half = rng.uniform(-math.pi, math.pi) / 2
            turn = slice(where.height + 1, where.height + 5)
            about_z = np.array([math.cos(half), 0.0, 0.0, math.sin(half)])
            start.data.qpos[turn] = quaternion_product(np, about_z, start.data.qpos[turn])
        return True


class MapCell(Reset):
    """A free-floating body near the middle of one of the map's cells, each as likely as another."""

    kind: str = "map_cell"
    body: str
    cell: Annotated[str, Field(pattern=r"^[SG.]$")] = START
    """Letter of the cells."""
    jitter_m: NonNegative = 0.1
    """Farthest from the middle along x and along y."""
    turned: bool = False
    """Whether it also faces anywhere."""

    def require(self, scene: Scene) -> None:
        """The map has such cells, and the body can be put there."""
        if scene.map is None:
            raise ShoalError("resets: map_cell needs the task's map; write one (map.cell_m, map.layout).")
        if not len(scene.map.cells(self.cell)):
            raise ShoalError(f"resets: map_cell.cell {self.cell!r} is nowhere in map.layout.")
        self._placed((0.0, 0.0)).require(scene)

    def _placed(self, middle: tuple[float, float]) -> FreeBody:
        (x, y), away = middle, self.jitter_m
        return FreeBody(body=self.body, min_m=(x - away, y - away), max_m=(x + away, y + away), turned=self.turned)

    def draw(self, rng: np.random.Generator, start: Start) -> bool:
        """A cell, and a place in it."""
        map = start.scene.map
        assert map is not None
        cells = start.once((id(self), "cells"), lambda: map.cells(self.cell).tolist())
        x, y = cells[rng.integers(len(cells))]
        placed = start.once((id(self), x, y), lambda: self._placed((x, y)))
        return placed.draw(rng, start)


class FromFile(Reset):
    """Start at one of the rows of a NumPy file, whole `qpos` vectors `[n, nq]`."""

    kind: str = "file"
    path: str
    """Absolute, or relative to the working directory."""

    def rows(self, scene: Scene) -> np.ndarray:
        """`[n, nq]`; `ShoalError` where the file is none of them."""
        try:
            rows: Any = np.load(self.path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ShoalError(f"resets: file.path {self.path}: {error}; give a .npy file of `qpos` rows.") from error
        if rows.ndim != 2 or rows.shape[1] != scene.model.nq or not len(rows) or not np.isfinite(rows).all():
            raise ShoalError(
                f"resets: file.path {self.path} holds {rows.shape}; it must be finite rows of {scene.model.nq} numbers."
            )
        return np.asarray(rows, np.float64)

    def require(self, scene: Scene) -> None:
        """Check that the file can be read."""
        self.rows(scene)

    def draw(self, rng: np.random.Generator, start: Start) -> bool:
        """Draw any row."""
        rows = start.once(id(self), lambda: self.rows(start.scene))
        start.data.qpos[:] = rows[rng.integers(len(rows))]
        return True
