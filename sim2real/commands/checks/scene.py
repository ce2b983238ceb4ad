"""The task as one HTML file to turn and zoom in a browser: its robot at one start after another, starts, and goals."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from sim2real.child_process import free_port
from sim2real.files import write_text
from sim2real.tasks.task import Task
from sim2real.world.boxes import box_edges

_STARTS = 12
"""At which the robot is shown, one after the other."""
_EACH_S = 1.0
_POINT = 0.004
"""Of the width of all that is shown."""
_BOX_COLOUR = (148, 163, 184)
_FAINT = 0.4
"""Size of the points of random postures, among which the robot stands, to that of others."""
_COLOURS = {"postures": (148, 163, 184), "starts": (37, 99, 235), "goals": (242, 115, 25)}


def scene(
    task: Task,
    rows: np.ndarray,
    points: dict[str, np.ndarray],
    box: tuple[tuple[float, ...], tuple[float, ...]] | None,
    path: Path,
) -> Path:
    """Write the file, which needs no server and no network, and return its path.

    `rows` `[P, nq]` are starts, at some of which the robot is shown in turn; `points` are places `[N, 3]` m by the name
    under which the browser lists them; `box` bounds the goals, if anything does. Needs `viser_installed`.
    """
    viser, mjviser = import_module("viser"), import_module("mjviser")
    port = free_port()
    with redirect_stdout(io.StringIO()):  # it prints a box
        server = viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
    try:
        robot = mjviser.ViserMujocoScene(server, task.model, num_envs=1)
        robot.camera_tracking_enabled = False
        width = _aim(server.initial_camera, points, box)
        for name, places in points.items():
            if len(places):
                size = _POINT * width * (_FAINT if name == "postures" else 1.0)
                server.scene.add_point_cloud(
                    f"/{name}", points=places.astype(np.float32), colors=_COLOURS[name], point_size=size
                )
        if box is not None:
            server.scene.add_line_segments(
                "/bounds of goals", points=_edges(box), colors=_BOX_COLOUR, thickness=2.0, thickness_units="screen"
            )
        page = _animated(server, robot, task, rows)
    finally:
        with redirect_stdout(io.StringIO()):
            server.stop()
    write_text(path, page)
    return path


def _animated(server: Any, robot: Any, task: Task, rows: np.ndarray) -> str:
    """HTML in which the robot stands at home, or at starts in turn."""
    data, shown = mujoco.MjData(task.model), rows[:_STARTS] if len(rows) else task.home.qpos[None]
    serializer = None
    for qpos in shown:
        data.qpos[:] = qpos
        mujoco.mj_kinematics(task.model, data)
        robot.update_from_mjdata(data)
        serializer = serializer or server.get_scene_serializer()
        serializer.insert_sleep(_EACH_S)
    assert serializer is not None
    return str(serializer.as_html())


def _aim(camera: Any, points: dict[str, np.ndarray], box: tuple[tuple[float, ...], tuple[float, ...]] | None) -> float:
    """Have all places in sight, from the front right and from above; how wide they lie, m."""
    corners = [*_edges(box).reshape(-1, 3)] if box is not None else []
    seen = np.array([*corners, *(place for places in points.values() for place in places), np.zeros(3)])
    low, high = seen.min(axis=0), seen.max(axis=0)
    width = max(1.0, float(np.linalg.norm(high - low)))
    camera.look_at = (low + high) / 2
    camera.position = (low + high) / 2 + width * np.array([0.5, -0.5, 0.6])
    return width


def _edges(box: tuple[tuple[float, ...], tuple[float, ...]]) -> np.ndarray:
    """The edges of a box in space, or of a rectangle on the ground, `[E, 2, 3]`."""
    low, high = (np.pad(np.array(corner, np.float32), (0, 3 - len(corner))) for corner in box)
    edges: np.ndarray = box_edges(low, high)
    edges = edges[np.abs(edges[:, 0] - edges[:, 1]).max(axis=1) > 0]
    return edges
