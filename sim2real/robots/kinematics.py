"""Where a contract's joints and tool are inside a compiled model's arrays, and the tool's pose from joint readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Self

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.robots.coordinates import Coordinate, passive_addresses, require_coordinate
from sim2real.robots.robot import Robot
from sim2real.rotations import conjugate, cross, quaternion_product, rotate


@dataclass(frozen=True)
class Addresses:
    """Indices into a model's arrays, in policy order, and how everything else stands."""

    coordinates: tuple[Coordinate, ...]
    """`[J]`."""
    site: int | None
    """The tool's site, of a robot that has one."""
    body: int
    """The body that carries the tool's site, or else the root of the robot's first joint."""
    rest_qpos: np.ndarray
    """`[nq]`, home of the whole model: where joints outside the task begin every episode."""
    rest_ctrl: np.ndarray
    """`[nu]`, controls at home: what actuators outside the task are given."""

    @classmethod
    def of(cls, model: mujoco.MjModel, robot: Robot) -> Self:
        """Look the robot's names up in `model`; `ShoalError` where one is missing or its drive is none."""
        coordinates = tuple(require_coordinate(model, joint.name) for joint in robot.joints)
        tool = robot.end_effector_frame
        site = None if tool is None else model.site(tool).id
        carrier = model.dof_bodyid[coordinates[0].dof[0]] if site is None else model.site_bodyid[site]
        rest_qpos, rest_ctrl = home_state(model, robot, coordinates)
        return cls(
            coordinates=coordinates,
            site=site,
            body=int(carrier if site is not None else model.body_rootid[carrier]),
            rest_qpos=rest_qpos,
            rest_ctrl=rest_ctrl,
        )

    @cached_property
    def qpos(self) -> np.ndarray:
        """`[J]`, into qpos; of a tendon, its first joint: positions are `joint_position`."""
        return np.array([c.qpos[0] for c in self.coordinates])

    @cached_property
    def dof(self) -> np.ndarray:
        """`[J]`, into qvel; of a tendon, its first joint."""
        return np.array([c.dof[0] for c in self.coordinates])

    @cached_property
    def actuator(self) -> np.ndarray:
        """`[J]`, into ctrl."""
        return np.array([c.actuator for c in self.coordinates])

    @property
    def has_tendons(self) -> bool:
        """Whether some coordinate is more than one entry of `qpos`."""
        return self._sums is not None

    @cached_property
    def _sums(self) -> tuple[np.ndarray, np.ndarray] | None:
        """`[nq, J]` and `[nv, J]` that make positions and velocities, where there are tendons."""
        if not any(c.moves for c in self.coordinates):
            return None
        sums = np.zeros((2, len(self.rest_qpos), len(self.coordinates)))
        for index, c in enumerate(self.coordinates):
            sums[0, c.qpos, index] = sums[1, c.dof, index] = c.coefficients
        return sums[0], sums[1]

    def joint_position(self, qpos: Any) -> Any:
        """`[..., J]` rad or m, from `[..., nq]`."""
        return qpos[..., self.qpos] if self._sums is None else qpos @ self._sums[0]

    def joint_velocity(self, qvel: Any) -> Any:
        """`[..., J]`, from `[..., nv]`."""
        return qvel[..., self.dof] if self._sums is None else qvel @ self._sums[1][: qvel.shape[-1]]

    def place(self, qpos: np.ndarray, joint_position: Any) -> None:
        """Write joint positions `[J]` into `qpos` `[nq]`, and nothing else."""
        if self._sums is None:
            qpos[self.qpos] = joint_position
            return
        for c, value in zip(self.coordinates, joint_position, strict=True):
            qpos[c.qpos] = value * c.spread

    def place_velocity(self, qvel: np.ndarray, joint_velocity: Any) -> None:
        """Write joint velocities `[J]` into `qvel` `[nv]`, and nothing else."""
        if self._sums is None:
            qvel[self.dof] = joint_velocity
            return
        for c, value in zip(self.coordinates, np.broadcast_to(joint_velocity, len(self.coordinates)), strict=True):
            qvel[c.dof] = value * c.spread

    def control(self, command: Any) -> Any:
        """Controls `[..., J]` of the joints' actuators, from commands in the joints' units."""
        return command if self._plain_controls else command * self._control_per_command

    @cached_property
    def _control_per_command(self) -> np.ndarray:
        return np.array([c.actuation.control_per_command for c in self.coordinates])

    @cached_property
    def _plain_controls(self) -> bool:
        return bool((self._control_per_command == 1).all())

    def effort(self, data: mujoco.MjData, out: np.ndarray) -> None:
        """What the drives did in the last physics step, `[J]` N m or N."""
        np.take(data.qfrc_actuator, self.dof, out=out, mode="clip")
        for index, c in enumerate(self.coordinates):
            if c.moves:
                out[index] = data.actuator_force[c.actuator] * c.gear

    def home_data(self, model: mujoco.MjModel) -> mujoco.MjData:
        """Data in which the whole model stands at home, drives told to stay; nothing is computed from it yet."""
        data = mujoco.MjData(model)
        data.qpos[:], data.ctrl[:] = self.rest_qpos, self.rest_ctrl
        return data


