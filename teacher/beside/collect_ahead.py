"""Collection beside learning: while the learner updates, a thread collects the rollout of the next round.

    main      | update 1          | update 2          | ...
    thread    | collect 2 |       | collect 3 |       | ...      with the actor as it was before the update beside it

So a policy collects that is older by one round of updates. Which one is fixed, so the numbers don't depend on who is
first. Physics and policy of the thread run on CPUs, wherever the learner is: a program on a GPU would wait until the
updates are done.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from sim2real.backends.base import Rollout
from sim2real.contract import Contract
from sim2real.contract.interface import action_size, goal_size, observation_size

Collect = Callable[[int, Any], Rollout]
"""`collect(number, actor)`: a round's rollout, which follows from the environment's state, `number` and `actor`."""


class CollectAhead:
    """The next rollout, under way or done."""

    def __init__(self, collect: Collect) -> None:
        self._collect = collect
        self._thread = ThreadPoolExecutor(1, "collector")
        self._next: Future[Rollout] | None = None

    def collect(self, number: int, actor: Any) -> Rollout:
        """A rollout now, by the same programs as those of the thread."""
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            return self._collect(number, actor)

    def begin(self, number: int, actor: Any) -> None:
        """Collect with a copy of `actor`, whose arrays the updates consume."""
        self._next = self._thread.submit(self.collect, number, jax.tree.map(np.array, actor))

    def take(self, number: int, actor: Any) -> Rollout:
        """The rollout that was begun, as soon as it is there; at a run's start, one by `actor`."""
        if self._next is None:
            return self.collect(number, jax.tree.map(np.array, actor))
        rollout, self._next = self._next.result(), None
        return rollout

    def state(self) -> dict[str, np.ndarray]:
        """The rollout that was begun, for a checkpoint; the environment has then come to its end."""
        assert self._next is not None, "a checkpoint follows a round, and every round begins a rollout"
        return {name: np.asarray(value) for name, value in self._next.result()._asdict().items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on with a rollout from a checkpoint."""
        self._next = Future()
        self._next.set_result(Rollout(**state))


def blank(contract: Contract, *, steps: int, num_envs: int) -> dict[str, np.ndarray]:
    """Arrays of a rollout's shapes, into which a checkpoint is read."""
    sizes = {"observation": observation_size(contract), "action": action_size(contract)}
    sizes |= dict.fromkeys(("achieved", "goal"), goal_size(contract))
    numbers = {name: np.zeros((steps, num_envs, size), np.float32) for name, size in sizes.items()}
    return numbers | {name: np.zeros((steps, num_envs), bool) for name in ("last", "terminated")}
