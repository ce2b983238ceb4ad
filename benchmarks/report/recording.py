"""Records a policy file moving a simulated arm from goal to goal, as capsules that any renderer can draw.

    recording = record(Path("student.onnx"), goals)
    recording.segments                       # [F, K, 2, 3] m, ends of every capsule at every control step

The arm is the robot's own collision geometry, so a picture needs no meshes and no OpenGL. Spheres are capsules
of length zero. Shapes: F frames (control steps), K drawn geoms.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from runtime.control.mujoco_controller import Controller
from runtime.goals.messages import GoalPose
from sim2real.errors import ShoalError
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.goal_pool import GoalPool
from sim2real.tasks.task import Task, load_task

_DWELL_S = 0.4
_TENTHS_OF_MM = 1e4


@dataclass(frozen=True)
class Visit:
    """One goal of a recording."""

    position: tuple[float, float, float]
    """m."""
    orientation_wxyz: tuple[float, float, float, float]
    first_frame: int
    reached_frame: int | None
    """When it had been held for the contract's `goal.hold_s`; None if it never was."""


@dataclass(frozen=True)
class Recording:
    """An arm visiting goals."""

    control_dt_s: float
    radius: np.ndarray
    """`[K]` m."""
    colour: np.ndarray
    """`[K, 3]` in [0, 1]."""
    segments: np.ndarray
    """`[F, K, 2, 3]` m."""
    tool_position: np.ndarray
    """`[F, 3]` m."""
    tool_orientation: np.ndarray
    """`[F, 4]` wxyz."""
    distance_m: np.ndarray
    """`[F]`, tool to goal."""
    angle_deg: np.ndarray
    """`[F]`."""
    reachability: np.ndarray
    """`[F]`, the policy's own estimate that it reaches the goal, 0 to 1."""
    tick_us: np.ndarray
    """`[F]`, readings, inference and safety of each control tick."""
    visits: tuple[Visit, ...]
    tolerance_m: float

    def as_json(self) -> dict[str, Any]:
        """Compact plain data for the page: 16-bit numbers as base64."""
        tool = np.concatenate([self.tool_position * _TENTHS_OF_MM, self.tool_orientation * 32767], axis=1)
        # Everything that ought to be in view: the arm in every pose, every goal, the floor below.
        points = np.concatenate(
            [self.segments.reshape(-1, 3), [visit.position for visit in self.visits], np.zeros((1, 3))]
        )
        low, high = points.min(axis=0), points.max(axis=0)
        return {
            "dt_s": self.control_dt_s,
            "tolerance_m": self.tolerance_m,
            "radius": [round(float(r), 4) for r in self.radius],
            "colour": np.round(self.colour, 3).tolist(),
            "segments": _packed(self.segments * _TENTHS_OF_MM),
            "tool": _packed(tool),
            "distance_mm": np.round(self.distance_m * 1e3, 1).tolist(),
            "angle_deg": np.round(self.angle_deg, 1).tolist(),
            "reachability": np.round(self.reachability, 2).tolist(),
            "visits": [
                {
                    "position": [round(x, 4) for x in visit.position],
                    "quaternion": [round(x, 5) for x in visit.orientation_wxyz],
                    "first": visit.first_frame,
                    "reached": visit.reached_frame,
                }
                for visit in self.visits
            ],
            "camera": {
                "azimuth": -0.95,
                "elevation": 0.34,
                "distance": round(float(2.75 * max(high - low)) + 0.3, 3),
                "target": [round(float(x), 3) for x in (low + high) / 2 * [1, 1, 0.92]],
            },
        }


def goals_from_pool(pool: GoalPool, count: int) -> list[GoalPose]:
    """The first `count` tool poses of a pool as goal messages."""
    requests = pool.goal[:count].tolist()
    return [GoalPose(position=tuple(r[:3]), orientation_wxyz=tuple(r[3:]) or None) for r in requests]


def record(policy: Path, goals: Sequence[GoalPose], *, task: Task | None = None, longest_s: float = 5.0) -> Recording:
    """Visit `goals` in turn with the in-process controller, from home, and keep every control step."""
    if not goals:
        raise ShoalError("recording: give at least one goal.")
    controller = Controller(policy)
    task = task or load_task(controller.contract.task)
    stage = _Stage(task, controller)
    visits = [stage.visit(goal, longest_s) for goal in goals]
    radius, colour = stage.geometry.looks(task.model)
    return Recording(
        control_dt_s=task.contract.timing.control_dt_s,
        radius=radius,
        colour=colour,
        segments=np.stack(stage.segments),
        tool_position=np.stack(stage.tool_position),
        tool_orientation=np.stack(stage.tool_orientation),
        distance_m=np.array(stage.distance_m),
        angle_deg=np.array(stage.angle_deg),
        reachability=np.array(stage.reachability),
        tick_us=np.array(stage.tick_us),
        visits=tuple(visits),
        tolerance_m=task.contract.goal.coarse_position_m,
    )


