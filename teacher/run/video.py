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
from sim2real.contract import Contract
from sim2real.contract.interface import goal_errors, joint_position
from sim2real.files import write_file
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
    position, angle = goal_errors(contract, achieved, goal)
    there = (position <= contract.goal.coarse_position_m) & (angle <= contract.goal.coarse_angle_deg)
    brought, wanted = _place(contract, achieved), _place(contract, goal)
    robot = _project(_segments(task, observation, brought))
    camera = _Camera(robot, _project(wanted), contract.goal.coarse_position_m)
    about_tool = contract.goal.readings(contract)[0].source == "forward_kinematics"
    things = None if about_tool or contract.goal.box() is None else _project(brought)
    frames = [
        camera.frame(robot[i], _project(wanted[i]), there[i], None if things is None else things[i])
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


def _place(contract: Contract, vector: np.ndarray) -> np.ndarray:
    """Where goal vectors `[..., G]` are, `[..., 3]` m; the world's origin for goals that are no places."""
    if contract.goal.box() is None:
        return np.zeros((*vector.shape[:-1], 3))
    coordinates = min(contract.goal.readings(contract)[0].encoded_size, 3)
    if coordinates == 3:
        return vector[..., :3]
    return np.concatenate([vector[..., :2], np.zeros_like(vector[..., :1])], axis=-1)


def _segments(task: Task, observation: np.ndarray, brought: np.ndarray) -> np.ndarray:
    """Robot links as line segments `[F, E, S, 2, 3]` m from observations `[F, E, D]`: from each body's parent to
    the body, and from the tool's body to the tool. A base that floats stands where goals bring it, `[F, E, 3]` m.
    """
    model, contract, addresses = task.model, task.contract, task.scene.addresses
    joints = joint_position(np, contract, observation)
    data, floating = addresses.home_data(model), task.scene.free_joint(int(model.body_rootid[addresses.body]))
    links = [body for body in range(1, model.nbody) if model.body_mocapid[body] < 0 and _moves(task, body)]
    out = np.zeros((*joints.shape[:2], len(links) + 1, 2, 3))
    for frame, episode in np.ndindex(*joints.shape[:2]):
        addresses.place(data.qpos, joints[frame, episode])
        if floating is not None:
            start = int(model.jnt_qposadr[floating])
            data.qpos[start : start + 2] = brought[frame, episode, :2]
        mujoco.mj_kinematics(model, data)
        parents = data.xpos[model.body_parentid[links]]
        if floating is not None:
            parents[0] = data.xpos[links[0]]  # and not a line to the world's origin
        out[frame, episode, :-1] = np.stack([parents, data.xpos[links]], axis=1)
        tool = data.xpos[addresses.body] if addresses.site is None else data.site_xpos[addresses.site]
        out[frame, episode, -1] = data.xpos[addresses.body], tool
    return out


def _moves(task: Task, body: int) -> bool:
    """Whether a body belongs to the robot: it hangs on the same root as the body of the tool."""
    model = task.model
    return bool(model.body_rootid[body] == model.body_rootid[task.scene.addresses.body])


def _project(points: np.ndarray) -> np.ndarray:
    """Orthographic view from the side and above, `[..., 3]` to `[..., 2]`."""
    right = np.array([-np.sin(_AZIMUTH), np.cos(_AZIMUTH), 0.0])
    towards = np.array([*(np.cos(_ELEVATION) * np.array([np.cos(_AZIMUTH), np.sin(_AZIMUTH)])), np.sin(_ELEVATION)])
    return np.stack([points @ right, points @ np.cross(towards, right)], axis=-1)
