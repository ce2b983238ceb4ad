"""InfoNCE on the energy -||phi(s, a) - psi(g)||: contrastive RL as in arXiv 2206.07568 and 2503.14858.

Shapes: `B` batch, `E` embedding size.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

from teacher import replay
from teacher.objectives.base import Metrics, Objective, Params
from teacher.objectives.energy import energy, energy_matrix

Contrast = Literal["forward", "symmetric"]


class InfoNCE(Objective):
    """Which goal of the batch belongs to which state and action."""

    def sample(self, buffer: replay.Replay, key: jax.Array, *, strata: int) -> replay.Batch:
        """Goals from each step's own future."""
        return replay.sample(
            buffer,
            key,
            batch_size=self.config.batch_size,
            gamma=self.settings.gamma,
            strata=strata,
            moving_share=self.settings.moving_goal_share,
            chunk=self.config.action_chunk,
        )

    def loss(self, critic: Params, batch: replay.Batch) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
        """InfoNCE of phi(s, a) against psi(g) over the batch."""
        config = self.config
        goal_embedding = self.embed_goal(critic, batch.goal, batch.observation)
        embedding = self.embed(critic, batch.observation, batch.action)
        logits = energy_matrix(embedding, goal_embedding, epsilon=config.energy_epsilon)
        loss = info_nce(
            logits,
            contrast=config.contrast,
            logsumexp_penalty=config.logsumexp_penalty,
            over=batch.over if config.termination_cost > 0 else None,
            termination_cost=config.termination_cost,
        )
        metrics = {
            "critic_loss": loss,
            "categorical_accuracy": categorical_accuracy(logits),
            "logits_positive": jnp.mean(jnp.diag(logits)),
            "logits_negative": (jnp.sum(logits) - jnp.trace(logits)) / (logits.size - logits.shape[0]),
        }
        return loss, (goal_embedding, metrics)

    def value(
        self, critic: Params, observation: jax.Array, action: jax.Array, goal_embedding: jax.Array, batch: Any = None
    ) -> jax.Array:
        """The energy."""
        embedding = self.embed(critic, observation, action)
        return energy(embedding, goal_embedding, epsilon=self.config.energy_epsilon)


def info_nce(
    logits: jax.Array,
    *,
    contrast: Contrast,
    logsumexp_penalty: float,
    over: jax.Array | None = None,
    termination_cost: float = 0.0,
) -> jax.Array:
    """InfoNCE over in-batch negatives (van den Oord et al. 2018), positives on the diagonal of `[B, B]` logits.

    `forward` classifies the goal of each state-action pair (rows), as arXiv 2503.14858 does; `symmetric` adds
    the other direction. The penalty is the mean squared log-sum-exp of the rows.

    InfoNCE compares a row's goals with each other and says nothing of the row as a whole. So where `over` `[B]` of its
    future is lost, the penalty has the log-sum-exp of the row lower by that share of the cost, and the other direction,
    which compares rows, counts by as much less.
    """
    positive = jnp.diag(logits)
    rows = jax.nn.logsumexp(logits, axis=1)
    lost = jnp.zeros_like(rows) if over is None else over
    loss = jnp.mean(rows - positive)
    if contrast == "symmetric":
        columns = jax.nn.logsumexp(logits, axis=0) - positive
        loss = 0.5 * (loss + jnp.mean((1 - lost) * columns))
    return loss + logsumexp_penalty * jnp.mean((rows + termination_cost * lost) ** 2)


def categorical_accuracy(logits: jax.Array) -> jax.Array:
    """Share of rows whose largest logit is the positive."""
    return jnp.mean(jnp.argmax(logits, axis=1) == jnp.arange(logits.shape[0]))