class Geometry:
    """Which geoms of a model are drawn, and where their capsule ends are."""

    def __init__(self, model: mujoco.MjModel) -> None:
        drawn = (mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER)
        # Mocap bodies are markers, not the robot.
        on_robot = model.body_mocapid[model.geom_bodyid] < 0
        self.ids = np.flatnonzero(np.isin(model.geom_type, drawn) & on_robot)
        if not len(self.ids):
            raise ShoalError("recording: the MJCF has no capsules, spheres or cylinders to draw.")
        long = model.geom_type[self.ids] != mujoco.mjtGeom.mjGEOM_SPHERE
        self._half_length = np.where(long, model.geom_size[self.ids, 1], 0.0)

    def looks(self, model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
        """Radii `[K]` m and colours `[K, 3]`."""
        material, colour = model.geom_matid[self.ids], model.geom_rgba[self.ids, :3].copy()
        colour[material >= 0] = model.mat_rgba[material[material >= 0], :3]
        return model.geom_size[self.ids, 0].copy(), colour

    def ends(self, data: mujoco.MjData) -> np.ndarray:
        """`[K, 2, 3]` m."""
        centre = data.geom_xpos[self.ids]
        half = data.geom_xmat[self.ids].reshape(-1, 3, 3)[:, :, 2] * self._half_length[:, None]
        return np.stack([centre - half, centre + half], axis=1)


class _Stage:
    """The simulated arm and what was seen of it so far."""

    def __init__(self, task: Task, controller: Controller) -> None:
        self._model, self._controller = task.model, controller
        self._addresses = Addresses.of(task.model, task.contract.robot)
        self._data = self._addresses.home_data(task.model)
        self._scene, self._tool = task.scene, task.contract.robot.end_effector_frame or "tool"
        self._timing = task.contract.timing
        self.geometry = Geometry(task.model)
        self.segments: list[np.ndarray] = []
        self.tool_position: list[np.ndarray] = []
        self.tool_orientation: list[np.ndarray] = []
        self.distance_m: list[float] = []
        self.angle_deg: list[float] = []
        self.reachability: list[float] = []
        self.tick_us: list[float] = []

    def visit(self, goal: GoalPose, longest_s: float) -> Visit:
        """Pursue one goal until it is reached and a little longer, or until time is up."""
        controller, dt = self._controller, self._timing.control_dt_s
        controller.set_goal(goal)
        first, reached = len(self.segments), None
        for step in range(round(longest_s / dt)):
            self._control_step()
            if reached is None and controller.status.reached:
                reached = first + step
            if reached is not None and first + step - reached >= round(_DWELL_S / dt):
                break
        orientation = goal.quaternion() or controller.contract.default_orientation_wxyz
        return Visit(goal.position, orientation, first, reached)

    def _control_step(self) -> None:
        data, controller = self._data, self._controller
        for step in range(self._timing.substeps):
            started = time.perf_counter_ns()
            data.ctrl[:] = controller.step(data)
            if step == 0:
                self.tick_us.append((time.perf_counter_ns() - started) / 1e3)
                self._keep()
            mujoco.mj_step(self._model, data)

    def _keep(self) -> None:
        """The controller brought all poses up to date with `qpos` on this tick."""
        status = self._controller.status
        self.segments.append(self.geometry.ends(self._data))
        self.tool_position.append(self._data.site_xpos[self._addresses.site].copy())
        self.tool_orientation.append(self._scene.simulated([self._data]).orientation(np, self._tool)[0])
        self.distance_m.append(status.distance_m or 0.0)
        self.angle_deg.append(status.angle_deg or 0.0)
        self.reachability.append(status.reachability or 0.0)


def _packed(values: np.ndarray) -> str:
    """Rounded to little-endian 16-bit integers, base64."""
    limited = np.clip(np.round(values), -32768, 32767)
    return base64.b64encode(limited.astype("<i2").tobytes()).decode()
