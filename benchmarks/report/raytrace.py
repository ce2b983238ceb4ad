"""Ray tracing of capsules on a floor in NumPy: pictures of a robot without OpenGL.

    image = render(capsules, Camera(...), width=1400, height=520)

Exact ray-capsule intersections, a soft shadow from an area light, ambient occlusion and supersampling. Shapes:
R rays, K capsules. Lengths are metres, colours linear RGB in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

_FAR = 1e9
_LIGHT = np.array([0.42, -0.5, 0.76])
_LIGHT = _LIGHT / np.linalg.norm(_LIGHT)
_LIGHT_SPREAD = 0.09
_LIGHT_RAYS = 8
_SKY_RAYS = 10
_OCCLUSION_M = 0.35
_SKY = np.array([0.925, 0.94, 0.965])


@dataclass(frozen=True)
class Capsules:
    """K capsules; a sphere is one of length zero."""

    start: np.ndarray
    """`[K, 3]`."""
    end: np.ndarray
    """`[K, 3]`."""
    radius: np.ndarray
    """`[K]`."""
    colour: np.ndarray
    """`[K, 3]`."""
    glow: np.ndarray
    """`[K]`, 0 for a lit surface, 1 for one that shows its colour whatever the light; above 0.5 it casts no shadow."""
    group: np.ndarray
    """`[K]` int; capsules of one number stand together, and rays that pass their common sphere skip them all."""

    def subset(self, chosen: np.ndarray) -> Capsules:
        """The capsules at indices or under a mask."""
        return Capsules(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at `eye` looking at `target`, z up."""

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    focal: float
    """Focal length in units of the image's height."""

    def rays(self, width: int, height: int) -> np.ndarray:
        """Unit directions `[height, width, 3]` through pixel centres."""
        forward = np.array(self.target) - np.array(self.eye)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        up = np.cross(right, forward)
        x = (np.arange(width) + 0.5 - width / 2) / height
        y = (height / 2 - np.arange(height) - 0.5) / height
        directions = self.focal * forward + x[None, :, None] * right + y[:, None, None] * up
        return np.asarray(directions / np.linalg.norm(directions, axis=-1, keepdims=True))


