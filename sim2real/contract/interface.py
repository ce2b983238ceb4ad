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

_ERROR_GAIN = 5.0


def _workspace(contract: Contract) -> tuple[np.ndarray, float]:
    """Centre `[3]` m and largest half width in m of the goal box: the scale of all positions that networks see."""
    low, high = np.array(contract.goal.position_min_m), np.array(contract.goal.position_max_m)
    return (low + high) / 2, float((high - low).max() / 2)


_PAIRS = [(i, j) for i in range(4) for j in range(i, 4)]
_FIRST = np.array([[float(i == row) for i, _ in _PAIRS] for row in range(4)], np.float32)
_SECOND = np.array([[float(j == row) for _, j in _PAIRS] for row in range(4)], np.float32)
_QUADRATIC = np.zeros((10, 7), np.float32)
"""Products of quaternion components to the six entries of two rotation columns, and to the squared norm."""
for _column, _terms in enumerate(
    [
        {(0, 0): 1, (1, 1): 1, (2, 2): -1, (3, 3): -1},
        {(1, 2): 2, (0, 3): 2},
        {(1, 3): 2, (0, 2): -2},
        {(1, 2): 2, (0, 3): -2},
        {(0, 0): 1, (1, 1): -1, (2, 2): 1, (3, 3): -1},
        {(2, 3): 2, (0, 1): 2},
        {(0, 0): 1, (1, 1): 1, (2, 2): 1, (3, 3): 1},
    ]
):
    for _pair, _value in _terms.items():
        _QUADRATIC[_PAIRS.index(_pair), _column] = _value


def rotation_columns(xp: ModuleType, quaternion_wxyz: Array) -> Array:
    """First two columns of the rotation matrix, `[..., 4]` wxyz of any non-zero length to `[..., 6]`.

    A continuous representation of orientation (Zhou et al. 2019, arXiv 1812.07035); the third column is
    their cross product. Written as matrix products because each operation costs half a microsecond on the
    robot.
    """
    forms = ((quaternion_wxyz @ _FIRST) * (quaternion_wxyz @ _SECOND)) @ _QUADRATIC
    return forms[..., :6] / (forms[..., 6:] + 1e-12)


def goal_vector(xp: ModuleType, contract: Contract, position: Array, orientation_wxyz: Array) -> Array:
    """The point in goal space that a pose is, `[..., 3]` m and `[..., 4]` to `[..., G]`.

    Position goals have G = 3. Pose goals append the rotation's first two columns times
    `goal.orientation_weight_m`, G = 9, so that Euclidean distance weighs metres against rotation.
    """
    if contract.goal.space == "position":
        return position
    columns = contract.goal.orientation_weight_m * rotation_columns(xp, orientation_wxyz)
    return xp.concatenate([position, columns], axis=-1)


def achieved(xp: ModuleType, contract: Contract, readings: dict[str, Array]) -> Array:
    """The goal that is fulfilled right now, `[..., G]`: where the object is, or where the tool is."""
    if contract.goal.object_body is not None:
        return readings["object_position"]
    return goal_vector(xp, contract, readings["end_effector_position"], readings["end_effector_orientation"])


def observe(xp: ModuleType, contract: Contract, readings: dict[str, Array]) -> Array:
    """The observation vector, `[..., D]`, from named readings in SI units.

    Joint positions are scaled to [-1, 1] over their limits, velocities by their limit, the servo's remaining
    travel by the action scale, tool position by the reach of the workspace; D = 3 J + 9. With an object 6 more: its
    position likewise, and its position as seen from the tool enlarged by 5, since all depends on who is on which side.
    """
    position, tool = readings["joint_position"], readings["end_effector_position"]
    parts = [
        position,
        readings["joint_velocity"],
        readings["joint_position_target"] - position,
        tool,
        rotation_columns(xp, readings["end_effector_orientation"]),
    ]
    if contract.goal.object_body is not None:
        parts += [readings["object_position"], readings["object_position"] - tool]
    offset, scale = _observation_scaling(contract)
    return (xp.concatenate(parts, axis=-1) - offset) * scale


