"""ChronoSRL: survival RL whose embeddings also measure time, and whose actor values staying at the goal
(arXiv 2609.36238).

Four losses of weight one: the hazards' likelihood of `survival`; how long the robot is within the goal's radius, half
of it and a quarter, in bins that grow with time; ||phi - psi|| against kappa times the time until a goal that was
reached, kappa = -log gamma; and a hinge that keeps apart what did not come together.

Other than published, what is known not to be reached in c steps is kept kappa c apart, not kappa W: an episode that
was cut off says nothing about later.

Shapes: `B` batch, `W` window, `R` radii, `O` occupancy bins, `E` embedding size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sim2real.contract import Contract
from teacher.objectives.base import Metrics, Params
from teacher.objectives.energy import energy, energy_matrix
from teacher.objectives.hazards import bin_edges, censored_likelihood, discounted_lengths, expected_time
from teacher.objectives.reaching import ReachBatch
from teacher.objectives.survival import Survival, about

if TYPE_CHECKING:
    from teacher.config import LearnerConfig, NetworkConfig

RADII = (1.0, 0.5, 0.25)
"""Shares of the goal's radius."""


class Chrono(Survival):
    """Encoders of the whole depth, and a head that also predicts occupancy."""

    encoder_share: ClassVar[float] = 1.0

    def __init__(self, contract: Contract, network: NetworkConfig, config: LearnerConfig) -> None:
        super().__init__(contract, network, config)
        self.kappa = -math.log(self.settings.gamma)

    @property
    def occupancy_edges(self) -> np.ndarray:
        """Edges of the occupancy's bins, `[O + 1]`."""
        return bin_edges(self.window, self.config.survival.occupancy_bins)

    @property
    def outputs(self) -> int:
        """Hazards, then radius by radius the occupancy of every bin."""
        return super().outputs + len(RADII) * (len(self.occupancy_edges) - 1)

    def loss(self, critic: Params, batch: ReachBatch) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
        """The sum of the four."""
        goal_embedding = self.embed_goal(critic, batch.goal, batch.observation)
        embedding = self.embed(critic, batch.observation, batch.action)
        hazards, occupancy = self._split(self.logits(critic, embedding, goal_embedding))
        inside, seen = occupancy_targets(batch.distance, batch.terminated, self.radius, self.occupancy_edges)
        apart = -energy(embedding, goal_embedding)
        all_apart = -energy_matrix(embedding, goal_embedding)
        goals = self.seen(batch.goal, batch.observation)
        far = -energy_matrix(goals, goals, epsilon=0.0) > self.radius
        parts = {
            "hazard_loss": jnp.mean(censored_likelihood(hazards, *batch.reaching, self.edges)),
            "occupancy_loss": occupancy_loss(occupancy, inside, seen),
            "time_loss": time_loss(apart, batch.reaching.time, batch.reaching.reached, self.kappa),
            "separation_loss": separation_loss(
                apart, batch.reaching.reached, batch.reaching.observed, all_apart, far, self.kappa, self.window
            ),
        }
        loss = sum(parts.values(), jnp.zeros(()))
        return loss, (goal_embedding, {"critic_loss": loss, **parts, **about(batch)})

    def value(
        self, critic: Params, observation: jax.Array, action: jax.Array, goal_embedding: jax.Array, batch: Any = None
    ) -> jax.Array:
        """Minus the expected time until the goal, plus discounted steps within its radii, weighted with the share of
        the batch's episodes that were terminated: where robots fall, to stand at the goal for long is to not fall.
        """
        hazards, occupancy = self._split(self.logits(critic, self.embed(critic, observation, action), goal_embedding))
        value = -expected_time(hazards, self.lengths)
        if batch is None or not self.contract.terminations:
            return value
        lengths = discounted_lengths(self.occupancy_edges, self.config.survival.time_gamma)
        steps = jax.nn.sigmoid(occupancy).mean(axis=1) @ jnp.asarray(lengths, jnp.float32)
        return value + jnp.mean(batch.terminated) * steps

    def _split(self, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        hazards = len(self.edges)
        return logits[:, :hazards], logits[:, hazards:].reshape(len(logits), len(RADII), -1)


def occupancy_targets(
    distance: jax.Array, terminated: jax.Array, radius: float, edges: np.ndarray
) -> tuple[jax.Array, jax.Array]:
    """Share of the observed steps of each bin that are within each radius, `[B, R, O]`, and whether any was observed,
    `[B, O]`, from distances `[B, W + 1]`.

    Bin j holds the steps e_j < t <= e_{j+1}. After a termination nothing is within any; after a cut nothing is known.
    """
    member = np.repeat(np.eye(len(edges) - 1, dtype=np.float32), np.diff(edges), axis=0)
    ahead = distance[:, 1:]
    known = (jnp.isfinite(ahead) | terminated[:, None]).astype(jnp.float32)
    limits = radius * jnp.asarray(RADII)
    within = (ahead[:, None] <= limits[:, None]).astype(jnp.float32)
    steps = known @ member
    return (within @ member) / jnp.maximum(steps, 1.0)[:, None], steps > 0


def occupancy_loss(logits: jax.Array, inside: jax.Array, seen: jax.Array) -> jax.Array:
    """Binary cross entropy of `[B, R, O]` logits against shares, mean over what was seen."""
    loss = jax.nn.softplus(logits) - inside * logits
    weight = jnp.broadcast_to(seen[:, None], loss.shape)
    return jnp.sum(loss * weight) / jnp.maximum(jnp.sum(weight), 1)


def time_loss(apart: jax.Array, time: jax.Array, reached: jax.Array, kappa: float) -> jax.Array:
    """Huber loss of distances `[B]` against kappa times the time until the goal, mean over goals that were reached."""
    loss = optax.losses.huber_loss(apart, kappa * time)
    return jnp.sum(loss * reached) / jnp.maximum(jnp.sum(reached), 1)


def separation_loss(
    apart: jax.Array,
    reached: jax.Array,
    observed: jax.Array,
    all_apart: jax.Array,
    far: jax.Array,
    kappa: float,
    window: int,
) -> jax.Array:
    """Hinges, mean over pairs: a goal that was not reached in c observed steps lies at least kappa c away, and goals of
    other rows that lie farther than the radius from the row's own goal, `far` `[B, B]`, at least kappa W.
    """
    missed = jax.nn.relu(kappa * observed - apart) * ~reached
    others = far & ~jnp.eye(len(far), dtype=bool)
    away = jax.nn.relu(kappa * window - all_apart) * others
    return jnp.sum(missed) / jnp.maximum(jnp.sum(~reached), 1) + jnp.sum(away) / jnp.maximum(jnp.sum(others), 1)
