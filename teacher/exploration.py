"""How experience is collected: by the stochastic policy, and where goals are about an object also by wandering.

An untrained policy hardly ever touches an object, and one that has learnt a little from those few touches soon keeps
away from it: what it never sees moved it can't learn to move. So a share of the environments wanders from one posture
of the goal pool to the next instead. Starts are such postures, so the tool stays where the object may be.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sim2real.backends.base import Environment, Rollout
from sim2real.contract import Contract
from sim2real.contract.interface import joint_position
from teacher.learner import Networks
from teacher.losses import sample_tanh_gaussian

_TOWARDS_ONE_POSTURE_S = 0.4
"""Short of most postures, which is as well: then paths cross the workspace instead of ending in it."""


def exploring(networks: Networks) -> Any:
    """The stochastic policy that collects, as `apply(params, observation, goal, key) -> action`."""

    def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        mean, log_std, _ = networks.act(params, observation, goal)
        return sample_tanh_gaussian(key, mean, log_std)[0]

    return apply


class Collector:
    """Rollouts of one environment. The first `wander_share` of its robots wander, the others follow the policy."""

    def __init__(self, env: Environment, networks: Networks, *, wander_share: float) -> None:
        self._env, self._policy = env, exploring(networks)
        self._wanders = jnp.arange(env.num_envs)[:, None] < round(wander_share * env.num_envs)
        self._any = bool(self._wanders.any())
        self._apply = _wandering(networks.contract, self._policy)
        self._postures = jnp.asarray(env.pool.joint_position)
        self._longest = max(1, round(_TOWARDS_ONE_POSTURE_S / networks.contract.timing.control_dt_s))

    def rollout(self, actor: Any, key: jax.Array, steps: int) -> Rollout:
        """`steps` control steps of every robot."""
        if not self._any:
            return self._env.rollout(self._policy, actor, key, steps)
        parts = []
        for begin in range(0, steps, self._longest):
            posture_key, part_key = jax.random.split(jax.random.fold_in(key, begin))
            rows = jax.random.randint(posture_key, (self._env.num_envs,), 0, len(self._postures))
            params = actor, self._postures[rows], self._wanders
            parts.append(self._env.rollout(self._apply, params, part_key, min(self._longest, steps - begin)))
        return Rollout(*(jnp.concatenate(columns) for columns in zip(*parts, strict=True)))


def _wandering(contract: Contract, policy: Any) -> Any:
    scale = np.array(contract.action.step_max, np.float32)

    def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        actor, posture, wanders = params
        way = jnp.clip((posture - joint_position(jnp, contract, observation)) / scale, -1.0, 1.0)
        return jnp.where(wanders, way, policy(actor, observation, goal, key))

    return apply
