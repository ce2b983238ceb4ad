"""The policy's interface to physical quantities, written once for NumPy and JAX.

These functions are the only place where observations, goals and commands are assembled, out of what the contract's
terms say. Training uses them with `jax.numpy` or `numpy`, and the exported ONNX graph is converted from the same code,
so there is no second version on the robot.

Shapes: `[...]` is any batch, `J` joints, `D` observation size, `K` numbers of a request, `G` goal-vector size.
`xp` is the array namespace, `numpy` or `jax.numpy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from sim2real.contract.schema import Contract
from sim2real.frozen import once_each
from sim2real.terms.joints import JointPosition

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""


def achieved_request(xp: ModuleType, contract: Contract, readings: Mapping[str, Array]) -> Array:
    """The request that is fulfilled right now, `[..., K]`."""
    return contract.goal.achieved(xp, readings)


def goal_vector(xp: ModuleType, contract: Contract, request: Array) -> Array:
    """The point in goal space that a request is, `[..., K]` to `[..., G]`; Euclidean distance weighs metres there."""
    return contract.goal.vector(xp, contract, request)


def achieved(xp: ModuleType, contract: Contract, readings: Mapping[str, Array]) -> Array:
    """The goal vector that is fulfilled right now, `[..., G]`."""
    return goal_vector(xp, contract, achieved_request(xp, contract, readings))


def observe(xp: ModuleType, contract: Contract, readings: Mapping[str, Array]) -> Array:
    """The observation vector, `[..., D]`, from named readings in SI units: every reading as it is encoded, every
    feature, each scaled to order one.
    """
    parts = [term.observed(xp, readings) for term in (*contract.readings, *contract.features)]
    offset, scale = observation_scaling(contract)
    return (xp.concatenate(parts, axis=-1) - offset) * scale


@once_each
def observation_scaling(contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Offset and factor of every entry of the observation, `[D]` each."""
    pairs = [term.scaling(contract) for term in (*contract.readings, *contract.features)]
    offset, scale = (np.concatenate(column).astype(np.float32) for column in zip(*pairs, strict=True))
    return offset, scale


def joint_position(xp: ModuleType, contract: Contract, observation: Array) -> Array:
    """The joint positions in an observation, `[..., D]` to `[..., J]`: what `observe` did to them, undone."""
    reading = contract.reading(contract.action.measured)
    assert isinstance(reading, JointPosition)
    return reading.decoded(xp, contract, observation[..., contract.observation.slices[reading.name]])


def from_home(contract: Contract, observation: Array) -> Array:
    """How far joints stand from home, `[..., D]` to `[..., J]`, as a share of half their range."""
    reading = contract.reading(contract.action.measured)
    assert isinstance(reading, JointPosition)
    return reading.from_home(contract, observation[..., contract.observation.slices[reading.name]])


def policy_inputs(xp: ModuleType, contract: Contract, observation: Array, goal: Array) -> Array:
    """What actor and student read, `[..., D + 2 G]`: observation, goal vector of order one, and the way from what is
    achieved to the goal, enlarged.
    """
    features = goal_features(contract, goal)
    way = contract.goal.way(xp, contract, features, observation)
    return xp.concatenate([observation, features, way], axis=-1)


def goal_features(contract: Contract, goal: Array) -> Array:
    """Network input for a goal vector, `[..., G]` to `[..., G]` of order one."""
    return contract.goal.features(contract, goal)


def command(xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
    """What drives are told, `[..., J]`, from an action `[..., A]` in [-1, 1] and the readings."""
    return contract.action.command(xp, contract, action, readings)


def observation_size(contract: Contract) -> int:
    """D of `observe`."""
    return contract.observation.size


def action_size(contract: Contract) -> int:
    """A of actions, one for each joint in most tasks."""
    return int(contract.action.size(contract.robot))


def goal_size(contract: Contract) -> int:
    """G of `goal_vector`."""
    return int(contract.goal.size(contract))


def request_size(contract: Contract) -> int:
    """K of requests."""
    return int(contract.goal.layout(contract).size)


def goal_errors(contract: Contract, achieved: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in m and angle in degrees between goal vectors, `[..., G]` each; 0 for what the goal doesn't have."""
    length, angle = contract.goal.errors(contract, achieved, goal)
    return length, angle
