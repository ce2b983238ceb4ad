"""The robot, its workspace and the goal that is being set, in a viser scene."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from runtime.goals.markers import markers
from runtime.goals.resolve import is_one_pose, middle_goal
from runtime.page.config import require_viser
from runtime.page.placing import Placing
from runtime.protocol.snapshot import Snapshot
from runtime.robot.model import load_model
from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Readings
from sim2real.contract import Contract, Quaternion, Vector3
from sim2real.world.boxes import box_edges

Pose = tuple[Vector3, Quaternion]
"""Position in m and orientation wxyz, in the goal's frame."""

_NOT_TURNED = (1.0, 0.0, 0.0, 0.0)
_AROUND_A_ROBOT = (-0.5, -0.5, 0.0), (0.5, 0.5, 1.0)
"""What is looked at where goals are no places, m."""
_RING_SEGMENTS = 48
_OVER_GROUND_M = 0.01
_GOAL_BODY = "goal"
_HIDDEN_GROUP = 5
_ABOVE_A_TABLE = np.array([0.0, 0.0, 0.8])
"""What is looked at, m."""
_GOAL_COLOUR = (242, 115, 25)
_BOX_COLOUR = (148, 163, 184)
_FLOOR_COLOUR = (214, 221, 230)


class RobotScene:
    """The contract's robot, moved by snapshots. Raises `ShoalError` when its model is not the contract's."""

    def __init__(self, server: Any, contract: Contract, mjcf: Path | None) -> None:
        model = load_model(contract, mjcf)
        _hide_goal(model)
        self._robot = MujocoRobot(model, contract)
        self._data = self._robot.addresses.home_data(model)
        self._contract, self._placing = contract, Placing(self._robot, contract)
        self._readings = Readings.of(contract)
        self._drawn: tuple[Any, ...] = ()
        _, mjviser = require_viser()
        self._scene = mjviser.ViserMujocoScene(server, model, num_envs=1)
        self._scene.camera_tracking_enabled = False
        box = contract.goal.box()
        low, high = map(np.array, _AROUND_A_ROBOT if box is None else box)
        if box is not None:
            server.scene.add_line_segments(
                "/workspace", points=box_edges(low, high), colors=_BOX_COLOUR, thickness=1.0, thickness_units="screen"
            )
        for name in _floors(model):  # endless and dark; this one fades
            server.scene.remove_by_name(name)
        server.scene.add_grid(
            "/floor",
            infinite_grid=True,
            cell_size=0.1,
            section_size=0.5,
            cell_color=_FLOOR_COLOUR,
            section_color=_FLOOR_COLOUR,
            fade_distance=5.0,
            fade_strength=2.0,
            fade_from="origin",
        )
        if contract.tracked is not None:  # the box lies flat on a table, and the robot stands above it
            high = np.maximum(high, low + _ABOVE_A_TABLE)
        self._middle = (low + high) / 2 * np.array([0.7, 1.0, 0.75])
        self._size_m = float(np.linalg.norm(high - low))
        self._goals = add_markers(server.scene, contract)
        self.brought: Pose | None = None
        """Of what is brought to goals: the tool, an object, a base; None where goals are no pose of one thing."""
        self._draw()

    def aim(self, camera: Any) -> None:
        """Robot and workspace fill the picture, seen from the front right and a little from above.

        On an upright screen the panel covers the lower part, so the robot goes into the upper one.
        """
        upright = camera.aspect < 1.0
        distance = self._size_m * (1.6 if upright else 1.0)
        look_at = self._middle - np.array([0.0, 0.0, 0.5 * self._size_m if upright else 0.0])
        camera.position = look_at + distance * np.array([0.75, -0.75, 0.4])
        camera.look_at = look_at  # last: setting the position moves it along

    def update(self, snapshot: Snapshot) -> None:
        """Move robot and goal marker to where they are; draws only what changed."""
        wanted = snapshot.readings, snapshot.goal
        if wanted == self._drawn or not self._placing.put(self._data.qpos, snapshot.readings):
            return
        self._drawn = wanted
        request = [math.nan if value is None else value for part in snapshot.goal.values() for value in part]
        places = markers(self._contract, request) if request else ()
        for index, handle in enumerate(self._goals):
            handle.visible = index < len(places)
            if handle.visible:
                handle.position = places[index].position
                handle.wxyz = places[index].orientation_wxyz or _NOT_TURNED
        self._draw()

    def _draw(self) -> None:
        mujoco.mj_kinematics(self._robot.model, self._data)
        self.brought = self._where_it_is()
        self._scene.update_from_mjdata(self._data)

    def _where_it_is(self) -> Pose | None:
        if not is_one_pose(self._contract):
            return None
        self._robot.read(self._data, self._readings)
        self._robot.read_simulated(self._data, self._readings)
        (place,) = markers(self._contract, self._contract.goal.achieved(np, self._readings.named).tolist())
        return place.position, place.orientation_wxyz or _NOT_TURNED


