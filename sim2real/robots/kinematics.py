"""Where a contract's joints and tool are inside a compiled model's arrays, and the tool's pose from joint readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Self

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.robots.coordinates import Coordinate, passive_addresses, require_coordinate
from sim2real.robots.objects import ObjectAddresses


def quaternion_product(xp: ModuleType, left: Any, right: Any) -> Any:
    """Hamilton product of wxyz quaternions, `[..., 4]` each."""
    a, b, c, d = (left[..., i] for i in range(4))
    e, f, g, h = (right[..., i] for i in range(4))
    return xp.stack(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ],
        axis=-1,
    )


@dataclass(frozen=True)
class Addresses:
    """Indices into a model's arrays, in policy order, and how everything else stands."""

    coordinates: tuple[Coordinate, ...]
    """`[J]`."""
    site: int
    """The tool's site."""
    body: int
    """The body that carries the tool's site."""
    site_quaternion: np.ndarray
    """`[4]` wxyz, the site's orientation in its body."""
    rest_qpos: np.ndarray
    """`[nq]`, home of the whole model: where joints outside the task begin every episode."""
    rest_ctrl: np.ndarray
    """`[nu]`, controls at home: what actuators outside the task are given."""
    object: ObjectAddresses | None = None
    """Of the thing that goals are about, where that is not the tool."""

    @classmethod
    def of(cls, model: mujoco.MjModel, contract: Contract) -> Self:
        """Look the contract's names up in `model`; `ShoalError` where one is missing or its drive is none."""
        coordinates = tuple(require_coordinate(model, name) for name in contract.joint_names)
        site = model.site(contract.robot.end_effector_frame).id
        rest_qpos, rest_ctrl = home_state(model, contract, coordinates)
        return cls(
            coordinates=coordinates,
            site=site,
            body=int(model.site_bodyid[site]),
            site_quaternion=np.array(model.site_quat[site]),
            rest_qpos=rest_qpos,
            rest_ctrl=rest_ctrl,
            object=None if contract.goal.object_body is None else ObjectAddresses.of(model, contract.goal.object_body),
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

    def qpos_of(self, xp: ModuleType, start: Any) -> Any:
        """`[..., nq]` with the joints (and the object's x and y, where they are given) at `start` `[..., S]`, as of
        `GoalPool.start`, and everything else at home.
        """
        count = len(self.rest_qpos)
        source, factor, zero = np.arange(count), np.ones(count), np.zeros(count)
        for index, c in enumerate(self.coordinates):
            source[c.qpos], factor[c.qpos] = count + index, c.spread
        if self.object is not None and start.shape[-1] > len(self.coordinates):
            source[self.object.qpos] = count + len(self.coordinates) + np.arange(2)
            zero[self.object.qpos] = self.object.origin
        rest = xp.broadcast_to(xp.asarray(self.rest_qpos), (*start.shape[:-1], count))
        return xp.concatenate([rest, start], axis=-1)[..., source] * factor - zero

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

    def start_at(self, model: mujoco.MjModel, joint_position: np.ndarray) -> np.ndarray:
        """The start `[S]` with these joints, `[J]` rad, and the object where the MJCF has it."""
        if self.object is None:
            return np.asarray(joint_position)
        return np.concatenate([joint_position, model.qpos0[self.object.qpos] + self.object.origin])

    def tool_orientation(self, xp: ModuleType, xquat: Any) -> Any:
        """Tool orientation, wxyz, from body orientations `[..., nbody, 4]`."""
        return quaternion_product(xp, xquat[..., self.body, :], self.site_quaternion)


def cross(left: Any, right: Any) -> Any:
    """Cross products of `[..., 3]`; several times as fast on small arrays as NumPy's, which checks more."""
    forward, backward = np.array([1, 2, 0]), np.array([2, 0, 1])
    return left[..., forward] * right[..., backward] - left[..., backward] * right[..., forward]


def rotate(quaternion: Any, vector: Any) -> Any:
    """Vectors `[..., 3]` turned by unit quaternions `[..., 4]` wxyz."""
    twice = 2 * cross(quaternion[..., 1:], vector)
    return vector + quaternion[..., :1] * twice + cross(quaternion[..., 1:], twice)


def rotation_vector_quaternion(xp: ModuleType, vector: Any) -> Any:
    """The unit quaternion, `[..., 4]` wxyz, of a rotation vector `[..., 3]` rad."""
    half = 0.5 * xp.sqrt((vector * vector).sum(axis=-1, keepdims=True) + 1e-30)
    return xp.concatenate([xp.cos(half), 0.5 * vector * xp.sin(half) / half], axis=-1)


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
    def of(cls, model: mujoco.MjModel, contract: Contract) -> Self:
        """Follow the bodies from the tool to the world. `ShoalError` where a joint in between has no reading."""
        site = model.site(contract.robot.end_effector_frame).id
        bodies = [int(model.site_bodyid[site])]
        while bodies[-1]:
            bodies.append(int(model.body_parentid[bodies[-1]]))
        rows: list[tuple[Any, ...]] = []
        turn, place = np.eye(4)[0], np.zeros(3)
        for body in reversed(bodies[:-1]):
            place = place + rotate(turn, model.body_pos[body])
            turn = quaternion_product(np, turn, model.body_quat[body])
            for joint in range(model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]):
                name = model.joint(joint).name
                if name not in contract.joint_names:
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
                rows.append((contract.joint_names.index(name), zero, slides, turn, turned, place, *moves))
                turn, place = np.eye(4)[0], np.zeros(3)
        tool_turn = quaternion_product(np, turn, model.site_quat[site])
        tool_place = place + rotate(turn, model.site_pos[site])
        order, zero, slides, *rest = (np.array(row) for row in zip(*rows, strict=True))
        turns, about, places, swings, swings_back = rest
        return cls(order, zero, slides, turns, about, places, swings, swings_back, tool_turn, tool_place)

    def pose(self, xp: ModuleType, joint_position: Any) -> tuple[Any, Any]:
        """Tool position `[N, 3]` m and orientation `[N, 4]` wxyz in the world, from `[N, J]` rad, float32."""
        moved = joint_position[:, self.order] - np.float32(self.zero)
        angle = xp.where(self.slides, np.float32(0), moved) if self.slides.any() else moved
        swung = xp.where(self.slides, moved, xp.sin(angle)) if self.slides.any() else xp.sin(angle)
        places = np.float32(self.place) + swung[..., None] * np.float32(self.swing)
        places = places + (1 - xp.cos(angle))[..., None] * np.float32(self.swing_back)
        cos, sin = xp.cos(angle / 2)[..., None, None], xp.sin(angle / 2)[..., None, None]
        factors = cos * self._right_factors[0] + sin * self._right_factors[1]
        turns = [xp.broadcast_to(np.eye(4, dtype=np.float32)[0], (len(joint_position), 4))]
        for index in range(len(self.order)):
            turns.append((factors[:, index] * turns[-1][:, None]).sum(axis=-1))
        last = xp.broadcast_to(np.float32(self.tool_place), places[:, :1].shape)
        steps = rotate(xp.stack(turns, axis=1), xp.concatenate([places, last], axis=1))
        return steps.sum(axis=1), quaternion_product(xp, turns[-1], np.float32(self.tool_turn))

    @cached_property
    def _right_factors(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrices `[K, 4, 4]` that multiply a quaternion from the right by `turn` and `turn_about_axis`."""
        pair = (self.turn, self.turn_about_axis)
        products = ([quaternion_product(np, unit, right) for unit in np.eye(4)] for right in pair)
        turn, about = (np.stack(columns, axis=-1).astype(np.float32) for columns in products)
        return turn, about


def home_state(
    model: mujoco.MjModel, contract: Contract, coordinates: Sequence[Coordinate]
) -> tuple[np.ndarray, np.ndarray]:
    """`qpos` `[nq]` and controls `[nu]` of the contract's home."""
    qpos, ctrl = model.qpos0.copy(), np.zeros(model.nu)
    for standing in contract.robot.standing:
        where = passive_addresses(model, coordinates, standing.body)
        if len(where) != len(standing.position):
            raise ShoalError(
                f"robot.standing: body {standing.body!r} has {len(where)} numbers outside the task's joints in this "
                "model, "
                f"{len(standing.position)} in the contract; use the MJCF that the policy was trained with."
            )
        qpos[where] = standing.position
    for joint, c in zip(contract.robot.joints, coordinates, strict=True):
        qpos[c.qpos] = joint.home_position * c.spread
        if joint.mode == "position":
            ctrl[c.actuator] = joint.home_position * c.actuation.control_per_command
    for held in contract.robot.held:
        actuator = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_ACTUATOR, held.actuator)
        if actuator < 0:
            raise ShoalError(
                f"robot.held: this model has no actuator {held.actuator!r}, the contract's keeps {held.control:g}."
            )
        ctrl[actuator] = held.control
    return qpos, ctrl
