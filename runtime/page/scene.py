"""The robot, its workspace and the goal that is being set, in a viser scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from runtime.page.config import require_viser
from runtime.protocol.snapshot import Snapshot
from runtime.robot.model import load_model
from runtime.robot.mujoco_robot import MujocoRobot
from sim2real.contract import Contract, Quaternion, Vector3
from sim2real.robots.objects import ObjectAddresses
from sim2real.terms.poses import Position

Pose = tuple[Vector3, Quaternion]
"""Position in m and orientation wxyz, in the goal's frame."""

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
        tracked = None if contract.tracked is None else contract.reading(contract.tracked)
        self._thing = ObjectAddresses.of(model, tracked.of) if isinstance(tracked, Position) else None
        self._drawn: tuple[Any, ...] = ()
        _, mjviser = require_viser()
        self._scene = mjviser.ViserMujocoScene(server, model, num_envs=1)
        self._scene.camera_tracking_enabled = False
        low, high = np.array(contract.goal.position_min_m), np.array(contract.goal.position_max_m)
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
        turns = contract.turns
        self._goal = server.scene.add_frame(
            "/goal", show_axes=turns, axes_length=0.09, axes_radius=0.003, origin_radius=0.001, visible=False
        )
        server.scene.add_icosphere("/goal/ball", radius=0.015, color=_GOAL_COLOUR)
        self.brought: Pose = self._where_it_is()
        """Of what is brought to goals: the tool, or the object."""
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
        wanted = (
            snapshot.joint_position,
            snapshot.object_position,
            snapshot.goal_position,
            snapshot.goal_orientation_wxyz,
        )
        if wanted == self._drawn or not snapshot.joint_position or None in snapshot.joint_position:
            return
        self._drawn = wanted
        self._robot.addresses.place(self._data.qpos, snapshot.joint_position)
        if self._thing is not None and snapshot.object_position and None not in snapshot.object_position:
            self._thing.put(self._data.qpos, np.array(snapshot.object_position, np.float64))
        self._goal.visible = bool(snapshot.goal_position)
        if snapshot.goal_position:
            self._goal.position, self._goal.wxyz = snapshot.goal_position, snapshot.goal_orientation_wxyz
        self._draw()

    def _draw(self) -> None:
        mujoco.mj_kinematics(self._robot.model, self._data)
        self.brought = self._where_it_is()
        self._scene.update_from_mjdata(self._data)

    def _where_it_is(self) -> Pose:
        if self._thing is not None:
            return as_pose(self._data.xpos[self._thing.body], self._data.xquat[self._thing.body])
        site = self._robot.addresses.site
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[site])
        return as_pose(self._data.site_xpos[site], quaternion)


class Gizmo:
    """What one browser drags to say where the tool, or the object, should go; kept inside the workspace."""

    def __init__(self, client: Any, contract: Contract, start: Pose) -> None:
        goal = contract.goal
        self._low, self._high = np.array(goal.position_min_m), np.array(goal.position_max_m)
        self.turns = contract.turns
        self.handle = client.scene.add_transform_controls(
            "/goal_to_send",
            scale=0.25,
            line_width=5.0,
            disable_rotations=not self.turns,
            depth_test=False,
            position=self.clip(start[0]),
            wxyz=start[1],
        )

    @property
    def pose(self) -> Pose:
        """Where it is."""
        return as_pose(self.clip(self.handle.position), self.handle.wxyz)

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


def box_edges(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The twelve edges of a box, `[12, 2, 3]`."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    pairs = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(corners[a] - corners[b]).sum() == 1]
    return np.asarray(low + corners[np.array(pairs)] * (high - low), np.float32)


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
