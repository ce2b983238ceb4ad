"""A moving picture of an evaluation: a few arms side by side, each with its goal, as an animated GIF.

Drawn from the joint positions that the observations hold, so it needs neither OpenGL nor a display, and works for
every backend. `F` frames, `E` episodes, `S` line segments of the robot; the picture's coordinates are m until drawn.
"""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
from PIL import Image, ImageDraw

from sim2real.backends.base import Rollout
from sim2real.contract.interface import joint_position, pose_errors
from sim2real.files import write_file
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import Task

_AZIMUTH, _ELEVATION = np.radians(-50.0), np.radians(22.0)
_PANEL_PX, _SMOOTHING = 200, 2
"""Side of one arm's panel; drawn larger by the second number and scaled down, which smooths edges."""
_ROBOT, _TOOL, _MOVING, _THERE, _OBJECT = "#5b6770", "black", "#d95f02", "#1b9e77", "#3b6fb6"
_EVERY = 2
"""Control steps per frame."""


def write_video(task: Task, rollout: Rollout, path: Path, *, episodes: int = 4) -> None:
    """Draw the first `episodes` environments of a rollout of one whole episode, in real time; replaces `path` at once.

    The goal is a ring as large as the coarse position tolerance, green while the tool, or the object (a blue disc), is
    within the coarse tolerances.
    """
    contract = task.contract
    achieved, goal, observation = (
        np.asarray(part)[::_EVERY, :episodes] for part in (rollout.achieved, rollout.goal, rollout.observation)
    )
    position, angle = pose_errors(contract, achieved, goal)
    there = (position <= contract.goal.coarse_position_m) & (angle <= contract.goal.coarse_angle_deg)
    robot = _project(_segments(task, joint_position(contract, observation)))
    camera = _Camera(robot, _project(goal[..., :3]), contract.goal.coarse_position_m)
    things = None if contract.goal.object_body is None else _project(achieved)
    frames = [
        camera.frame(robot[i], _project(goal[i, :, :3]), there[i], None if things is None else things[i])
        for i in range(len(robot))
    ]
    how = {"duration": round(1e3 * _EVERY * contract.timing.control_dt_s), "loop": 0, "append_images": frames[1:]}
    write_file(path, lambda beside: frames[0].save(beside, format="GIF", save_all=True, **how))


class _Camera:
    """One scale for all panels, so that everything stays in view."""

    def __init__(self, robot: np.ndarray, goal: np.ndarray, ring_m: float) -> None:
        points = np.concatenate([robot.reshape(-1, 2), goal.reshape(-1, 2)])
        low, high = points.min(axis=0) - ring_m, points.max(axis=0) + ring_m
        self._side_px = _PANEL_PX * _SMOOTHING
        self._scale = self._side_px / float((high - low).max())
        self._centre, self._ring_px = (low + high) / 2, ring_m * self._scale

    def frame(
        self, robot: np.ndarray, goal: np.ndarray, there: np.ndarray, things: np.ndarray | None = None
    ) -> Image.Image:
        """Robots `[E, S, 2, 2]`, goals `[E, 2]`, whether they are reached `[E]`, and objects `[E, 2]` if there are any,
        drawn side by side.
        """
        image = Image.new("RGB", (len(robot) * self._side_px, self._side_px), "white")
        draw, thick = ImageDraw.Draw(image), round(0.022 * self._side_px)
        for panel, (links, target, reached) in enumerate(zip(robot, goal, there, strict=True)):
            for start, end in links:
                draw.line([self._pixel(panel, start), self._pixel(panel, end)], _ROBOT, width=thick)
                draw.circle(self._pixel(panel, end), thick / 2, _ROBOT)
            draw.circle(self._pixel(panel, links[-1, 1]), 0.7 * thick, _TOOL)
            colour = _THERE if reached else _MOVING
            draw.circle(self._pixel(panel, target), self._ring_px, outline=colour, width=thick // 2)
            if things is not None:
                draw.circle(self._pixel(panel, things[panel]), 0.6 * self._ring_px, _OBJECT)
        return image.resize((image.width // _SMOOTHING, image.height // _SMOOTHING), Image.Resampling.LANCZOS)

    def _pixel(self, panel: int, point: np.ndarray) -> tuple[float, float]:
        x, y = (point - self._centre) * self._scale + self._side_px / 2
        return panel * self._side_px + float(x), self._side_px - float(y)


def _segments(task: Task, joints: np.ndarray) -> np.ndarray:
    """Robot links as line segments `[F, E, S, 2, 3]` m from joint positions `[F, E, J]` rad: from each body's parent to
    the body, and from the tool's body to the tool.
    """
    model, addresses = task.model, Addresses.of(task.model, task.contract)
    data = addresses.home_data(model)
    thing = -1 if addresses.object is None else addresses.object.body
    bodies = [body for body in range(1, model.nbody) if model.body_mocapid[body] < 0 and body != thing]
    out = np.zeros((*joints.shape[:2], len(bodies) + 1, 2, 3))
    for frame, episode in np.ndindex(*joints.shape[:2]):
        addresses.place(data.qpos, joints[frame, episode])
        mujoco.mj_kinematics(model, data)
        out[frame, episode, :-1] = np.stack([data.xpos[model.body_parentid[bodies]], data.xpos[bodies]], axis=1)
        out[frame, episode, -1] = data.xpos[addresses.body], data.site_xpos[addresses.site]
    return out


def _project(points: np.ndarray) -> np.ndarray:
    """Orthographic view from the side and above, `[..., 3]` to `[..., 2]`."""
    right = np.array([-np.sin(_AZIMUTH), np.cos(_AZIMUTH), 0.0])
    towards = np.array([*(np.cos(_ELEVATION) * np.array([np.cos(_AZIMUTH), np.sin(_AZIMUTH)])), np.sin(_ELEVATION)])
    return np.stack([points @ right, points @ np.cross(towards, right)], axis=-1)
