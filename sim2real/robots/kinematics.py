"""Where a contract's joints and tool are inside a compiled model's arrays, and the tool's pose from joint readings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Self

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.robots.actuation import joint_actuators
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
    """Indices into a model's arrays, in policy order."""

    qpos: np.ndarray
    """`[J]`, into qpos."""
    dof: np.ndarray
    """`[J]`, into qvel."""
    actuator: np.ndarray
    """`[J]`, into ctrl."""
    site: int
    """The tool's site."""
    body: int
    """The body that carries the tool's site."""
    site_quaternion: np.ndarray
    """`[4]` wxyz, the site's orientation in its body."""
    object: ObjectAddresses | None = None
    """Of the thing that goals are about, where that is not the tool."""

    @classmethod
    def of(cls, model: mujoco.MjModel, contract: Contract) -> Self:
        """Look the contract's names up in `model`."""
        joints = [model.joint(name) for name in contract.joint_names]
        site = model.site(contract.robot.end_effector_frame).id
        return cls(
            qpos=np.array([joint.qposadr[0] for joint in joints]),
            dof=np.array([joint.dofadr[0] for joint in joints]),
            actuator=np.array([joint_actuators(model, joint.id)[0] for joint in joints]),
            site=site,
            body=int(model.site_bodyid[site]),
            site_quaternion=np.array(model.site_quat[site]),
            object=None if contract.goal.object_body is None else ObjectAddresses.of(model, contract.goal.object_body),
        )

    @property
    def start(self) -> np.ndarray:
        """`[S]`, into qpos, of what a start says: joints, then the object's x and y."""
        return self.qpos if self.object is None else np.concatenate([self.qpos, self.object.qpos])

    @property
    def start_zero(self) -> np.ndarray:
        """`[S]`, what to subtract from a start to get its qpos."""
        zeros = np.zeros(len(self.qpos))
        return zeros if self.object is None else np.concatenate([zeros, self.object.origin])

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

    Seen from the link before, link j turns by `cos(q/2) turn[j] + sin(q/2) turn_about_axis[j]` and stands at
    `place[j] + sin(q) swing[j] + (1 - cos(q)) swing_back[j]`, the latter two from joints away from the link's origin.
    """

    order: np.ndarray
    """`[K]`, joints of the chain as indices into policy order, from the base to the tool."""
    zero_rad: np.ndarray
    """`[K]`, positions at which the MJCF's frames hold."""
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
                swing, swing_back = -cross(axis, anchor), -cross(axis, cross(axis, anchor))
                turned = quaternion_product(np, turn, np.array([0.0, *axis]))
                zero = model.qpos0[model.jnt_qposadr[joint]]
                moves = (rotate(turn, vector) for vector in (swing, swing_back))
                rows.append((contract.joint_names.index(name), zero, turn, turned, place, *moves))
                turn, place = np.eye(4)[0], np.zeros(3)
        order, zero, turns, about, places, swings, swings_back = (np.array(row) for row in zip(*rows, strict=True))
        tool_turn = quaternion_product(np, turn, model.site_quat[site])
        tool_place = place + rotate(turn, model.site_pos[site])
        return cls(order, zero, turns, about, places, swings, swings_back, tool_turn, tool_place)

    def pose(self, xp: ModuleType, joint_position: Any) -> tuple[Any, Any]:
        """Tool position `[N, 3]` m and orientation `[N, 4]` wxyz in the world, from `[N, J]` rad, float32."""
        angle = joint_position[:, self.order] - np.float32(self.zero_rad)
        places = np.float32(self.place) + xp.sin(angle)[..., None] * np.float32(self.swing)
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