def hit_distance(origin: np.ndarray, direction: np.ndarray, a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    """Distance `[R]` along unit rays `[R, 3]` to one capsule from outside it, 1e9 without a hit."""
    ba, oa = b - a, origin - a
    baba, bard, baoa = ba @ ba, direction @ ba, oa @ ba
    rdoa, oaoa = np.einsum("ri,ri->r", direction, oa), np.einsum("ri,ri->r", oa, oa)
    result = np.full(len(origin), _FAR)
    if baba > 1e-12:
        p = baba - bard**2
        q = baba * rdoa - baoa * bard
        discriminant = q * q - p * (baba * oaoa - baoa**2 - radius**2 * baba)
        with np.errstate(invalid="ignore", divide="ignore"):
            t = (-q - np.sqrt(discriminant)) / p
            y = baoa + t * bard
        body = (discriminant >= 0) & (y > 0) & (y < baba) & (t > 0)
        result = np.where(body, t, result)
    for centre in (a, b) if baba > 1e-12 else (a,):
        oc = origin - centre
        half = np.einsum("ri,ri->r", direction, oc)
        discriminant = half**2 - (np.einsum("ri,ri->r", oc, oc) - radius**2)
        with np.errstate(invalid="ignore"):
            t = -half - np.sqrt(discriminant)
        # A cap inside the cylinder is hidden by it; outside, the nearer surface wins.
        result = np.where((discriminant >= 0) & (t > 0), np.minimum(result, t), result)
    return result


def nearest(origin: np.ndarray, direction: np.ndarray, capsules: Capsules) -> tuple[np.ndarray, np.ndarray]:
    """Distance `[R]` to the nearest capsule and its index `[R]`, -1 without a hit."""
    distance, index = np.full(len(origin), _FAR), np.full(len(origin), -1)
    for group in np.unique(capsules.group):
        members = np.flatnonzero(capsules.group == group)
        ends = np.concatenate([capsules.start[members], capsules.end[members]])
        centre = (ends.min(axis=0) + ends.max(axis=0)) / 2
        reach = float(np.linalg.norm(ends - centre, axis=1).max() + capsules.radius[members].max())
        rays = _passing(origin, direction, centre, reach)
        for k in members if len(rays) else ():
            start, end, radius = capsules.start[k], capsules.end[k], float(capsules.radius[k])
            sphere = (start + end) / 2, float(np.linalg.norm(end - start)) / 2 + radius
            near = rays[_passing(origin[rays], direction[rays], *sphere)]
            t = hit_distance(origin[near], direction[near], start, end, radius)
            better = t < distance[near]
            distance[near[better]], index[near[better]] = t[better], k
    return distance, index


def _passing(origin: np.ndarray, direction: np.ndarray, centre: np.ndarray, reach: float) -> np.ndarray:
    """Indices of the rays that meet a sphere."""
    offset = centre - origin
    along = np.einsum("ri,ri->r", offset, direction)
    return np.flatnonzero((np.einsum("ri,ri->r", offset, offset) - along**2 < reach**2) & (along > -reach))


def render(
    capsules: Capsules, camera: Camera, *, width: int, height: int, samples: int = 2, seed: int = 0
) -> np.ndarray:
    """The picture as `[height, width, 3]` bytes; `samples` squared rays a pixel.

    All pixels share the directions in which a sample looks for light and sky, so shadows have no grain.
    """
    rays = camera.rays(width * samples, height * samples)
    casters = capsules.subset(capsules.glow <= 0.5)
    image = np.zeros((height, width, 3))
    for number in range(samples**2):
        towards = _Directions.draw(np.random.default_rng([seed, number]))
        part = rays[number // samples :: samples, number % samples :: samples]
        # Rows in strips keep the intermediate arrays small.
        strips = np.array_split(part, max(1, height // 64))
        shaded = [_shade(camera, strip.reshape(-1, 3), capsules, casters, towards) for strip in strips]
        image += np.concatenate(shaded).reshape(image.shape) / samples**2
    return np.asarray(np.round(255 * np.clip(image, 0, 1) ** (1 / 2.2)).astype(np.uint8))


@dataclass(frozen=True)
class _Directions:
    """Where to look for light and for sky, `[*, 3]` unit vectors each."""

    light: np.ndarray
    sky: np.ndarray

    @staticmethod
    def draw(rng: np.random.Generator) -> _Directions:
        light = _LIGHT + _LIGHT_SPREAD * rng.normal(size=(_LIGHT_RAYS, 3))
        sky = rng.normal(size=(_SKY_RAYS, 3))
        return _Directions(*(d / np.linalg.norm(d, axis=1, keepdims=True) for d in (light, sky)))


def _shade(
    camera: Camera, direction: np.ndarray, capsules: Capsules, casters: Capsules, towards: _Directions
) -> np.ndarray:
    """Colour `[R, 3]`, linear, of rays from the camera."""
    eye = np.broadcast_to(np.array(camera.eye, float), direction.shape)
    distance, index = nearest(eye, direction, capsules)
    with np.errstate(divide="ignore"):
        ground = np.where(direction[:, 2] < -1e-6, -camera.eye[2] / direction[:, 2], _FAR)
    on_floor = ground < distance
    distance = np.minimum(distance, ground)
    colour = np.broadcast_to(_SKY, direction.shape).copy()
    seen = np.flatnonzero(distance < 60)
    if not len(seen):
        return colour
    point = eye[seen] + distance[seen, None] * direction[seen]
    normal, base, glow = _surface(point, index[seen], on_floor[seen], capsules)
    shadow, open_sky = _visibility(point + 1e-4 * normal, normal, casters, towards)
    lambert = np.clip(normal @ _LIGHT, 0, None) * shadow
    half = _LIGHT - direction[seen]
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    gloss = np.where(on_floor[seen], 0.0, 0.30 * np.clip((normal * half).sum(1), 0, None) ** 48 * shadow)
    sky = (0.62 + 0.38 * normal[:, 2]) * open_sky
    lit = base * (0.5 * sky + 0.62 * lambert)[:, None] + gloss[:, None]
    lit = np.where(on_floor[seen, None], _SKY * (0.42 * open_sky + 0.58 * shadow)[:, None] * base, lit)
    lit = lit * (1 - glow[:, None]) + base * glow[:, None]
    # The floor dissolves into the background.
    away = np.linalg.norm(point[:, :2] - camera.target[:2], axis=1)
    fade = np.where(on_floor[seen], np.clip((away - 1.5) / 3.0, 0, 1), 0)[:, None]
    colour[seen] = lit * (1 - fade) + _SKY * fade
    return colour


def _surface(
    point: np.ndarray, index: np.ndarray, on_floor: np.ndarray, capsules: Capsules
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal, base colour and glow at points of the scene."""
    start, end = capsules.start[index], capsules.end[index]
    axis = end - start
    length = np.einsum("ri,ri->r", axis, axis)
    share = np.clip(np.einsum("ri,ri->r", point - start, axis) / np.maximum(length, 1e-12), 0, 1)
    normal = point - (start + share[:, None] * axis)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    normal = np.where(on_floor[:, None], [0.0, 0.0, 1.0], normal)
    base = np.where(on_floor[:, None], _floor_colour(point)[:, None], capsules.colour[index])
    return normal, base, np.where(on_floor, 0.0, capsules.glow[index])


def _floor_colour(point: np.ndarray) -> np.ndarray:
    """White with thin grid lines every 20 cm."""
    offset = np.abs((point[:, :2] + 0.1) % 0.2 - 0.1).min(axis=1)
    return np.asarray(1 - 0.22 * np.clip(1 - offset / 0.0035, 0, 1))


def _visibility(
    point: np.ndarray, normal: np.ndarray, casters: Capsules, towards: _Directions
) -> tuple[np.ndarray, np.ndarray]:
    """Share of the light and of the sky `[R]` that points see."""
    light, sky, weight = np.zeros(len(point)), np.zeros(len(point)), np.full(len(point), 1e-9)
    for direction in towards.light:
        facing = np.flatnonzero(normal @ direction > 0)
        light[facing] += nearest(point[facing], _repeated(direction, len(facing)), casters)[0] >= _FAR
    for direction in towards.sky:
        cosine = normal @ direction
        facing = np.flatnonzero(cosine > 0)
        # Far surfaces hardly darken: an open scene would otherwise look sooty.
        distance = nearest(point[facing], _repeated(direction, len(facing)), casters)[0]
        sky[facing] += cosine[facing] * np.clip(distance / _OCCLUSION_M, 0, 1)
        weight[facing] += cosine[facing]
    return light / len(towards.light), sky / weight


def _repeated(direction: np.ndarray, count: int) -> np.ndarray:
    return np.broadcast_to(direction, (count, 3))
