"""A student's memory: what it saw in the last control steps, as an input and an output of a stateless policy.

    history = empty(contract, steps, count)
    past = differences(contract, steps, observation, history)       # what the network reads
    history = remember(contract, steps, observation, history)       # for the next step

Whoever runs the policy keeps the history and begins with zeros, at a start and after every interruption: a row of
zeros means "not seen yet" and reads as the present observation. In rollouts an `observation` carries the history behind
it, `[..., D + K (D + 1)]`, so that a policy stays a function of its arguments (`RememberingEnvironment`).

Stacked observations are how Mnih et al. 2015 (DQN) meet what a single one does not show: a velocity without a sensor,
commands that a delay still holds back.

Shapes: `B` any batch, `D` observation size, `K` remembered steps, newest first.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sim2real.backends.base import ApplyPolicy, Environment, Rollout
from sim2real.contract import Contract
from sim2real.interface import observation_size

_GAIN = 5.0
"""Between neighbouring steps little changes; enlarged as `sim2real.interface.policy_inputs` enlarges the goal error."""


def history_size(contract: Contract, steps: int) -> int:
    """Numbers in a history: K rows of an observation and a 1."""
    return steps * (observation_size(contract) + 1)


def empty(contract: Contract, steps: int, count: int) -> np.ndarray:
    """The history before anything was seen, `[count, K (D + 1)]`."""
    return np.zeros((count, history_size(contract, steps)), np.float32)


def remember(contract: Contract, steps: int, observation: Any, history: Any) -> jax.Array:
    """The history after `observation` `[B, D]`; the oldest row is dropped."""
    kept = history[..., : history_size(contract, steps - 1)]
    return jnp.concatenate([observation, jnp.ones_like(observation[..., :1]), kept], axis=-1)


def differences(contract: Contract, steps: int, observation: jax.Array, history: jax.Array) -> jax.Array:
    """Every remembered observation minus the present one, enlarged, `[B, K D]`; 0 where nothing is remembered.

    Written as matrix products, because each operation costs half a microsecond on the robot.
    """
    size = observation_size(contract)
    rows, present = np.eye(steps, dtype=np.float32), np.eye(size, dtype=np.float32)
    picked = np.kron(rows, np.eye(size + 1, size, dtype=np.float32))
    seen = np.kron(rows, np.repeat(np.eye(size + 1, dtype=np.float32)[:, size:], size, axis=1))
    return _GAIN * (history @ picked - (history @ seen) * (observation @ np.tile(present, steps)))


def split(contract: Contract, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Observation `[B, D]` and the history behind it, `[B, K (D + 1)]`."""
    size = observation_size(contract)
    return observation[..., :size], observation[..., size:]


def without_history(contract: Contract, apply: ApplyPolicy) -> ApplyPolicy:
    """A policy without a memory, the teacher say, in an environment that carries histories."""
    return lambda params, observation, goal, key: apply(params, split(contract, observation)[0], goal, key)


def remembering(env: Environment, steps: int) -> Environment:
    """`env` with histories of K steps behind its observations; `env` itself for K = 0."""
    return RememberingEnvironment(env, steps) if steps else env


class RememberingEnvironment:
    """An environment whose observations carry the history, forgotten wherever an episode ends."""

    def __init__(self, env: Environment, steps: int) -> None:
        self.env, self.steps = env, steps
        self.contract, self.num_envs = env.contract, env.num_envs
        self._wrapped: dict[int, tuple[ApplyPolicy, ApplyPolicy]] = {}
        self._forget()

    def _forget(self) -> None:
        self._history = empty(self.contract, self.steps, self.num_envs)

    def reset(self) -> None:
        """Start a new episode in every environment, with nothing remembered."""
        self.env.reset()
        self._forget()

    def rollout(self, apply: ApplyPolicy, params: Any, key: Any, steps: int) -> Rollout:
        """As the environment's own, step by step; observations are `[T, N, D + K (D + 1)]`."""
        parts: list[Rollout] = []
        wrapped = self._with_history(apply)
        for step in range(steps):
            part = self.env.rollout(wrapped, (params, self._history), jax.random.fold_in(key, step), 1)
            part = Rollout(*(np.asarray(column) for column in part))
            seen, before = part.observation[0], self._history
            parts.append(part._replace(observation=np.concatenate([seen, before], axis=-1)[None]))
            after = np.asarray(remember(self.contract, self.steps, seen, before))
            self._history = np.where(part.last[0][:, None], np.float32(0), after)
        return Rollout(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _with_history(self, apply: ApplyPolicy) -> ApplyPolicy:
        """One wrapper for each policy, because environments compile once for each callable."""

        def wrapped(params: Any, observation: Any, goal: Any, key: Any) -> Any:
            return apply(params[0], jnp.concatenate([observation, params[1]], axis=-1), goal, key)

        return self._wrapped.setdefault(id(apply), (wrapped, apply))[0]

    def goals(self) -> tuple[np.ndarray, np.ndarray]:
        """The commanded tool positions `[N, 3]` m and orientations `[N, 4]` wxyz."""
        return self.env.goals()

    def set_goals(self, ids: np.ndarray, position: np.ndarray, orientation: np.ndarray) -> None:
        """Give environments `ids` other goals; what they remember does not depend on goals."""
        self.env.set_goals(ids, position, orientation)

    def state_dict(self) -> dict[str, Any]:
        """The environment's, and the history."""
        return {"environment": self.env.state_dict(), "history": self._history.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.env.load_state_dict(state["environment"])
        self._history = np.array(state["history"])
