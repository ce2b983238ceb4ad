"""Readings of a floating base: what its inertial unit tells, and what only an estimator does."""

from __future__ import annotations

import math
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from sim2real.frozen import Positive
from sim2real.terms.reading import Array, Reading, Source, Stage
from sim2real.terms.sides import ABOUT, SIDEWAYS, Mirrored

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from sim2real.terms.scene import Scene, Simulated
    from sim2real.terms.sides import Sides


class ProjectedGravity(Reading):
    """Which way is down, seen from a site or body: a unit vector."""

    kind: str = "projected_gravity"
    source: Source | None = "imu"
    of: str
    """Name of the site or body that carries the inertial unit."""

    def completed(self, scene: Scene) -> Self:
        """Three coordinates."""
        scene.place(self.of, field=f"readings: {self.name or self.kind}.of")
        return self.stated(size=3, unit="1", frame=self.of)

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """The direction of the model's gravity."""
        gravity = sim.scene.model.opt.gravity
        down = np.asarray(gravity / np.linalg.norm(gravity), np.float32)
        return (down[:, None] * sim.axes(self.of)).sum(axis=-2)

    def mirrored(self, sides: Sides) -> Mirrored:
        """A direction."""
        return Mirrored.signed(SIDEWAYS)


class _OfFreeBody(Reading):
    body: str
    """Name of the body that floats."""

    def _of_body(self, scene: Scene, unit: str) -> Self:
        scene.floating_body(self.body, field=f"readings: {self.name or self.kind}.body")
        return self.stated(size=3, unit=unit, frame=self.body)

    def _body(self, sim: Simulated) -> int:
        return sim.scene.floating_body(self.body, field="body")

    def _dof(self, sim: Simulated) -> int:
        return int(sim.scene.model.body_dofadr[self._body(sim)])


class BaseAngularVelocity(_OfFreeBody):
    """How fast a floating body turns, in its own frame: what a gyroscope on it tells."""

    kind: str = "base_angular_velocity"
    source: Source | None = "imu"
    largest_rad_s: float = 5.0
    """What a network sees as 1."""

    def completed(self, scene: Scene) -> Self:
        """Three coordinates."""
        return self._of_body(scene, "rad/s")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """A free joint's own."""
        first = self._dof(sim)
        return sim.qvel[:, first + 3 : first + 6]

    def mirrored(self, sides: Sides) -> Mirrored:
        """About axes."""
        return Mirrored.signed(ABOUT)

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Scale by `largest_rad_s`."""
        return np.zeros(3), np.full(3, 1 / self.largest_rad_s)

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Twice `largest_rad_s`."""
        return np.full(3, -2 * self.largest_rad_s), np.full(3, 2 * self.largest_rad_s)


class BaseLinearVelocity(_OfFreeBody):
    """How fast a floating body moves, in its own frame."""

    kind: str = "base_linear_velocity"
    unmeasured: ClassVar[str] = "no sensor on a floating base measures it; it needs a state estimator"
    largest_m_s: float = 2.0
    """What a network sees as 1."""

    def completed(self, scene: Scene) -> Self:
        """Three coordinates."""
        return self._of_body(scene, "m/s")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """A free joint's own, which MuJoCo has in the world, turned into the body's frame."""
        first = self._dof(sim)
        axes = sim.xmat[:, self._body(sim)].reshape(-1, 3, 3)
        return (sim.qvel[:, first : first + 3, None] * axes).sum(axis=-2)

    def mirrored(self, sides: Sides) -> Mirrored:
        """A direction."""
        return Mirrored.signed(SIDEWAYS)

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Scale by `largest_m_s`."""
        return np.zeros(3), np.full(3, 1 / self.largest_m_s)

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Twice `largest_m_s`."""
        return np.full(3, -2 * self.largest_m_s), np.full(3, 2 * self.largest_m_s)


class Height(Reading):
    """How high a site or body is over the world's ground."""

    kind: str = "height"
    unmeasured: ClassVar[str] = "no sensor on a floating base measures it; it needs an estimator or odometry"
    of: str
    typical_m: float = 0.5
    """What a network sees as 1."""

    def completed(self, scene: Scene) -> Self:
        """One coordinate."""
        scene.place(self.of, field=f"readings: {self.name or self.kind}.of")
        return self.stated(size=1, unit="m", frame="world")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """Z of its position."""
        return sim.position(xp, self.of)[:, 2:]

    def mirrored(self, sides: Sides) -> Mirrored:
        """As high."""
        return Mirrored.signed((1.0,))

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Scale by `typical_m`."""
        return np.zeros(1), np.full(1, 1 / self.typical_m)

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Limits from the ground to three times `typical_m`."""
        return np.zeros(1), np.full(1, 3 * self.typical_m)


class PhaseClock(Reading):
    """Where in its period a clock is, sine and cosine of the phase: the beat of a gait.

    It runs from the beginning of an episode; on a robot, with the clock of its controller.
    """

    kind: str = "phase_clock"
    source: Source | None = "clock"
    period_s: Positive

    def completed(self, scene: Scene) -> Self:
        """Two numbers."""
        return self.stated(size=2, unit="1", frame="clock")

    def at(self, xp: ModuleType, time_s: Array) -> Array:
        """`[..., 2]` at times `[...]` s."""
        phase = 2 * math.pi * (time_s / self.period_s)
        return xp.stack([xp.sin(phase), xp.cos(phase)], axis=-1)

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """From the simulation's time, which begins anew with every start."""
        return self.at(xp, sim.time)

    def mirrored(self, sides: Sides) -> Mirrored:
        """Half a period later: the beat of one side is the other's, which gaits about this clock must say as well."""
        return Mirrored.signed((-1.0, -1.0))

    def sample(self, rng: np.random.Generator, contract: Contract, count: int) -> np.ndarray:
        """All around the circle."""
        return np.asarray(self.at(np, rng.uniform(0, self.period_s, count)))


class SensorReading(Reading):
    """A sensor of the MJCF by name: gyroscope, accelerometer, force, touch and others."""

    kind: str = "sensor"
    stage: ClassVar[Stage] = "acceleration"
    sensor: str
    """Its name in the MJCF."""
    typical: float = 1.0
    """What a network sees as 1, in the sensor's unit."""
    unmeasured: ClassVar[str] = "say where the robot has it: source: imu, contact_switch, torque_sensor, estimator"

    def completed(self, scene: Scene) -> Self:
        """The reading with as many numbers as the sensor has."""
        where = scene.sensor(self.sensor, field=f"readings: {self.name or self.kind}.sensor")
        return self.stated(name=self.name or self.sensor, size=where.stop - where.start, unit="SI", frame=self.sensor)

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """The sensor's part of sensordata."""
        return sim.sensordata[:, sim.scene.sensor(self.sensor, field="sensor")]

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Scale by `typical`."""
        return np.zeros(self.size), np.full(self.size, 1 / self.typical)

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """Three times `typical`."""
        return np.full(self.size, -3 * self.typical), np.full(self.size, 3 * self.typical)
