"""A picture of a robot and its goal, drawn by MuJoCo: without a display where MUJOCO_GL is `egl` or `osmesa`."""

from __future__ import annotations

import mujoco
import numpy as np

from sim2real.errors import ShoalError, first_line
from sim2real.tasks.task import Task

_SIDE_PX = 480
_GOAL_RGBA = (0.11, 0.62, 0.47, 0.6)


class Picture:
    """Draws states of one task's model; the goal, where it is a place, is a ball as large as its coarse tolerance."""

    def __init__(self, task: Task) -> None:
        self._task, self._data = task, mujoco.MjData(task.model)
        try:
            self._renderer = mujoco.Renderer(task.model, _SIDE_PX, _SIDE_PX)
        except Exception as error:  # MuJoCo's errors differ with the library that is missing.
            raise ShoalError(
                "render_mode rgb_array: this machine cannot draw here; set MUJOCO_GL=egl or osmesa before the first "
                f"import of mujoco ({first_line(error)})."
            ) from error

    def draw(self, qpos: np.ndarray, request: np.ndarray) -> np.ndarray:
        """The model at `qpos` `[nq]` and the place that is asked for by `request` `[K]`."""
        self._data.qpos[:] = qpos
        mujoco.mj_forward(self._task.model, self._data)
        self._renderer.update_scene(self._data)
        contract = self._task.contract
        if contract.goal.box() is not None:
            place = np.zeros(3)
            size = min(contract.goal.readings(contract)[0].encoded_size, 3)
            place[: 3 if size == 3 else 2] = request[: 3 if size == 3 else 2]
            self._add_ball(place, contract.goal.coarse_position_m)
        return np.asarray(self._renderer.render())

    def _add_ball(self, place: np.ndarray, radius_m: float) -> None:
        scene = self._renderer.scene
        if scene.ngeom == scene.maxgeom:
            return
        size, turn, colour = np.full(3, radius_m), np.eye(3).ravel(), np.array(_GOAL_RGBA, np.float32)
        mujoco.mjv_initGeom(scene.geoms[scene.ngeom], mujoco.mjtGeom.mjGEOM_SPHERE, size, place, turn, colour)
        scene.ngeom += 1

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()
