"""A smooth way through poses that come at 10 to 60 Hz, from teleoperation or a model that plans in poses.

    follower = PoseFollower(Limits())
    follower.target(position, orientation_wxyz, now_s)     # whenever one comes
    position, orientation_wxyz = follower.at(now_s)        # as often as needed

Between two poses it goes in a straight line, one period late, so that there is always one to go to; what it says
follows that line as a critically damped mass does, within limits of speed and acceleration. Nothing is extrapolated:
when no more poses come it comes to rest at the last one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sim2real.contract import Quaternion, Vector3
from sim2real.rotations import conjugate, quaternion_product

_STEP_S = 0.004
_LONGEST_S = 1.0
"""Of a pause that is gone through step by step; what lies before it is over anyway."""
_SHORTEST_PERIOD_S, _LONGEST_PERIOD_S = 1 / 120, 0.2


@dataclass(frozen=True)
class Limits:
    """Of the way, not of the robot, which has its own."""

    speed_m_s: float = 1.0
    acceleration_m_s2: float = 6.0
    speed_rad_s: float = 3.0
    acceleration_rad_s2: float = 20.0
    frequency_rad_s: float = 10.0
    """How closely the poses are followed: higher is closer and rougher."""


class _Follower:
    """A point in three dimensions that follows another."""

    def __init__(self, speed: float, acceleration: float, frequency: float) -> None:
        self._speed, self._acceleration, self._frequency = speed, acceleration, frequency
        self.velocity = np.zeros(3)

    def move(self, way: np.ndarray, dt_s: float) -> np.ndarray:
        """How far to go in `dt_s`, `[3]`, when the goal is `way` away."""
        wanted = self._frequency**2 * way - 2 * self._frequency * self.velocity
        self.velocity = self.velocity + dt_s * _shortened(wanted, self._acceleration)
        self.velocity = _shortened(self.velocity, self._speed)
        return np.asarray(self.velocity * dt_s)


class PoseFollower:
    """See above. Without orientations only positions are followed."""

    def __init__(self, limits: Limits) -> None:
        self._place = _Follower(limits.speed_m_s, limits.acceleration_m_s2, limits.frequency_rad_s)
        self._turn = _Follower(limits.speed_rad_s, limits.acceleration_rad_s2, limits.frequency_rad_s)
        self._position, self._rotation = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        self._before = self._newest = (np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
        self._came_s, self._period_s, self._now_s = -math.inf, _LONGEST_PERIOD_S, -math.inf
        self._turns = False

    @property
    def came_s(self) -> float:
        """When the newest pose came; -inf before there was one."""
        return self._came_s

    def target(self, position: Vector3, orientation_wxyz: Quaternion | None, now_s: float) -> None:
        """A new pose, m and a unit quaternion; either all of them have an orientation or none."""
        place = np.array(position, float)
        if not math.isfinite(self._came_s):
            self._turns = orientation_wxyz is not None
            turn = np.array(orientation_wxyz or (1.0, 0.0, 0.0, 0.0), float)
            self._position, self._rotation, self._now_s = place.copy(), turn.copy(), now_s
            self._before = self._newest = (place, turn)
        elif self._turns is not (orientation_wxyz is not None):
            raise ValueError("poses of one stream either all have an orientation or none has one")
        turn = self._newest[1] if orientation_wxyz is None else np.array(orientation_wxyz, float)
        self.at(now_s)
        self._period_s = float(np.clip(now_s - self._came_s, _SHORTEST_PERIOD_S, _LONGEST_PERIOD_S))
        self._before, self._newest, self._came_s = self._between(now_s), (place, turn), now_s

    def at(self, now_s: float) -> tuple[Vector3, Quaternion | None]:
        """Where to be now; `ValueError` before there was a pose."""
        if not math.isfinite(self._now_s):
            raise ValueError("no pose has come yet")
        self._now_s = max(self._now_s, now_s - _LONGEST_S)
        while self._now_s < now_s:
            step_s = min(_STEP_S, now_s - self._now_s)
            self._now_s += step_s
            place, turn = self._between(self._now_s)
            self._position = self._position + self._place.move(place - self._position, step_s)
            if self._turns:
                moved = self._turn.move(_rotation_between(self._rotation, turn), step_s)
                self._rotation = _turned(self._rotation, moved)
        x, y, z = self._position.tolist()
        if not self._turns:
            return (x, y, z), None
        w, i, j, k = self._rotation.tolist()
        return (x, y, z), (w, i, j, k)

    def _between(self, now_s: float) -> tuple[np.ndarray, np.ndarray]:
        """The straight line from the pose before to the newest, at its end after one period."""
        if not math.isfinite(self._came_s):
            return self._newest
        share = float(np.clip((now_s - self._came_s) / self._period_s, 0.0, 1.0))
        (first, start), (last, end) = self._before, self._newest
        return first + share * (last - first), _turned(start, share * _rotation_between(start, end))


def _shortened(vector: np.ndarray, most: float) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector if length <= most else vector * (most / length)


def _rotation_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The shorter way, as a rotation vector `[3]` rad in the world's frame."""
    w, *axis = quaternion_product(np, end, conjugate(start))
    if w < 0:
        w, axis = -w, [-value for value in axis]
    length = float(np.linalg.norm(axis))
    if length < 1e-9:
        return 2 * np.array(axis)
    return np.array(axis) * (2 * math.atan2(length, w) / length)


def _turned(start: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    angle = float(np.linalg.norm(rotation))
    if angle < 1e-12:
        return start
    axis = rotation / angle
    turned = quaternion_product(np, np.array([math.cos(angle / 2), *(math.sin(angle / 2) * axis)]), start)
    return np.asarray(turned / np.linalg.norm(turned))
