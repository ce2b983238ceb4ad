"""Policies of a teacher that are evaluated and distilled. Shapes: `B` batch, `J` joints, `K` actions of a chunk."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from teacher.learner import Networks
from teacher.objectives.base import Params


def greedy(networks: Networks) -> Any:
    """The deterministic policy, `apply(actor, observation, goal, key) -> action [B, J]`: of a chunk the first action,
    decided anew at every step.
    """

    def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        return jnp.tanh(networks.act(params, observation, goal)[0][..., : networks.joints])

    return apply


def best_of(networks: Networks, count: int) -> Any:
    """A policy like `greedy` with the best of `count` candidates: `apply((actor, critic), ...)`."""

    def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        actor, critic = params
        mean, log_std, _ = networks.act(actor, observation, goal)
        best = best_candidate(networks, critic, observation, goal, mean, log_std, key=key, count=count)
        return jnp.tanh(best[..., : networks.joints])

    return apply


def best_candidate(
    networks: Networks,
    critic: Params,
    observation: jax.Array,
    goal: jax.Array,
    mean: jax.Array,
    log_std: jax.Array,
    *,
    key: jax.Array,
    count: int,
) -> jax.Array:
    """The one of the actor's mean and `count - 1` of its samples what the critic values most, before the tanh, `[B,
    K J]`.

    An actor can be worse than the critic that it learns from, so that a few candidates are worth more than its mean.
    """
    goal_embedding = networks.embed_goal(critic, goal, observation)

    def one(best: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        action, value = best
        other = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        worth = networks.objective.value(critic, observation, jnp.tanh(other), goal_embedding)
        better = worth > value
        return (jnp.where(better[:, None], other, action), jnp.where(better, worth, value)), None

    first = mean, networks.objective.value(critic, observation, jnp.tanh(mean), goal_embedding)
    return jax.lax.scan(one, first, jax.random.split(key, count)[1:])[0][0]