def _observation_scaling(contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Offset and factor of every entry of the observation, `[D]` each."""
    joints = contract.robot.joints
    low = np.array([joint.position_min for joint in joints])
    high = np.array([joint.position_max for joint in joints])
    zeros = np.zeros(len(joints))
    centre, half_width = _workspace(contract)
    length = np.full(3, 1 / half_width)
    offset = [(low + high) / 2, zeros, zeros, centre, np.zeros(6)]
    scale = [
        2 / (high - low),
        [1 / joint.velocity_max for joint in joints],
        0.5 / np.array(contract.action.step_max),
        length,
        np.ones(6),
    ]
    if contract.goal.object_body is not None:
        offset += [centre, np.zeros(3)]
        scale += [length, _ERROR_GAIN * length]
    return np.concatenate(offset).astype(np.float32), np.concatenate(scale).astype(np.float32)


def joint_position(contract: Contract, observation: Array) -> Array:
    """The joint positions in an observation, `[..., D]` to `[..., J]` rad: what `observe` did to them, undone."""
    joints = len(contract.robot.joints)
    offset, scale = _observation_scaling(contract)
    return observation[..., :joints] / scale[:joints] + offset[:joints]


def from_home(contract: Contract, observation: Array) -> Array:
    """How far joints stand from home, `[..., D]` to `[..., J]`, as a share of half their range."""
    joints = contract.robot.joints
    offset, scale = _observation_scaling(contract)
    home = (np.array([joint.home_position for joint in joints], np.float32) - offset[: len(joints)]) * scale[
        : len(joints)
    ]
    return observation[..., : len(joints)] - home


def goal_features(xp: ModuleType, contract: Contract, goal: Array) -> Array:
    """Network input for a goal vector, `[..., G]` to `[..., G]` of order one."""
    columns = goal_size(contract) - 3
    weight = contract.goal.orientation_weight_m or 1.0
    centre, half_width = _workspace(contract)
    offset = np.array([*centre, *[0.0] * columns], np.float32)
    scale = np.array([*[1 / half_width] * 3, *[1 / weight] * columns], np.float32)
    return (goal - offset) * scale


def policy_inputs(xp: ModuleType, contract: Contract, observation: Array, goal: Array) -> Array:
    """What actor and student read, `[..., D + 2 G]`: observation, goal features, and the difference between
    goal and tool (or object) enlarged by 5, so that the last centimetre is not lost among larger numbers.
    """
    features = goal_features(xp, contract, goal)
    start = 3 * len(contract.robot.joints) + (0 if contract.goal.object_body is None else 9)
    now = observation[..., start : start + features.shape[-1]]
    return xp.concatenate([observation, features, _ERROR_GAIN * (features - now)], axis=-1)


def command(xp: ModuleType, contract: Contract, action: Array, readings: dict[str, Array]) -> Array:
    """Joint position targets, `[..., J]` rad, from an action in [-1, 1] and the readings.

    Never farther than `action.step_max` from the previous target, so never faster than the velocity limit,
    and never outside the joint limits; wind-up against a blocked arm is limited by `action.window`.
    """
    joints = contract.robot.joints
    low, high = np.array([joint.command_range for joint in joints], np.float32).T
    scale = np.array(contract.action.step_max, np.float32)
    window = np.float32(contract.action.window)
    previous, position = readings["joint_position_target"], readings["joint_position"]
    wanted = previous + scale * xp.clip(action, -1.0, 1.0)
    wanted = xp.minimum(xp.maximum(wanted, position - window), position + window)
    wanted = xp.minimum(xp.maximum(wanted, previous - scale), previous + scale)
    return xp.minimum(xp.maximum(wanted, low), high)


def observation_size(contract: Contract) -> int:
    """D of `observe`."""
    return 3 * len(contract.robot.joints) + (9 if contract.goal.object_body is None else 15)


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
