"""Rotations on NumPy and JAX arrays alike. Quaternions are wxyz; `xp` is the array namespace."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""

_PAIRS = [(i, j) for i in range(4) for j in range(i, 4)]
_FIRST = np.array([[float(i == row) for i, _ in _PAIRS] for row in range(4)], np.float32)
_SECOND = np.array([[float(j == row) for _, j in _PAIRS] for row in range(4)], np.float32)
_QUADRATIC = np.zeros((10, 7), np.float32)
"""Products of quaternion components to the six entries of two rotation columns, and to the squared norm."""
for _column, _terms in enumerate(
    [
        {(0, 0): 1, (1, 1): 1, (2, 2): -1, (3, 3): -1},
        {(1, 2): 2, (0, 3): 2},
        {(1, 3): 2, (0, 2): -2},
        {(1, 2): 2, (0, 3): -2},
        {(0, 0): 1, (1, 1): -1, (2, 2): 1, (3, 3): -1},
        {(2, 3): 2, (0, 1): 2},
        {(0, 0): 1, (1, 1): 1, (2, 2): 1, (3, 3): 1},
    ]
):
    for _pair, _value in _terms.items():
        _QUADRATIC[_PAIRS.index(_pair), _column] = _value


def rotation_columns(quaternion: Array) -> Array:
    """First two columns of the rotation matrix, `[..., 4]` wxyz of any non-zero length to `[..., 6]`.

    A continuous representation of orientation (Zhou et al. 2019, arXiv 1812.07035); the third column is
    their cross product. Written as matrix products because each operation costs half a microsecond on the
    robot.
    """
    forms = ((quaternion @ _FIRST) * (quaternion @ _SECOND)) @ _QUADRATIC
    return forms[..., :6] / (forms[..., 6:] + 1e-12)


def columns_angle_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle in degrees between rotations given as `rotation_columns`, `[..., 6]` each, double precision."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    thirds = [np.cross(columns[..., :3], columns[..., 3:]) for columns in (first, second)]
    trace = (first * second).sum(-1) + (thirds[0] * thirds[1]).sum(-1)
    return np.asarray(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0))))


def seen_from_columns(xp: ModuleType, columns: Array, vector: Array) -> Array:
    """Vectors `[..., 3]` of the outer frame in a frame whose `rotation_columns` are `[..., 6]`; of vectors `[..., 2]`,
    which lie flat in the outer frame, the first two components.

    Written without stacks and arrays of indices, so that a robot's compiled kernel can do it.
    """
    size = vector.shape[-1]
    axes = [columns[..., :size], columns[..., 3 : 3 + size]]
    if size == 3:
        forward, backward = ([xp.concatenate([a[..., n:], a[..., :n]], axis=-1) for a in axes] for n in (1, 2))
        axes.append(forward[0] * backward[1] - backward[0] * forward[1])
    rows = [xp.concatenate([axis[..., i : i + 1] for axis in axes], axis=-1) for i in range(size)]
    terms = [row * vector[..., i : i + 1] for i, row in enumerate(rows)]
    return sum(terms[1:], start=terms[0])


def quaternion_product(xp: ModuleType, left: Array, right: Array) -> Array:
    """Hamilton product of quaternions, `[..., 4]` each."""
    a, b, c, d = (left[..., i] for i in range(4))
    e, f, g, h = (right[..., i] for i in range(4))
    return xp.stack(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ],
        axis=-1,
    )


def conjugate(quaternion: Array) -> Array:
    """The inverse rotation of a unit quaternion, `[..., 4]`."""
    return quaternion * np.array([1, -1, -1, -1], np.float32)


def cross(left: Array, right: Array) -> Array:
    """Cross products of `[..., 3]`; several times as fast on small arrays as NumPy's, which checks more."""
    forward, backward = np.array([1, 2, 0]), np.array([2, 0, 1])
    return left[..., forward] * right[..., backward] - left[..., backward] * right[..., forward]


def rotate(quaternion: Array, vector: Array) -> Array:
    """Vectors `[..., 3]` turned by unit quaternions `[..., 4]`."""
    twice = 2 * cross(quaternion[..., 1:], vector)
    return vector + quaternion[..., :1] * twice + cross(quaternion[..., 1:], twice)


def rotation_vector_quaternion(xp: ModuleType, vector: Array) -> Array:
    """The unit quaternion, `[..., 4]`, of a rotation vector `[..., 3]` rad."""
    half = 0.5 * xp.sqrt((vector * vector).sum(axis=-1, keepdims=True) + 1e-30)
    return xp.concatenate([xp.cos(half), 0.5 * vector * xp.sin(half) / half], axis=-1)


def yaw(xp: ModuleType, quaternion: Array) -> Array:
    """The turn about the vertical, `[...]` rad, of unit quaternions `[..., 4]`."""
    w, x, y, z = (quaternion[..., i] for i in range(4))
    return xp.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
