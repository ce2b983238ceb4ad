"""Rotations as quaternions wxyz."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runtime.robot.readings import Float64
from sim2real.contract import Quaternion

_SHORTEST, _LONGEST = 0.9, 1.1
"""Lengths of a quaternion that was meant to be a rotation."""


def is_meant_as_rotation(length: float) -> bool:
    """Whether a measured quaternion of this length can be brought to length 1; not where it is no number."""
    return _SHORTEST < length < _LONGEST


def angle_between_deg(first: Sequence[float] | Float64, second: Sequence[float] | Float64) -> float:
    """Angle of the rotation between two quaternions wxyz `[4]`, whatever their signs and lengths; NaN where one of them
    has no direction, being zero, not finite or too long for its length to be finite.
    """
    (a, b, c, d), (e, f, g, h) = first, second
    scale = math.hypot(a, b, c, d) * math.hypot(e, f, g, h)
    if not 1e-12 < scale < math.inf:
        return math.nan
    return 2 * math.degrees(math.acos(min(1.0, abs(a * e + b * f + c * g + d * h) / scale)))


def quaternion_of_rpy(roll: float, pitch: float, yaw: float) -> Quaternion:
    """Unit quaternion wxyz of R = Rz(yaw) Ry(pitch) Rx(roll), angles in rad."""
    cr, sr = math.cos(roll / 2), math.sin(roll / 2)
    cp, sp = math.cos(pitch / 2), math.sin(pitch / 2)
    cy, sy = math.cos(yaw / 2), math.sin(yaw / 2)
    return (
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    )
