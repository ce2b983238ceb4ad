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
        self._at, self._substeps = Addresses.of(task.model, task.contract.robot), task.contract.timing.substeps
        self._before: np.ndarray | None = None

    def follow(self, joint_position: np.ndarray) -> tuple[float, float, float]:
        """One control period, in which the arm moved to `[J]` rad; where the puck is then, m."""
        before = joint_position if self._before is None else self._before
        speed = (joint_position - before) / (self._substeps * self._model.opt.timestep)
        for step in range(1, self._substeps + 1):
            self._data.qpos[self._at.qpos] = before + (joint_position - before) * step / self._substeps
            self._data.qvel[self._at.dof] = speed
            self._data.ctrl[self._at.actuator] = self._data.qpos[self._at.qpos]
            mujoco.mj_step(self._model, self._data)
        self._before = joint_position.copy()
        mujoco.mj_kinematics(self._model, self._data)
        x, y, z = self._data.body("puck").xpos.tolist()
        return x, y, z