@dataclass(frozen=True)
class ToolChain:
    """The tool's pose from joint positions alone, as the robot computes it from its encoders.

    Seen from the link before, link j of a hinge turns by `cos(q/2) turn[j] + sin(q/2) turn_about_axis[j]` and stands at
    `place[j] + sin(q) swing[j] + (1 - cos(q)) swing_back[j]`, the latter two from joints away from the link's origin.
    That of a slide stands at `place[j] + q swing[j]`, turned by `turn[j]`.
    """

    order: np.ndarray
    """`[K]`, joints of the chain as indices into policy order, from the base to the tool."""
    zero: np.ndarray
    """`[K]`, positions at which the MJCF's frames hold, rad or m."""
    slides: np.ndarray
    """`[K]` bool."""
    turn: np.ndarray
    """`[K, 4]` wxyz."""
    turn_about_axis: np.ndarray
    """`[K, 4]` wxyz."""
    place: np.ndarray
    """`[K, 3]` m."""
    swing: np.ndarray
    """`[K, 3]` m."""
    swing_back: np.ndarray
    """`[K, 3]` m."""
    tool_turn: np.ndarray
    """`[4]` wxyz, of the tool's site in the last link."""
    tool_place: np.ndarray
    """`[3]` m, of the tool's site in the last link."""

    @classmethod
    def of(cls, model: mujoco.MjModel, robot: Robot) -> Self:
        """The chain to the robot's tool. `ShoalError` where it has none, or where a joint in between has no reading."""
        tool = robot.end_effector_frame
        if tool is None:
            raise ShoalError("robot.end_effector_site: this robot has no tool whose pose could follow from its joints.")
        site = model.site(tool).id
        return cls.to(model, [joint.name for joint in robot.joints], int(model.site_bodyid[site]), site)

    @classmethod
    def to(cls, model: mujoco.MjModel, joint_names: Sequence[str], body: int, site: int | None) -> Self:
        """The chain to a body, or to a site on it: follow the bodies from there to the world."""
        bodies = [body]
        while bodies[-1]:
            bodies.append(int(model.body_parentid[bodies[-1]]))
        rows: list[tuple[Any, ...]] = []
        turn, place = np.eye(4)[0], np.zeros(3)
        for body in reversed(bodies[:-1]):
            place = place + rotate(turn, model.body_pos[body])
            turn = quaternion_product(np, turn, model.body_quat[body])
            for joint in range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]):
                name = model.joint(joint).name
                if name not in joint_names:
                    raise ShoalError(
                        f"robot.joints: joint {name!r} lies between the base and the tool but is no joint of the task, "
                        "so the tool's pose does not follow from the readings; add the joint, or weld it."
                    )
                axis, anchor = model.jnt_axis[joint], model.jnt_pos[joint]
                slides = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE
                swing, swing_back = -cross(axis, anchor), -cross(axis, cross(axis, anchor))
                if slides:
                    swing, swing_back = axis, np.zeros(3)
                turned = quaternion_product(np, turn, np.array([0.0, *axis]))
                zero = model.qpos0[model.jnt_qposadr[joint]]
                moves = (rotate(turn, vector) for vector in (swing, swing_back))
                rows.append((joint_names.index(name), zero, slides, turn, turned, place, *moves))
                turn, place = np.eye(4)[0], np.zeros(3)
        tool_turn, tool_place = turn, place
        if site is not None:
            tool_turn = quaternion_product(np, turn, model.site_quat[site])
            tool_place = place + rotate(turn, model.site_pos[site])
        order, zero, slides, *rest = (np.array(row) for row in zip(*rows, strict=True))
        turns, about, places, swings, swings_back = rest
        return cls(order, zero, slides, turns, about, places, swings, swings_back, tool_turn, tool_place)

    def _links(self, xp: ModuleType, joint_position: Any) -> tuple[Any, Any]:
        """How base and links are turned, `[N, K + 1, 4]`, and the way from each to the next, `[N, K + 1, 3]` m."""
        moved = joint_position[:, self.order] - np.float32(self.zero)
        angle = xp.where(self.slides, np.float32(0), moved) if self.slides.any() else moved
        swung = xp.where(self.slides, moved, xp.sin(angle)) if self.slides.any() else xp.sin(angle)
        places = np.float32(self.place) + swung[..., None] * np.float32(self.swing)
        places = places + (1 - xp.cos(angle))[..., None] * np.float32(self.swing_back)
        cos, sin = xp.cos(angle / 2)[..., None, None], xp.sin(angle / 2)[..., None, None]
        factors = cos * self._right_factors[0] + sin * self._right_factors[1]
        turns = [xp.zeros_like(joint_position[:, :1]) + np.eye(4, dtype=np.float32)[0]]
        for index in range(len(self.order)):
            turns.append((factors[:, index] * turns[-1][:, None]).sum(axis=-1))
        last = xp.zeros_like(places[:, :1]) + np.float32(self.tool_place)
        steps = rotate(xp.stack(turns, axis=1), xp.concatenate([places, last], axis=1))
        return xp.stack(turns, axis=1), steps

    def pose(self, xp: ModuleType, joint_position: Any) -> tuple[Any, Any]:
        """Tool position `[N, 3]` m and orientation `[N, 4]` wxyz in the world, from `[N, J]` rad, float32."""
        turns, steps = self._links(xp, joint_position)
        return steps.sum(axis=1), quaternion_product(xp, turns[:, -1], np.float32(self.tool_turn))

    def jacobian(self, xp: ModuleType, joint_position: Any) -> Any:
        """How the tool moves and turns with every joint of the chain, `[N, 6, K]`, world axes, from `[N, J]`."""
        turns, steps = self._links(xp, joint_position)
        slides = self.slides[:, None]
        axes = rotate(turns[:, :-1], np.float32(np.where(slides, self.swing, self._axes)))
        anchors = rotate(turns[:, :-1], np.float32(self.place + self.swing_back))
        later = np.triu(np.ones((len(self.order), steps.shape[1]), np.float32))
        linear = cross(axes, later @ steps - anchors)
        angular = axes
        if slides.any():
            linear, angular = xp.where(slides, axes, linear), xp.where(slides, np.float32(0), axes)
        return xp.swapaxes(xp.concatenate([linear, angular], axis=-1), -1, -2)

    @cached_property
    def _axes(self) -> np.ndarray:
        """`[K, 3]`, of hinges, in the link before."""
        return np.asarray(quaternion_product(np, self.turn_about_axis, conjugate(self.turn))[..., 1:])

    @cached_property
    def _right_factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrices `[K, 4, 4]` that multiply a quaternion from the right by `turn` and `turn_about_axis`."""
        pair = (self.turn, self.turn_about_axis)
        products = ([quaternion_product(np, unit, right) for unit in np.eye(4)] for right in pair)
        turn, about = (np.stack(columns, axis=-1).astype(np.float32) for columns in products)
        return turn, about


def home_state(model: mujoco.MjModel, robot: Robot, coordinates: Sequence[Coordinate]) -> tuple[np.ndarray, np.ndarray]:
    """`qpos` `[nq]` and controls `[nu]` of the robot's home."""
    qpos, ctrl = model.qpos0.copy(), np.zeros(model.nu)
    for standing in robot.standing:
        where = passive_addresses(model, coordinates, standing.body)
        if len(where) != len(standing.position):
            raise ShoalError(
                f"robot.standing: body {standing.body!r} has {len(where)} numbers outside the task's joints in this "
                "model, "
                f"{len(standing.position)} in the contract; use the MJCF that the policy was trained with."
            )
        qpos[where] = standing.position
    for joint, c in zip(robot.joints, coordinates, strict=True):
        qpos[c.qpos] = joint.home_position * c.spread
        if joint.mode == "position":
            ctrl[c.actuator] = joint.home_position * c.actuation.control_per_command
    for held in robot.held:
        actuator = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_ACTUATOR, held.actuator)
        if actuator < 0:
            raise ShoalError(
                f"robot.held: this model has no actuator {held.actuator!r}, the contract's keeps {held.control:g}."
            )
        ctrl[actuator] = held.control
    return qpos, ctrl
