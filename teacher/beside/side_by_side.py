"""Updates on a CPU as two programs on two threads: one updates the critic while the other updates the actor.

    critic  | 1 | 2 | 3 | 4 | ...        no critic's loss has an actor in it, so the critic goes ahead, by two at most;
    actor       | 1 | 2 | 3 | ...        the actor of update t gets the batch, psi(g) and the critic of update t

Within one program XLA runs the loops over the blocks one after the other, whatever cores there are, and each product of
such small matrices is too short to be shared. Critic and actor take about six and five parts of an update. Threads hand
each update over, which costs more than it gains where other work keeps the cores busy, so this is for idle ones. The
numbers are those of `Learner.update_many`.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from teacher import replay
from teacher.learner import Learner, LearnerState
from teacher.objectives.base import Metrics, Params

_AHEAD = 2


class Judged(NamedTuple):
    """What the actor's update gets of the critic's."""

    judge: Params
    goal_embedding: jax.Array
    batch: Any


class SideBySide:
    """The updates of a learner, critic and actor at the same time."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    def __eq__(self, other: object) -> bool:
        """As its learner."""
        return isinstance(other, SideBySide) and self.learner == other.learner

    def __hash__(self) -> int:
        return hash(self.learner)

    def update_many(
        self, state: LearnerState, buffer: replay.Replay, key: jax.Array, count: int
    ) -> tuple[LearnerState, Metrics]:
        """As `Learner.update_many`; of the state that is given, only the critic's parameters are not consumed."""
        keys = jax.random.split(key, count)
        actor_optimizer, optimizer, alpha_optimizer = state.optimizer
        critic, critic_rows, actor_rows = state.critic, [], []
        # The actor's program neither reads nor returns what is the critic's.
        actor = state._replace(critic=None, optimizer=(actor_optimizer, None, alpha_optimizer))

        def follow(judged: Judged, number: np.int32) -> None:
            nonlocal actor
            actor, row = self._update_actor(actor, judged, keys, number)
            jax.tree.map(np.asarray, row)  # so that it is finished
            actor_rows.append(row)

        begun: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1, "actor") as thread:
            # NumPy's, because the first update would place an array of JAX's anew, and the second be compiled for it.
            for number in np.arange(count, dtype=np.int32):
                before = critic
                critic, optimizer, goal_embedding, batch, row = self._update_critic(
                    before, optimizer, buffer, keys, number
                )
                judge = critic if self.learner.judged_by_updated else before
                begun.append(thread.submit(follow, Judged(judge, goal_embedding, batch), number))
                critic_rows.append(row)
                if len(begun) > _AHEAD:
                    begun.popleft().result()
            for future in begun:
                future.result()
        optimizers = actor.optimizer[0], optimizer, actor.optimizer[2]
        return actor._replace(critic=critic, optimizer=optimizers), _means(critic_rows) | _means(actor_rows)

    @partial(jax.jit, static_argnums=0, donate_argnums=2)
    def _update_critic(
        self, critic: Params, optimizer: Any, buffer: replay.Replay, keys: jax.Array, number: np.int32
    ) -> tuple[Params, Any, jax.Array, Any, Metrics]:
        """Critic and optimiser after one update, psi(g) before it, the batch and metrics."""
        batch = self.learner.sample(buffer, jax.random.split(keys[number])[0])
        critic, optimizer, goal_embedding, metrics = self.learner.update_critic(critic, optimizer, batch)
        return critic, optimizer, goal_embedding, batch, metrics

    @partial(jax.jit, static_argnums=0, donate_argnums=1)
    def _update_actor(
        self, state: LearnerState, judged: Judged, keys: jax.Array, number: np.int32
    ) -> tuple[LearnerState, Metrics]:
        """The state after one update of the actor, and metrics."""
        return self.learner.update_actor(state, *judged, jax.random.split(keys[number])[1])


def _means(rows: list[Metrics]) -> Metrics:
    values = jax.device_get(rows)
    return {name: jnp.asarray(np.mean([row[name] for row in values])) for name in values[0]}