def add_markers(scene: Any, contract: Contract) -> list[Any]:
    """Frames, hidden at first, one for each place that a goal of the contract says: a ball, with axes where goals say
    how to be turned there; on the ground a ring of the coarse tolerance, with an arrow.
    """
    handles = []
    for index, place in enumerate(markers(contract, middle_goal(contract, "middle").request)):
        name, turned = f"/goal/{index}", place.orientation_wxyz is not None
        axes = turned and not place.flat
        handles.append(
            scene.add_frame(
                name, show_axes=axes, axes_length=0.09, axes_radius=0.003, origin_radius=0.001, visible=False
            )
        )
        if place.flat:
            lines = ring(contract.goal.coarse_position_m, arrow=turned)
            scene.add_line_segments(
                f"{name}/ring", points=lines, colors=_GOAL_COLOUR, thickness=4.0, thickness_units="screen"
            )
        else:
            scene.add_icosphere(f"{name}/ball", radius=0.015, color=_GOAL_COLOUR)
    return handles


def ring(radius_m: float, *, arrow: bool) -> np.ndarray:
    """Line segments `[n, 2, 3]` of a circle just over the ground, with an arrow along x where that says something."""
    angle = np.linspace(0, 2 * np.pi, _RING_SEGMENTS + 1)
    points = np.stack([np.cos(angle), np.sin(angle), np.full_like(angle, _OVER_GROUND_M / radius_m)], axis=-1)
    lines = np.stack([points[:-1], points[1:]], axis=1)
    if arrow:
        tip, tail = np.array([1.6, 0, points[0, 2]]), np.array([0, 0, points[0, 2]])
        wings = [tip + np.array([-0.4, side, 0]) for side in (-0.3, 0.3)]
        lines = np.concatenate([lines, [[tail, tip]], [[wing, tip] for wing in wings]])
    return np.asarray(radius_m * lines, np.float32)


class Gizmo:
    """What one browser drags to say where the tool, or the object, should go; kept inside the workspace."""

    def __init__(self, client: Any, contract: Contract, start: Pose) -> None:
        self._low, self._high = map(np.array, contract.goal.box() or (np.full(3, -np.inf), np.full(3, np.inf)))
        self.turns = contract.turns
        self.flat = all(reading.axes < 3 for reading in contract.goal.readings(contract))
        self.handle = client.scene.add_transform_controls(
            "/goal_to_send",
            scale=0.25,
            line_width=5.0,
            active_axes=(True, True, not self.flat),
            disable_rotations=not self.turns,
            depth_test=False,
            position=self.clip(start[0]),
            wxyz=start[1],
        )

    @property
    def pose(self) -> Pose:
        """Where it is."""
        position, turn = as_pose(self.clip(self.handle.position), self.handle.wxyz)
        return position, about_vertical(turn) if self.flat else turn

    def place(self, pose: Pose) -> None:
        """Move it."""
        self.handle.position, self.handle.wxyz = self.clip(pose[0]), np.array(pose[1])

    def clip(self, position: Any) -> np.ndarray:
        """The nearest point of the workspace, `[3]` m."""
        return np.clip(np.asarray(position, np.float64), self._low, self._high)


def as_pose(position: Any, quaternion: Any) -> Pose:
    """Plain numbers from arrays `[3]` and `[4]`."""
    x, y, z = (float(value) for value in position)
    w, a, b, c = (float(value) for value in quaternion)
    return (x, y, z), (w, a, b, c)


def about_vertical(quaternion: Quaternion) -> Quaternion:
    """The part of a rotation wxyz that is a turn about the vertical."""
    w, _, _, z = quaternion
    length = math.hypot(w, z)
    return (w / length, 0.0, 0.0, z / length) if length > 1e-6 else _NOT_TURNED


def _hide_goal(model: mujoco.MjModel) -> None:
    """Leave the goal out where the model has the body: the page's own marker can disappear."""
    body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, _GOAL_BODY)
    model.geom_group[model.geom_bodyid == body] = _HIDDEN_GROUP
    model.site_group[model.site_bodyid == body] = _HIDDEN_GROUP


def _floors(model: mujoco.MjModel) -> list[str]:
    """Under which names mjviser draws the model's planes."""
    planes = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)
    bodies = model.geom_bodyid[planes]
    return [
        f"/fixed_bodies/{model.body(int(body)).name}/{model.geom(int(plane)).name}"
        for body, plane in zip(bodies, planes, strict=True)
    ]
