"""Survival RL: the critic predicts how long it takes to reach the goal, the actor makes that short (arXiv 2605.31273).

The critic's loss is the likelihood of the first time at which a goal was within its tolerance, right-censored where the
episode was cut off before; a terminated episode is known never to get there. Other than published, the hazards' bins
grow with time instead of going through a low-rank basis, and time is counted in control steps.

Shapes: `B` batch, `N` bins, `E` embedding size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp

from sim2real.contract import Contract
from teacher import replay
from teacher.networks import apply
from teacher.objectives import reaching
from teacher.objectives.base import Metrics, Objective, Params, goal_radius, network_trunk
from teacher.objectives.hazards import TimeHead, bin_edges, censored_likelihood, discounted_lengths, expected_time

if TYPE_CHECKING:
    from teacher.config import LearnerConfig, NetworkConfig


class Survival(Objective):
    """Encoders of half the depth and a head of the whole depth."""

    encoder_share: ClassVar[float] = 0.5

    def __init__(self, contract: Contract, network: NetworkConfig, config: LearnerConfig) -> None:
        super().__init__(contract, network, config)
        own = config.survival
        self.window = min(own.window or contract.timing.episode_steps, contract.timing.episode_steps)
        self.radius = own.goal_radius_m or goal_radius(contract)
        self.edges = bin_edges(self.window, own.time_bins)
        self.lengths = discounted_lengths(self.edges, own.time_gamma)
        self.head = TimeHead(network_trunk(network, network.critic_depth), self.outputs)

    @property
    def outputs(self) -> int:
        """Logits of the head: one for every bin, and one before them."""
        return len(self.edges)

    def init(self, phi_key: jax.Array, psi_key: jax.Array) -> Params:
        """Parameters with those of the head."""
        blank = jnp.zeros((1, self.network.embedding_size))
        head = self.head.init(jax.random.fold_in(phi_key, 1), blank, blank)
        return super().init(phi_key, psi_key) | {"head": head}

    def sample(self, buffer: replay.Replay, key: jax.Array, *, strata: int) -> reaching.ReachBatch:
        """Goals mostly from each step's own future, and when each is first reached."""
        own = self.config.survival
        return reaching.sample(
            buffer,
            key,
            batch_size=self.config.batch_size,
            gamma=self.settings.gamma,
            window=self.window,
            radius=self.radius,
            own_goal_share=own.own_goal_share,
            other_goal_share=own.other_goal_share,
            strata=strata,
            moving_share=self.settings.moving_goal_share,
            chunk=self.config.action_chunk,
        )

    def logits(self, critic: Params, embedding: jax.Array, goal_embedding: jax.Array) -> jax.Array:
        """Logits of the head, `[B, outputs]`."""
        return jnp.asarray(apply(self.head, critic["head"], embedding, goal_embedding))

    def loss(self, critic: Params, batch: reaching.ReachBatch) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
        """The censored likelihood."""
        goal_embedding = self.embed_goal(critic, batch.goal, batch.observation)
        logits = self.logits(critic, self.embed(critic, batch.observation, batch.action), goal_embedding)
        loss = jnp.mean(censored_likelihood(logits, *batch.reaching, self.edges))
        return loss, (goal_embedding, {"critic_loss": loss, **about(batch)})

    def value(
        self, critic: Params, observation: jax.Array, action: jax.Array, goal_embedding: jax.Array, batch: Any = None
    ) -> jax.Array:
        """Minus the discounted control steps that are expected until the goal."""
        logits = self.logits(critic, self.embed(critic, observation, action), goal_embedding)
        return -expected_time(logits, self.lengths)


def about(batch: reaching.ReachBatch) -> Metrics:
    """What the batch holds."""
    return {
        "goals_reached": jnp.mean(batch.reaching.reached),
        "episodes_terminated": jnp.mean(batch.terminated),
    }
