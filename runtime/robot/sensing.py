"""Readings from a simulation of one robot, by what the contract's terms say of themselves.

A term's own `sense` is for many environments at once. What every arm has is copied out of MuJoCo's data directly, which
gives the same numbers for a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import mujoco
import numpy as np

from runtime.robot.readings import Float64
from sim2real.contract import Reading
from sim2real.robots.kinematics import Addresses
from sim2real.terms import Scene, Simulated, Stage
from sim2real.terms.joints import JointPosition, JointVelocity
from sim2real.terms.poses import Orientation, Position
from sim2real.terms.scene import WORLD

Sensor = Callable[[mujoco.MjData, Float64], None]
"""Writes the true value of a reading."""
_STAGES: tuple[Stage, ...] = ("position", "velocity", "acceleration")


class Sensors:
    """Sensors of some readings of a robot in a model."""

    def __init__(self, scene: Scene, readings: Iterable[Reading]) -> None:
        readings = list(readings)
        self._sensors = [(reading.name, sensor_of(scene, reading)) for reading in readings]
        self._model = scene.model
        self._stage = max((_STAGES.index(reading.stage) for reading in readings), default=0)

    def read(self, data: mujoco.MjData, out: dict[str, Float64]) -> None:
        """Bring `data` up to date with `qpos` and `qvel` as far as these readings need it, and write them."""
        if self._stage == 2:
            mujoco.mj_forward(self._model, data)
        elif self._stage == 1:
            mujoco.mj_fwdPosition(self._model, data)
            mujoco.mj_fwdVelocity(self._model, data)
        else:
            mujoco.mj_kinematics(self._model, data)
        self.copy(data, out)

    def copy(self, data: mujoco.MjData, out: dict[str, Float64]) -> None:
        """Write them as they are in `data`."""
        for name, sensor in self._sensors:
            sensor(data, out[name])

    @property
    def passive(self) -> bool:
        """Whether positions up to date are enough."""
        return self._stage == 0


def sensor_of(scene: Scene, reading: Reading) -> Sensor:
    """What writes a reading."""
    sense = type(reading).sense
    if sense is JointPosition.sense:
        return _joints("qpos", scene.addresses.qpos, scene.addresses, Addresses.joint_position)
    if sense is JointVelocity.sense:
        return _joints("qvel", scene.addresses.dof, scene.addresses, Addresses.joint_velocity)
    if sense is Position.sense and reading.frame == WORLD:
        place = scene.place(reading.about, field="of")
        if place.site is None:
            return lambda data, out: np.copyto(out, data.xpos[place.body])
        return lambda data, out: np.copyto(out, data.site_xpos[place.site])
    if sense is Orientation.sense and reading.frame == WORLD:
        place = scene.place(reading.about, field="of")
        if place.site is None:
            return lambda data, out: np.copyto(out, data.xquat[place.body])
        return lambda data, out: mujoco.mju_mat2Quat(out, data.site_xmat[place.site])
    return _by_term(scene, reading)


def _joints(field: str, indices: np.ndarray, addresses: Addresses, compute: Callable[[Addresses, Any], Any]) -> Sensor:
    if addresses.has_tendons:
        return lambda data, out: np.copyto(out, compute(addresses, getattr(data, field)))

    def take(data: mujoco.MjData, out: Float64) -> None:
        np.take(getattr(data, field), indices, out=out, mode="clip")

    return take


def _by_term(scene: Scene, reading: Reading) -> Sensor:
    def read(data: mujoco.MjData, out: Float64) -> None:
        row = _Row(data)
        simulated = Simulated(scene, row, scene.addresses.joint_position(row.qpos))
        out[:] = reading.sense(np, simulated)[0]

    return read


class _Row:
    """Fields of one `MjData` as `[1, ...]` arrays."""

    def __init__(self, data: mujoco.MjData) -> None:
        self._data = data

    def __getattr__(self, name: str) -> np.ndarray:
        row: np.ndarray = getattr(self._data, name)[None]
        return row
