"""What every objective says about itself.

Shapes: `B` batch, `D` observation size, `G` goal-vector size, `J` action size, `K` actions of a chunk, `E` embedding
size.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import jax
import jax.numpy as jnp

from sim2real.contract import Contract
from sim2real.contract.interface import action_size, goal_features, goal_size, observation_size
from teacher import replay
from teacher.networks import Encoder, Trunk, apply, num_blocks

if TYPE_CHECKING:
    from sim2real.terms import Settings
    from teacher.config import LearnerConfig, NetworkConfig

_SCALES = (0.25, 2.0, 16.0)
"""Distances at which a way is half seen, as shares of the goal's radius."""
Params = Any
Metrics = dict[str, jax.Array]


class Batch(Protocol):
    """What the learner reads of any objective's batch."""

    @property
    def observation(self) -> jax.Array:
        """`[B, D]`."""

    @property
    def action(self) -> jax.Array:
        """`[B, K J]`."""

    @property
    def goal(self) -> jax.Array:
        """`[B, G]`, what the actor is to be asked for."""


class Objective(ABC):
    """A critic: two encoders, phi(s, a) and psi(g), and whatever an objective puts on top of them."""

    encoder_share: ClassVar[float] = 1.0
    """Depth of the encoders as a share of `critic_depth`."""

    def __init__(self, contract: Contract, network: NetworkConfig, config: LearnerConfig) -> None:
        from teacher.defaults import settings_for

        self.contract, self.network, self.config = contract, network, config
        self.settings: Settings = settings_for(contract, config)
        blocks = max(1, round(self.encoder_share * num_blocks(network.critic_depth, network.block_size)))
        trunk = network_trunk(network, blocks * network.block_size)
        self.phi = Encoder(trunk, network.embedding_size)
        self.psi = Encoder(trunk, network.embedding_size)

    def init(self, phi_key: jax.Array, psi_key: jax.Array) -> Params:
        """Fresh parameters, `{"phi": ..., "psi": ...}` and those of what stands on top."""
        actions = self.config.action_chunk * action_size(self.contract)
        state = jnp.zeros((1, observation_size(self.contract) + actions))
        parts = len(_SCALES) if self.settings.critic_sees == "way" else 1
        return {
            "phi": self.phi.init(phi_key, state),
            "psi": self.psi.init(psi_key, jnp.zeros((1, goal_size(self.contract) * parts))),
        }

    def embed(self, critic: Params, observation: jax.Array, action: jax.Array) -> jax.Array:
        """phi(s, a), `[B, E]`."""
        return jnp.asarray(apply(self.phi, critic["phi"], jnp.concatenate([observation, action], -1)))

    def embed_goal(self, critic: Params, goal: jax.Array, observation: jax.Array) -> jax.Array:
        """psi(g), `[B, E]`, of goals `[B, G]`, each seen from the observation `[B, D]` of its row."""
        if self.settings.critic_sees == "way":
            seen = at_scales(self.seen(goal, observation), goal_radius(self.contract))
        else:
            seen = goal_features(self.contract, goal)
        return jnp.asarray(apply(self.psi, critic["psi"], seen))

    def seen(self, goal: jax.Array, observation: jax.Array) -> jax.Array:
        """Goal vectors `[B, G]` as the critic knows them: themselves, or the ways there from what is achieved in the
        observations `[B, D]`.
        """
        if self.settings.critic_sees == "goal":
            return goal
        return jnp.asarray(self.contract.goal.way_vector(jnp, self.contract, goal, observation))

    @abstractmethod
    def sample(self, buffer: replay.Replay, key: jax.Array, *, strata: int) -> Any:
        """A batch, relabelled as this objective learns from it: a `Batch` whose every array is `[B, ...]`."""

    @abstractmethod
    def loss(self, critic: Params, batch: Any) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
        """What the critic minimises, psi of the batch's goals, `[B, E]`, and metrics."""

    @abstractmethod
    def value(
        self, critic: Params, observation: jax.Array, action: jax.Array, goal_embedding: jax.Array, batch: Any = None
    ) -> jax.Array:
        """How good actions `[B, K J]` are on the way to goals, `[B]`: what the actor maximises. `batch` is what the
        observations come from, where they come from one.
        """


def goal_radius(contract: Contract) -> float:
    """The coarse tolerance as a distance of goal vectors: m of place, and m of rotation as the goal weighs it."""
    goal = contract.goal
    rotation = goal.orientation_weight_m * math.radians(goal.coarse_angle_deg)
    return math.hypot(goal.coarse_position_m, rotation)


def at_scales(way: jax.Array, radius: float) -> jax.Array:
    """A way `[..., G]` as it looks from near, from the middle and from afar, `[..., 3 G]` in [-1, 1].

    An encoder whose first layer is normalised sees only where a vector points as long as its biases are small; by how
    much these three differ it also sees how long the vector is.
    """
    squares = jnp.sum(way**2, axis=-1, keepdims=True)
    return jnp.concatenate([way / jnp.sqrt((share * radius) ** 2 + squares) for share in _SCALES], axis=-1)


def network_trunk(network: NetworkConfig, depth: int) -> Trunk:
    """A trunk of the configured width and design."""
    return Trunk(
        depth,
        network.width,
        network.block_size,
        network.design,
        network.remat,
        network.compute_dtype,
        grows=network.depth == "auto",
    )
