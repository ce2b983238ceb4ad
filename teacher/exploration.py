"""How experience is collected: by the stochastic policy, and where goals are about an object also by random-posture
exploration.

An untrained policy hardly ever touches an object, and one that has learnt a little from those few touches soon keeps
away from it: what it never sees moved it can't learn to move. So a share of the robots moves from one random posture of
the goal pool to the next instead. Starts are such postures, so the tool stays where the object may be.

Shapes: `N` environments, `D` observation size, `G` goal-vector size, `J` action size, `K` actions of a chunk.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sim2real.backends.base import Environment, Rollout
from sim2real.contract import Contract
from sim2real.contract.interface import goal_size, joint_position, observation_size
from teacher.learner import Networks
from teacher.networks import sample_tanh_gaussian

_TOWARDS_ONE_POSTURE_S = 0.4
"""Short of most postures, which is as well: then paths cross the workspace instead of ending in it."""


def exploring(networks: Networks) -> Any:
    """The stochastic policy that collects, as `apply(params, observation, goal, key) -> action`, deciding anew each
    step.
    """

    def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        mean, log_std, _ = networks.act(params, observation, goal)
        return sample_tanh_gaussian(key, mean, log_std)[0][..., : networks.joints]

    return apply


class Decision(NamedTuple):
    """What every robot last decided on, NumPy or JAX, so that a chunk of actions can be carried out: the same numbers
    give the same chunk again.
    """

    observation: Any
    """`[N, D]`."""
    goal: Any
    """`[N, G]`."""
    seed: Any
    """`[N]` int32, of the noise."""
    age: Any
    """`[N]` int32, steps since then; 0 where a robot is to decide now."""


def exploring_in_chunks(networks: Networks, chunk: int) -> Any:
    """Explore like `exploring`, with actions that were decided up to `chunk` steps ago: `apply((actor, decision),
    ...)`.
    """

    def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        actor, decision = params
        now = (decision.age == 0)[:, None]
        held = jnp.where(now, observation, decision.observation), jnp.where(now, goal, decision.goal)
        mean, log_std, _ = networks.act(actor, *held)
        keys = jax.vmap(lambda seed: jax.random.fold_in(jax.random.key(0), seed))(decision.seed)
        actions, _ = jax.vmap(sample_tanh_gaussian)(keys, mean, log_std)
        actions = actions.reshape(len(actions), chunk, networks.joints)
        return jnp.take_along_axis(actions, decision.age[:, None, None], axis=1)[:, 0]

    return apply


class Collector:
    """Rollouts of one environment. The first `random_posture_share` of its robots explore random postures, the others
    follow the policy, chunk by chunk where it decides on several actions at once.
    """

    def __init__(
        self, env: Environment, networks: Networks, *, random_posture_share: float, action_chunk: int = 1
    ) -> None:
        self._env, self._networks, self._chunk = env, networks, action_chunk
        self._policy = exploring(networks) if action_chunk == 1 else exploring_in_chunks(networks, action_chunk)
        self._explores = jnp.arange(env.num_envs)[:, None] < round(random_posture_share * env.num_envs)
        self._any = bool(self._explores.any())
        self._apply = _towards_postures(networks.contract, self._policy)
        self._postures = jnp.asarray(env.pool.joint_position)
        self._longest = max(1, round(_TOWARDS_ONE_POSTURE_S / networks.contract.timing.control_dt_s))

    def rollout(self, actor: Any, key: jax.Array, steps: int) -> Rollout:
        """`steps` control steps of every robot."""
        if not self._any:
            return self._follow(self._policy, actor, None, key, steps)
        parts = []
        for begin in range(0, steps, self._longest):
            posture_key, part_key = jax.random.split(jax.random.fold_in(key, begin))
            rows = jax.random.randint(posture_key, (self._env.num_envs,), 0, len(self._postures))
            towards = self._postures[rows], self._explores
            parts.append(self._follow(self._apply, actor, towards, part_key, min(self._longest, steps - begin)))
        return _joined(parts)

    def _follow(self, apply: Any, actor: Any, towards: Any, key: jax.Array, steps: int) -> Rollout:
        """One rollout; new decisions are made at its start, when a chunk is over and when an episode begins."""
        if self._chunk == 1:
            return self._env.rollout(apply, actor if towards is None else (actor, *towards), key, steps)
        seeds = np.asarray(jax.random.randint(key, (steps, self._env.num_envs), 0, 2**31 - 1), np.int32)
        decision, parts = self._undecided(seeds[0]), []
        for step in range(steps):
            params = actor, decision
            params = params if towards is None else (params, *towards)
            rollout = self._env.rollout(apply, params, jax.random.fold_in(key, step), 1)
            parts.append(Rollout(*(np.asarray(column) for column in rollout)))
            decision = self._next(decision, parts[-1], seeds[min(step + 1, steps - 1)])
        return _joined(parts)

    def _undecided(self, seed: np.ndarray) -> Decision:
        contract, count = self._networks.contract, self._env.num_envs
        observation, goal = (np.zeros((count, size(contract)), np.float32) for size in (observation_size, goal_size))
        return Decision(observation, goal, seed, np.zeros(count, np.int32))

    def _next(self, decision: Decision, step: Rollout, seed: np.ndarray) -> Decision:
        """What holds in the step after `step`."""
        decided = (np.asarray(decision.age) == 0)[:, None]
        age = np.where(step.last[0], 0, (np.asarray(decision.age) + 1) % self._chunk).astype(np.int32)
        return Decision(
            np.where(decided, step.observation[0], decision.observation),
            np.where(decided, step.goal[0], decision.goal),
            np.where(age == 0, seed, decision.seed),
            age,
        )


def _joined(parts: list[Rollout]) -> Rollout:
    return Rollout(*(jnp.concatenate(columns) for columns in zip(*parts, strict=True)))


def _towards_postures(contract: Contract, policy: Any) -> Any:
    def apply(params: Any, observation: jax.Array, goal: jax.Array, key: jax.Array) -> jax.Array:
        actor, posture, explores = params
        way = contract.action.towards(jnp, contract, joint_position(jnp, contract, observation), posture)
        action = policy(actor, observation, goal, key)
        return action if way is None else jnp.where(explores, way, action)

    return apply
