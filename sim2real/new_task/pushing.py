"""What a task of pushing needs of a model: a body that lies loose where the tool gets to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.new_task.inspection import Inspection
from sim2real.world.objects import ObjectAddresses

if TYPE_CHECKING:
    from sim2real.new_task.postures import Reach

_ROOM_M = 0.02
"""How far above and below its height at home the object's goals reach."""


@dataclass(frozen=True)
class Pushed:
    """The object that goals are about."""

    name: str
    low: list[float]
    """Lower corner of the rectangle of its starts and goals, x and y in m."""
    high: list[float]
    height: tuple[float, float]
    """Least and largest z of its goals, m."""


def cannot_push(inspection: Inspection) -> str:
    """Why nothing can be pushed; empty where something can."""
    if _loose(inspection):
        return ""
    if any(not inspection.model.body(body).name for body in inspection.objects):
        return "a body of this model lies loose but has no name, and --kind push needs one; name it in the MJCF"
    return (
        "no body of this model lies loose (on a free joint, or on slides along x and y), and --kind push needs one; "
        "add it"
    )


def find_pushed(inspection: Inspection, qpos: np.ndarray, found: Reach, guesses: list[str]) -> Pushed:
    """The loose body that the tool gets nearest to, of a model that `cannot_push` has nothing against."""
    model, data = inspection.model, mujoco.MjData(inspection.model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    bodies = _loose(inspection)
    low, high = (np.array(corner)[:2] for corner in found.boxes[0])
    middle = (low + high) / 2
    body = min(bodies, key=lambda body: float(np.linalg.norm(data.xpos[body][:2] - middle)))
    name, height = model.body(body).name, float(data.xpos[body][2])
    others = [model.body(other).name for other in bodies if other != body]
    beside = f"; {', '.join(others)} also lie there" if others else ""
    guesses.append(f"object: {name!r}, anywhere on the rectangle that the tool reaches{beside}")
    corners = [[round(float(value), 3) for value in corner] for corner in (low, high)]
    return Pushed(name, corners[0], corners[1], (round(height - _ROOM_M, 3), round(height + _ROOM_M, 3)))


def _loose(inspection: Inspection) -> list[int]:
    """Named bodies of the world that lie in it, or slide along x and y; not those on hinges, say."""
    model = inspection.model
    return [body for body in sorted(inspection.objects) if model.body(body).name and _can_be_put(model, body)]


def _can_be_put(model: mujoco.MjModel, body: int) -> bool:
    try:
        ObjectAddresses.of(model, model.body(body).name)
    except ShoalError:
        return False
    return True
