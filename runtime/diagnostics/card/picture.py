"""A drawing of a robot as SVG, from its model alone: neither OpenGL nor a display is needed.

Every geom is drawn as the convex outline of what it looks like from the side and above, farthest first.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.robots.kinematics import Addresses
from sim2real.world.map import GOAL, Map

_AZIMUTH_DEG, _ELEVATION_DEG, _INTO_A_MAZE_DEG = -50.0, 22.0, 68.0
_SIDE_PX, _EDGE = 420.0, 0.06
_HIDDEN_GROUP = 3
"""Geoms of this group and above are not shown by MuJoCo's viewer either."""
_GOALS = "#1b9e77"


class _View(NamedTuple):
    """Where the eye is; unit vectors `[3]` in the world."""

    towards: np.ndarray
    right: np.ndarray
    up: np.ndarray

    @staticmethod
    def of(elevation_deg: float) -> _View:
        """From the front right, at this angle above the ground."""
        azimuth, elevation = np.radians(_AZIMUTH_DEG), np.radians(elevation_deg)
        flat = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        towards = np.cos(elevation) * flat + np.array([0, 0, np.sin(elevation)])
        right = np.array([-flat[1], flat[0], 0.0])
        return _View(towards, right, np.cross(towards, right))

    def flat(self, points: np.ndarray) -> np.ndarray:
        """Points `[..., 3]` m as they are seen, `[..., 2]` m."""
        return np.stack([points @ self.right, points @ self.up], axis=-1)


def robot_svg(model: mujoco.MjModel, contract: Contract) -> str:
    """The robot at home, and where its goals are, if they are places: the cells that training draws from, or a box."""
    data = Addresses.of(model, contract.robot).home_data(model)
    mujoco.mj_kinematics(model, data)
    view = _View.of(_ELEVATION_DEG if contract.map is None else _INTO_A_MAZE_DEG)
    outlines = _outlines(model, data, view)
    box = contract.goal.box()
    edges = [] if box is None else _edges(np.array(box), view)
    if contract.map is not None:
        edges = [view.flat(square) for square in _squares(contract.map)]
    points = np.concatenate([*(outline for outline, _ in outlines), *edges])
    low, high = points.min(axis=0), points.max(axis=0)
    scale = _SIDE_PX / float((high - low).max())
    margin = _EDGE * _SIDE_PX

    def path(points: np.ndarray) -> str:
        x = margin + scale * (points[:, 0] - low[0])
        y = margin + scale * (high[1] - points[:, 1])
        return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))

    width, height = scale * (high - low) + 2 * margin
    shapes = [
        f'<path d="{path(outline)}Z" fill="{colour}" stroke="#2f3a44" stroke-width="0.8" stroke-linejoin="round"/>'
        for outline, colour in outlines
    ]
    shapes += [
        f'<path d="{path(edge)}" fill="none" stroke="{_GOALS}" stroke-width="1.2" stroke-dasharray="5 4"/>'
        for edge in edges
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img"><title>The robot at home; dashed, where goals may be</title>'
        f"{''.join(shapes)}</svg>\n"
    )


def _squares(maze: Map) -> np.ndarray:
    """A closed square in each cell with a goal, `[n, 5, 3]` m."""
    half = 0.35 * maze.cell_m
    corners = half * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0], [-1, -1, 0]])
    cells = maze.cells(GOAL)
    return np.concatenate([cells, np.zeros((len(cells), 1))], axis=1)[:, None] + corners


def _outlines(model: mujoco.MjModel, data: mujoco.MjData, view: _View) -> list[tuple[np.ndarray, str]]:
    """Convex outlines `[V, 2]` m of everything solid, farthest first, and their colours."""
    found = []
    for geom in range(model.ngeom):
        colour = _colour(model, geom)
        hidden = model.geom_group[geom] >= _HIDDEN_GROUP or model.body_mocapid[model.geom_bodyid[geom]] >= 0
        points = None if hidden or colour is None else _surface(model, geom)
        if points is None:
            continue
        world = data.geom_xpos[geom] + points @ data.geom_xmat[geom].reshape(3, 3).T
        found.append((float(world.mean(axis=0) @ view.towards), _hull(view.flat(world)), str(colour)))
    found.sort(key=lambda entry: entry[0])
    return [(outline, colour) for _, outline, colour in found]


def _colour(model: mujoco.MjModel, geom: int) -> str | None:
    """A colour as HTML writes it; None for what cannot be seen."""
    material = int(model.geom_matid[geom])
    rgba = model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]
    red, green, blue = (round(255 * float(share)) for share in rgba[:3])
    return None if rgba[3] == 0 else f"#{red:02x}{green:02x}{blue:02x}"


def _surface(model: mujoco.MjModel, geom: int) -> np.ndarray | None:
    """Points `[V, 3]` m on a geom, in its own frame, whose hull looks like it; None for planes and fields."""
    size, kind = model.geom_size[geom], mujoco.mjtGeom(int(model.geom_type[geom]))
    ball = _ball()
    match kind:
        case mujoco.mjtGeom.mjGEOM_SPHERE:
            return np.asarray(ball * size[0])
        case mujoco.mjtGeom.mjGEOM_ELLIPSOID:
            return np.asarray(ball * size)
        case mujoco.mjtGeom.mjGEOM_CAPSULE:
            return np.concatenate([ball * size[0] + np.array([0, 0, end * size[1]]) for end in (-1, 1)])
        case mujoco.mjtGeom.mjGEOM_CYLINDER:
            turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            ring = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=-1) * size[0]
            return np.concatenate([ring + np.array([0, 0, end * size[1]]) for end in (-1, 1)])
        case mujoco.mjtGeom.mjGEOM_BOX:
            return np.asarray(np.array(list(product((-1, 1), repeat=3))) * size)
        case mujoco.mjtGeom.mjGEOM_MESH:
            mesh = int(model.geom_dataid[geom])
            first = int(model.mesh_vertadr[mesh])
            return np.asarray(model.mesh_vert[first : first + int(model.mesh_vertnum[mesh])])
        case _:
            return None


def _ball() -> np.ndarray:
    turn, lift = np.meshgrid(np.linspace(0, 2 * np.pi, 24, endpoint=False), np.linspace(-np.pi / 2, np.pi / 2, 13))
    points = np.stack([np.cos(lift) * np.cos(turn), np.cos(lift) * np.sin(turn), np.sin(lift)], axis=-1)
    return points.reshape(-1, 3)


def _edges(corners: np.ndarray, view: _View) -> list[np.ndarray]:
    """The edges of a box `[2, 3]` m, `[2, 2]` each; of a flat one those of its rectangle, twice."""
    found = []
    for axis in range(3):
        for others in product((0, 1), repeat=2):
            ends = np.insert(np.array([others, others]), axis, [0, 1], axis=1)
            line = np.take_along_axis(corners, ends, axis=0)
            found.append(view.flat(line))
    return found


def _hull(points: np.ndarray) -> np.ndarray:
    """The convex hull of points `[V, 2]`, counter-clockwise (A. M. Andrew's monotone chain, 1979)."""
    ordered = [tuple(point) for point in np.unique(points, axis=0)]

    def half(run: list[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for x, y in run:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        return chain

    return np.array([*half(ordered)[:-1], *half(ordered[::-1])[:-1]])
