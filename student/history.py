"""A student's memory: what it saw in the last control steps, as an input and an output of a stateless policy.

    history = empty(contract, steps, count)
    past = differences(contract, steps, observation, history)       # what the network reads
    history = remember(contract, steps, observation, history)       # for the next step

Whoever runs the policy keeps the history and begins with zeros, at a start and after every interruption: a row of
zeros means "not seen yet" and reads as the present observation. In rollouts an `observation` carries the history behind
it, so that a policy stays a function of its arguments, and behind that the truth, where a teacher labels it
(`RememberingEnvironment`): seen `[D]`, history `[K (D + 1)]`, truth `[D]` or nothing.

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
from sim2real.contract.interface import observation_size, observe

_GAIN = 5.0
"""Between neighbouring steps little changes; enlarged as `policy_inputs` enlarges the goal error."""


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


def seen(contract: Contract, observation: Any) -> Any:
    """What the readings alone say, `[..., D]`."""
    return observation[..., : observation_size(contract)]


def truth(contract: Contract, steps: int, observation: Any) -> Any:
    """What the teacher sees where it stands behind the history, or else what was seen, `[..., D]`."""
    behind = observation[..., observation_size(contract) + history_size(contract, steps) :]
    return behind if behind.shape[-1] else seen(contract, observation)


def as_teacher(contract: Contract, steps: int, apply: ApplyPolicy) -> ApplyPolicy:
    """The teacher, who has no memory, in an environment that carries histories of K steps."""
    return lambda params, observation, goal, key: apply(params, truth(contract, steps, observation), goal, key)


def remembering(env: Environment, steps: int, *, true_too: bool = False) -> Environment:
    """`env` with histories of K steps behind its observations, and what the teacher sees where that is more: the truth
    with `true_too`, or readings that only it gets. `env` itself where there is nothing to add.
    """
    more = true_too or env.teacher_contract is not env.contract
    return RememberingEnvironment(env, steps, teacher_too=more, true=true_too) if steps or more else env


class RememberingEnvironment:
    """An environment whose observations carry the history, forgotten wherever an episode ends, and with `teacher_too`
    what the teacher sees, undisturbed if `true`.
    """

    def __init__(self, env: Environment, steps: int, *, teacher_too: bool = False, true: bool = False) -> None:
        self.env, self.steps, self._teacher_too, self._true = env, steps, teacher_too, true
        self.contract, self.teacher_contract = env.contract, env.teacher_contract
        self.num_envs, self.pool = env.num_envs, env.pool
        self._wrapped: dict[int, tuple[ApplyPolicy, ApplyPolicy]] = {}
        self._forget()

    def _forget(self) -> None:
        self._history = empty(self.contract, self.steps, self.num_envs)

    def reset(self) -> None:
        """Start a new episode in every environment, with nothing remembered."""
        self.env.reset()
        self._forget()

    def rollout(self, apply: ApplyPolicy, params: Any, key: Any, steps: int) -> Rollout:
        """Roll out like the environment itself, step by step, with all that observations carry."""
        parts: list[Rollout] = []
        wrapped = self._with_history(apply)
        for step in range(steps):
            behind = self._behind()
            part = self.env.rollout(wrapped, (params, behind), jax.random.fold_in(key, step), 1)
            part = Rollout(*(np.asarray(column) for column in part))
            parts.append(part._replace(observation=np.concatenate([part.observation[0], behind], axis=-1)[None]))
            if self.steps:
                after = np.asarray(remember(self.contract, self.steps, part.observation[0], self._history))
                self._history = np.where(part.last[0][:, None], np.float32(0), after)
        return Rollout(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _behind(self) -> np.ndarray:
        """What stands behind the present observations: the history, and what the teacher sees if it is wanted."""
        if not self._teacher_too:
            return self._history
        readings = self.env.true_readings() if self._true else self.env.readings()
        return np.concatenate([self._history, observe(np, self.teacher_contract, readings).astype(np.float32)], axis=-1)

    def readings(self) -> dict[str, np.ndarray]:
        """The present readings of every robot as its policy gets them, by name."""
        return self.env.readings()

    def true_readings(self) -> dict[str, np.ndarray]:
        """The present readings of every arm without noise, bias and delay, by name."""
        return self.env.true_readings()

    def _with_history(self, apply: ApplyPolicy) -> ApplyPolicy:
        """One wrapper for each policy, because environments compile once for each callable."""

        def wrapped(params: Any, observation: Any, goal: Any, key: Any) -> Any:
            return apply(params[0], jnp.concatenate([observation, params[1]], axis=-1), goal, key)

        return self._wrapped.setdefault(id(apply), (wrapped, apply))[0]

    def goals(self) -> np.ndarray:
        """The requests in force, `[N, K]`."""
        return self.env.goals()

    def set_goals(self, ids: np.ndarray, goal: np.ndarray) -> None:
        """Give environments `ids` other requests; what they remember does not depend on them."""
        self.env.set_goals(ids, goal)

    def state_dict(self) -> dict[str, Any]:
        """The environment's, and the history, if there is one: checkpoints take no empty arrays."""
        return {"environment": self.env.state_dict()} | ({"history": self._history.copy()} if self.steps else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.env.load_state_dict(state["environment"])
        self._history = np.array(state.get("history", self._history))
