"""Where a task's object is inside a compiled model's arrays: the thing that goals are about when they are not about
the tool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import mujoco
import numpy as np

from sim2real.errors import ShoalError


@dataclass(frozen=True)
class ObjectAddresses:
    """Indices and offsets of one object that moves at least along x and y."""

    body: int
    """Into xpos."""
    qpos: np.ndarray
    """`[2]`, into qpos, of its motion along x and y."""
    origin: np.ndarray
    """`[2]` m, where it is in the world when those are zero."""
    height: int | None
    """Into qpos, of its motion along z; None where it only slides."""

    @classmethod
    def of(cls, model: mujoco.MjModel, name: str) -> Self:
        """Look the body up; `ShoalError` unless it hangs on the world by a free joint or by slides along x and y."""
        body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, name)
        if body < 0:
            names = [model.body(index).name for index in range(1, model.nbody)]
            raise ShoalError(f"free_body: the MJCF has no body {name!r}; it has {names}.")
        first = int(model.body_jntadr[body])
        joints = range(first, first + int(model.body_jntnum[body])) if first >= 0 else range(0)
        if model.body_parentid[body] == 0:
            free = [j for j in joints if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE]
            if free:
                start = int(model.jnt_qposadr[free[0]])
                return cls(body, np.array([start, start + 1]), np.zeros(2), start + 2)
            slides = [_slide_along(model, joints, axis) for axis in np.eye(3)[:2]]
            if all(slide is not None for slide in slides) and np.allclose(model.body_quat[body], [1, 0, 0, 0]):
                qpos = model.jnt_qposadr[slides].copy()
                return cls(body, qpos, model.body_pos[body, :2] - model.qpos0[qpos], None)
        raise ShoalError(
            f"free_body: body {name!r} must hang on the world by a free joint, or by slide joints along x and y."
        )

    def put(self, qpos: np.ndarray, position: np.ndarray) -> None:
        """Write into `qpos` `[nq]` what puts the object at `[3]` m."""
        qpos[self.qpos] = position[:2] - self.origin
        if self.height is not None:
            qpos[self.height] = position[2]


def _slide_along(model: mujoco.MjModel, joints: range, axis: np.ndarray) -> int | None:
    slide = (j for j in joints if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_SLIDE)
    return next((j for j in slide if np.allclose(model.jnt_axis[j], axis)), None)
