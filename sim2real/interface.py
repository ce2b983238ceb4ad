"""The policy's interface to physical quantities, written once for NumPy and JAX.

These three functions are the only place where observations, goals and commands are assembled. Training uses
them with `jax.numpy` or `numpy`, and the exported ONNX graph is converted from the same code, so there is no
second version on the robot.

Shapes: `[...]` is any batch, `J` joints, `D` observation size, `G` goal-vector size.
`xp` is the array namespace, `numpy` or `jax.numpy`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from sim2real.contract import Contract

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""

_CENTRE_M = (0.5, 0.0, 0.4)
_SPAN_M = 0.4
_ERROR_GAIN = 5.0


def rotation_columns(xp: ModuleType, quaternion_wxyz: Array) -> Array:
    """First two columns of the rotation matrix, `[..., 4]` wxyz to `[..., 6]`.

    A continuous representation of orientation (Zhou et al. 2019, arXiv 1812.07035); the third column is
    their cross product. The quaternion is normalised first.
    """
    q = quaternion_wxyz / xp.sqrt(xp.sum(quaternion_wxyz * quaternion_wxyz, axis=-1, keepdims=True) + 1e-12)
    w, x, y, z = q[..., 0], q[..., 1], q[..., 2], q[..., 3]
    return xp.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y + w * z),
            2 * (x * z - w * y),
            2 * (x * y - w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z + w * x),
        ],
        axis=-1,
    )


def goal_vector(xp: ModuleType, contract: Contract, position: Array, orientation_wxyz: Array) -> Array:
    """The point in goal space that a tool pose is, `[..., 3]` m and `[..., 4]` to `[..., G]`.

    Position goals have G = 3. Pose goals append the rotation's first two columns times
    `goal.orientation_weight_m`, G = 9, so that Euclidean distance weighs metres against rotation.
    """
    if contract.goal.space == "position":
        return position
    columns = contract.goal.orientation_weight_m * rotation_columns(xp, orientation_wxyz)
    return xp.concatenate([position, columns], axis=-1)


def observe(xp: ModuleType, contract: Contract, readings: dict[str, Array]) -> Array:
    """The observation vector, `[..., D]`, from named readings in SI units.

    Joint positions are scaled to [-1, 1] over their limits, velocities by their limit, the servo's remaining
    travel by the action scale, tool position by the reach of the workspace; D = 3 J + 9.
    """
    joints = contract.robot.joints
    low = np.array([joint.position_min_rad for joint in joints], np.float32)
    high = np.array([joint.position_max_rad for joint in joints], np.float32)
    speed = np.array([joint.velocity_max_rad_s for joint in joints], np.float32)
    scale = np.array(contract.action.scale_rad, np.float32)
    position = readings["joint_position"]
    columns = rotation_columns(xp, readings["end_effector_orientation"])
    return xp.concatenate(
        [
            (position - (low + high) / 2) * (2 / (high - low)),
            readings["joint_velocity"] * (1 / speed),
            (readings["joint_position_target"] - position) * (0.5 / scale),
            (readings["end_effector_position"] - np.array(_CENTRE_M, np.float32)) * (1 / _SPAN_M),
            columns,
        ],
        axis=-1,
    )


def goal_features(xp: ModuleType, contract: Contract, goal: Array) -> Array:
    """Network input for a goal vector, `[..., G]` to `[..., G]` of order one."""
    position = (goal[..., :3] - np.array(_CENTRE_M, np.float32)) * (1 / _SPAN_M)
    if contract.goal.space == "position":
        return position
    return xp.concatenate([position, goal[..., 3:] * (1 / contract.goal.orientation_weight_m)], axis=-1)


def policy_inputs(xp: ModuleType, contract: Contract, observation: Array, goal: Array) -> Array:
    """What actor and student read, `[..., D + 2 G]`: observation, goal features, and the difference between
    goal and tool enlarged by 5, so that the last centimetre is not lost among larger numbers.
    """
    features = goal_features(xp, contract, goal)
    tool = observation[..., -9:]
    return xp.concatenate([observation, features, _ERROR_GAIN * (features - tool[..., : features.shape[-1]])], axis=-1)


def command(xp: ModuleType, contract: Contract, action: Array, readings: dict[str, Array]) -> Array:
    """Joint position targets, `[..., J]` rad, from an action in [-1, 1] and the readings.

    Never farther than `action.scale_rad` from the previous target, so never faster than the velocity limit,
    and never outside the joint limits; wind-up against a blocked arm is limited by `action.window_rad`.
    """
    joints = contract.robot.joints
    low = np.array([joint.position_min_rad for joint in joints], np.float32)
    high = np.array([joint.position_max_rad for joint in joints], np.float32)
    scale = np.array(contract.action.scale_rad, np.float32)
    window = np.float32(contract.action.window_rad)
    previous, position = readings["joint_position_target"], readings["joint_position"]
    wanted = previous + scale * xp.clip(action, -1.0, 1.0)
    wanted = xp.minimum(xp.maximum(wanted, position - window), position + window)
    wanted = xp.minimum(xp.maximum(wanted, previous - scale), previous + scale)
    return xp.minimum(xp.maximum(wanted, low), high)


def observation_size(contract: Contract) -> int:
    """D of `observe`."""
    return 3 * len(contract.robot.joints) + 9


def goal_size(contract: Contract) -> int:
    """G of `goal_vector`."""
    return 3 if contract.goal.space == "position" else 9


def pose_errors(contract: Contract, achieved: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in m and angle in degrees between goal vectors, `[..., G]` each; angle 0 for position goals."""
    distance = np.linalg.norm(achieved[..., :3] - goal[..., :3], axis=-1)
    if contract.goal.space == "position":
        return distance, np.zeros_like(distance)
    weight = contract.goal.orientation_weight_m
    first, second = (vector[..., 3:].astype(np.float64) / weight for vector in (achieved, goal))
    cross = [np.cross(columns[..., :3], columns[..., 3:]) for columns in (first, second)]
    trace = (first * second).sum(-1) + (cross[0] * cross[1]).sum(-1)
    return distance, np.degrees(np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0)))
