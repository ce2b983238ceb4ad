"""The student as a function from readings to joint targets: what training rolls out and what is exported."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sim2real.contract import Contract
from sim2real.contract.interface import action_size, command, observation_size, observe, policy_inputs
from sim2real.contract.policy_file import HISTORY_INPUT
from sim2real.terms.joints import JointVelocity
from student.config import StudentNetworkConfig
from student.history import differences, history_size, remember, seen
from student.network import ReachabilityHead, StudentParams, StudentPolicy
from teacher.networks import apply as network


def make_policy(contract: Contract, config: StudentNetworkConfig) -> StudentPolicy:
    """The student's network for a contract."""
    return StudentPolicy(config, action_size(contract))


def student_observation_size(contract: Contract, config: StudentNetworkConfig) -> int:
    """Numbers in an observation with the history behind it."""
    return observation_size(contract) + history_size(contract, config.history_steps)


def student_inputs(
    contract: Contract, config: StudentNetworkConfig, observation: jax.Array, goal: jax.Array
) -> jax.Array:
    """What the student's network reads, `[..., I]`, of observations with the history behind them and goal vectors:
    the teacher's inputs, and how the last observations differ from the present one.
    """
    present, steps = seen(contract, observation), config.history_steps
    if not config.joint_velocity:
        present = present * _without_velocity(contract)
    inputs = policy_inputs(jnp, contract, present, goal)
    if not steps:
        return jnp.asarray(inputs)
    size = observation_size(contract)
    past = differences(contract, steps, present, observation[..., size : size + history_size(contract, steps)])
    if not config.joint_velocity:
        past = past * np.tile(_without_velocity(contract), steps)
    return jnp.concatenate([inputs, past], axis=-1)


def _without_velocity(contract: Contract) -> np.ndarray:
    """1 for every entry of an observation, 0 for joint velocities, `[D]`."""
    layout = contract.observation
    keep = np.ones(layout.size, np.float32)
    for reading in contract.readings:
        if isinstance(reading, JointVelocity):
            keep[layout.slices[reading.name]] = 0.0
    return keep


def greedy(contract: Contract, policy: StudentPolicy) -> Any:
    """The deterministic policy, as `apply(params, observation, goal, key) -> action [N, J]`."""

    def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        inputs = student_inputs(contract, policy.config, observation, goal)
        action, _ = network(policy, params, inputs, method=StudentPolicy.action)
        return jnp.asarray(action)

    return apply


def physical_policy(
    contract: Contract, policy: StudentPolicy, params: StudentParams, inputs: dict[str, jax.Array]
) -> tuple[jax.Array, ...]:
    """Physical quantities in, physical quantities out, `[B, ...]`: the function that becomes the ONNX graph.

    Returns joint position targets `[B, J]` in rad and P(goal reached within an episode) `[B, 1]`, and of a student
    with a memory the history for the next step, `[B, K (D + 1)]`.
    """
    config, observation = policy.config, observe(jnp, contract, inputs)
    remembered = observation
    if config.history_steps:
        remembered = jnp.concatenate([observation, inputs[HISTORY_INPUT]], axis=-1)
    goal = contract.goal.vector_of(jnp, contract, inputs)
    network_inputs = student_inputs(contract, config, remembered, goal)
    action, features = network(policy, params.policy, network_inputs, method=StudentPolicy.action)
    logit = network(ReachabilityHead(), params.reachability, network_inputs, features)
    calibration = contract.reachability
    probability = jax.nn.sigmoid(calibration.slope * logit + calibration.offset)
    outputs = command(jnp, contract, action, inputs), probability
    if not config.history_steps:
        return outputs
    return *outputs, remember(contract, config.history_steps, observation, inputs[HISTORY_INPUT])
