"""Postures of a robot: where it may stand at home, and what its tool reaches from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.new_task.inspection import Inspection, Mover
from sim2real.new_task.walking import Base
from sim2real.world.contacts import HomeContacts, contact_pairs

_INSIDE = 0.05
"""Share of its range by which a guessed home keeps clear of a joint's limits."""
_HALF_RANGE = {"hinge": 1.2, "slide": 0.3}
_OF_RANGE = 0.4
_TRIED = 400
_STANDING = 0.25
"""Share of the usual range within which something that stands starts, and at most so many rad."""
_PERCENTILES = (3.0, 97.0)


@dataclass(frozen=True)
class Reach:
    """Where random starts put the tools."""

    half_range: list[float]
    """Of each mover about home."""
    accepted: float
    """Share of the random postures in which nothing touches that doesn't touch at home."""
    boxes: list[tuple[list[float], list[float]]]
    """Of each tool, the lower and upper corner of what the middle of the postures reaches, m."""
    moved_m: list[float]
    """How far each tool gets along the axis along which it gets farthest."""


def inside_limits(model: mujoco.MjModel, qpos: np.ndarray, movers: Sequence[Mover]) -> np.ndarray:
    """The posture with every mover's joints inside their ranges."""
    inside = qpos.copy()
    for joint in (joint for mover in movers for joint in mover.joints):
        if model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
            margin = _INSIDE * (high - low)
            address = int(model.jnt_qposadr[joint])
            if not low <= inside[address] <= high:
                inside[address] = np.clip(inside[address], low + margin, high - margin)
    return inside


def choose_home(inspection: Inspection, movers: Sequence[Mover], tools: Sequence[str], start: np.ndarray) -> np.ndarray:
    """`start` `[nq]` where the arm can move from there in every direction and touches nothing; else the random posture
    from which it moves best.
    """
    model, rng = inspection.model, np.random.default_rng(0)
    data = mujoco.MjData(model)
    low, high = _middle(model, movers, start)
    where = [int(model.jnt_qposadr[joint]) for mover in movers for joint in mover.joints]
    best, choice = _worth(inspection, data, movers, tools, start), start
    others = []
    for _ in range(_TRIED):
        qpos = start.copy()
        qpos[where] = rng.uniform(low, high)
        others.append((_worth(inspection, data, movers, tools, qpos), qpos))
    most = max(worth for worth, _ in others)
    if best >= 0.3 * most > 0:
        return choice
    # Of the good ones the one that is least bent from where the MJCF has it.
    good = [qpos for worth, qpos in others if worth >= 0.7 * most]
    return min(good, key=lambda qpos: float(np.abs(qpos - start).sum()))


def _middle(model: mujoco.MjModel, movers: Sequence[Mover], start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = [], []
    for joint in (joint for mover in movers for joint in mover.joints):
        least, most = model.jnt_range[joint] if model.jnt_limited[joint] else (-1.5, 1.5)
        low.append(least + 0.2 * (most - least))
        high.append(most - 0.2 * (most - least))
    return np.array(low), np.array(high)


def _worth(
    inspection: Inspection, data: mujoco.MjData, movers: Sequence[Mover], tools: Sequence[str], qpos: np.ndarray
) -> float:
    """The least speed of a tool's joints, in the directions in which it can move at all; 0 where something touches."""
    model = inspection.model
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_collision(model, data)
    if contact_pairs(data):
        return 0.0
    dofs = [int(model.jnt_dofadr[joint]) for mover in movers for joint in mover.joints]
    worth = np.inf
    for tool in tools:
        jacobian = np.zeros((3, model.nv))
        mujoco.mj_jac(model, data, jacobian, None, place_of(inspection, data, tool), inspection.body_of(tool))
        values = np.linalg.svd(jacobian[:, dofs], compute_uv=False)
        worth = min(worth, float(np.prod(values[values > 1e-3 * values[0]])) if values[0] > 0 else 0.0)
    return worth


def place_of(inspection: Inspection, data: mujoco.MjData, tool: str) -> np.ndarray:
    """Where a site or body is, `[3]` m."""
    site = mujoco.mj_name2id(inspection.model, mujoco.mjtObj.mjOBJ_SITE, tool)
    return np.array(data.site_xpos[site] if site >= 0 else data.xpos[inspection.body_of(tool)])


def reach(
    inspection: Inspection, movers: Sequence[Mover], tools: Sequence[str], home: np.ndarray, *, base: Base | None = None
) -> Reach:
    """Ranges of random starts about home, narrowed until most touch nothing, and what the tools reach from them;
    `ShoalError` where all of them touch.

    A base starts lifted off the ground; what stands on it starts nearer to home.
    """
    model, rng, data = inspection.model, np.random.default_rng(1), mujoco.MjData(inspection.model)
    known = HomeContacts.of(model, home)
    spans = np.array([_half_range(model, mover) for mover in movers])
    if base is not None:
        spans, home = np.minimum(_STANDING * spans, _STANDING), home.copy()
        home[base.height_address] += base.lift_m
    for _ in range(6):
        places: list[list[np.ndarray]] = [[] for _ in tools]
        kept = 0
        for _ in range(_TRIED):
            data.qpos[:] = inside_limits(model, _moved(model, movers, home, rng.uniform(-spans, spans)), movers)
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_collision(model, data)
            if known.others(data):
                continue
            kept += 1
            for found, tool in zip(places, tools, strict=True):
                found.append(place_of(inspection, data, tool))
        if kept >= 0.3 * _TRIED:
            break
        spans = 0.7 * spans
    if not kept:
        raise ShoalError(
            "new-task: in every posture about home something touches that does not touch at home; give another home "
            "as the first keyframe, or move what stands in the robot's way."
        )
    boxes = [_box(np.array(found)) for found in places]
    moved = [float(np.ptp(found, axis=0).max()) for found in places]
    return Reach([float(f"{span:.2g}") for span in spans], kept / _TRIED, boxes, moved)


def _half_range(model: mujoco.MjModel, mover: Mover) -> float:
    joint = mover.joints[0]
    kind = "slide" if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE else "hinge"
    most = _HALF_RANGE[kind]
    return min(most, _OF_RANGE * float(np.ptp(model.jnt_range[joint]))) if model.jnt_limited[joint] else most


def _moved(model: mujoco.MjModel, movers: Sequence[Mover], home: np.ndarray, by: np.ndarray) -> np.ndarray:
    qpos = home.copy()
    for mover, amount in zip(movers, by, strict=True):
        for joint in mover.joints:
            qpos[int(model.jnt_qposadr[joint])] += amount
    return qpos


def _box(places: np.ndarray) -> tuple[list[float], list[float]]:
    """Around the middle of the places, at least 4 cm wide everywhere and not below the ground."""
    low, high = np.percentile(places, _PERCENTILES, axis=0)
    narrow = high - low < 0.04
    low, high = np.where(narrow, low - 0.02, low), np.where(narrow, high + 0.02, high)
    return [round(float(value), 3) for value in low], [round(float(value), 3) for value in high]
