"""A puck that only simulation has, beside an arm that is somewhere else: it is pushed by where that arm is measured."""

from __future__ import annotations

import mujoco
import numpy as np

from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import Task


class VirtualPuck:
    """The task's model with the arm put, physics step by physics step, on the way to where it was measured last."""

    def __init__(self, task: Task) -> None:
        self._model, self._data = task.model, mujoco.MjData(task.model)
        self._at = Addresses.of(task.model, task.contract.robot)
        self._before: tuple[np.ndarray, float] | None = None

    def follow(self, joint_position: np.ndarray, now_s: float) -> tuple[float, float, float]:
        """The arm moved to `[J]` rad by `now_s` on any steady clock; where the puck is then, m.

        As much time passes here as there, so that an arm that is seen late is not one that moved fast.
        """
        before, then_s = (joint_position, now_s) if self._before is None else self._before
        steps = max(1, round((now_s - then_s) / self._model.opt.timestep))
        speed = (joint_position - before) / (steps * self._model.opt.timestep)
        for step in range(1, steps + 1):
            self._data.qpos[self._at.qpos] = before + (joint_position - before) * step / steps
            self._data.qvel[self._at.dof] = speed
            self._data.ctrl[self._at.actuator] = self._data.qpos[self._at.qpos]
            mujoco.mj_step(self._model, self._data)
        self._before = joint_position.copy(), now_s
        mujoco.mj_kinematics(self._model, self._data)
        x, y, z = self._data.body("puck").xpos.tolist()
        return x, y, z
