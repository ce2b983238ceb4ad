"""The student as a function from readings to joint targets: what training rolls out and what is exported."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sim2real.contract import Contract
from sim2real.interface import command, goal_vector, observe, policy_inputs
from sim2real.policy_file import GOAL_ORIENTATION, GOAL_POSITION
from student.config import StudentNetworkConfig
from student.network import ReachabilityHead, StudentParams, StudentPolicy
from teacher.networks import apply as network


def make_policy(contract: Contract, config: StudentNetworkConfig) -> StudentPolicy:
    """The student's network for a contract."""
    return StudentPolicy(config, len(contract.robot.joints))


def greedy(contract: Contract, policy: StudentPolicy) -> Any:
    """The deterministic policy, as `apply(params, observation, goal, key) -> action [N, J]`."""

    def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        inputs = policy_inputs(jnp, contract, observation, goal)
        action, _ = network(policy, params, inputs, method=StudentPolicy.action)
        return jnp.asarray(action)

    return apply


def physical_policy(
    contract: Contract, policy: StudentPolicy, params: StudentParams, inputs: dict[str, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Physical quantities in, physical quantities out, `[B, ...]`: the function that becomes the ONNX graph.

    Returns joint position targets `[B, J]` in rad and P(goal reached within an episode) `[B, 1]`.
    """
    observation = observe(jnp, contract, inputs)
    goal = goal_vector(jnp, contract, inputs[GOAL_POSITION], inputs.get(GOAL_ORIENTATION))
    network_inputs = policy_inputs(jnp, contract, observation, goal)
    action, features = network(policy, params.policy, network_inputs, method=StudentPolicy.action)
    logit = network(ReachabilityHead(), params.reachability, network_inputs, features)
    calibration = contract.reachability
    probability = jax.nn.sigmoid(calibration.slope * logit + calibration.offset)
    return command(jnp, contract, action, inputs), probability
