"""What a simulation backend gives to training and evaluation.

Shapes: `T` control steps, `N` environments, `D` observation size, `G` goal-vector size, `J` joints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from sim2real.contract import Contract
from sim2real.tasks.goal_pool import GoalPool

Array = Any
"""NumPy on the native backend, JAX on mjx."""

ApplyPolicy = Callable[[Any, Array, Array, Array], Array]
"""`apply(params, observation [N, D], goal [N, G], key) -> action [N, J]`, traceable by JAX."""


class Rollout(NamedTuple):
    """What one call of `Environment.rollout` saw, time first."""

    observation: Array
    """`[T, N, D]`."""
    achieved: Array
    """`[T, N, G]`, the goal vector that is fulfilled."""
    goal: Array
    """`[T, N, G]`, the commanded goal."""
    action: Array
    """`[T, N, J]` in [-1, 1]."""
    last: Array
    """`[T, N]` bool, true on the last step of an episode."""
    terminated: Array
    """`[T, N]` bool, true on that of an episode that was over before its time."""


class Environment(Protocol):
    """N robots that start and are given goals at random, anew in every episode."""

    contract: Contract
    teacher_contract: Contract
    """The same with what only teachers are told."""
    num_envs: int
    pool: GoalPool

    def reset(self) -> None:
        """Start a new episode in every environment, with new starts and goals."""

    def rollout(self, apply: ApplyPolicy, params: Any, key: Array, steps: int) -> Rollout:
        """Advance all environments by `steps` control steps under a policy; episodes restart by themselves."""

    def readings(self) -> dict[str, np.ndarray]:
        """The present readings of every robot as its policy gets them, and those that only a teacher gets, by name,
        `[N, size]`.
        """

    def true_readings(self) -> dict[str, np.ndarray]:
        """The present readings of every robot without noise, bias and delay, and those that only a teacher gets, by
        name, `[N, size]`.
        """

    def goals(self) -> np.ndarray:
        """The requests in force, `[N, K]`."""

    def set_goals(self, ids: np.ndarray, goal: np.ndarray) -> None:
        """Give environments `ids` `[n]` other requests `[n, K]` in the middle of their episodes."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that the next rollout depends on, for an exact resume."""

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Continue from `state_dict()` of an environment of the same task and size."""
