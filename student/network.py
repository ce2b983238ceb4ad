"""The student: a small MLP with a policy head, a reachability head, and projections used only in training.

Shapes: `B` batch, `J` action size, `H` hidden width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from student.config import StudentNetworkConfig
from teacher.networks import LOG_STD_MAX, LOG_STD_MIN


class StudentTrunk(nn.Module):
    """Hidden layers: Dense, LayerNorm (optional), activation; `[B, in]` to `[B, H]`."""

    config: StudentNetworkConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The last hidden layer's activations."""
        activation = nn.swish if self.config.activation == "swish" else nn.relu
        for _ in range(self.config.hidden_layers):
            x = nn.Dense(self.config.hidden_width)(x)
            if self.config.layer_norm:
                x = nn.LayerNorm()(x)
            x = activation(x)
            if not self.is_initializing():
                self.sow("intermediates", "layer", x)  # nothing, unless someone asks for intermediates
        return x


class StudentPolicy(nn.Module):
    """Mean and log standard deviation before the tanh, `[B, J]` each, and the features."""

    config: StudentNetworkConfig
    action_size: int

    def setup(self) -> None:
        """Create the layers."""
        self.trunk = StudentTrunk(self.config)
        self.mean_head = nn.Dense(self.action_size)
        self.log_std_head = nn.Dense(self.action_size)

    def __call__(self, inputs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Everything that the losses compare with the teacher."""
        features = self.trunk(inputs)
        raw = self.log_std_head(features)
        log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (jnp.tanh(raw) + 1)
        return self.mean_head(features), log_std, features

    def action(self, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The action that is executed, `[B, J]` in (-1, 1), and the features."""
        features = self.trunk(inputs)
        return jnp.tanh(self.mean_head(features)), features


def layers(policy: StudentPolicy, params: Any, inputs: jax.Array) -> list[jax.Array]:
    """Activations of every hidden layer, `[B, in]` to `[B, H]` each."""
    _, collected = policy.apply(params, inputs, mutable=["intermediates"])
    return list(collected["intermediates"]["trunk"]["layer"])


class Projections(nn.Module):
    """Linear maps from student features into the teacher's spaces; not exported."""

    sizes: dict[str, int]

    @nn.compact
    def __call__(self, features: jax.Array) -> dict[str, jax.Array]:
        """One projection for each name, `[B, size]`."""
        return {name: nn.Dense(size, name=name)(features) for name, size in self.sizes.items()}


class ReachabilityHead(nn.Module):
    """Logit of P(goal reached within an episode), `[B, 1]`, from policy inputs and student features."""

    width: int = 64
    outputs: int = 1
    """2 in training: the second follows what the teacher's critic thinks and is cut off afterwards."""

    @nn.compact
    def __call__(self, inputs: jax.Array, features: jax.Array) -> jax.Array:
        """The uncalibrated logit."""
        x = nn.relu(nn.Dense(self.width)(jnp.concatenate([inputs, features], -1)))
        return nn.Dense(self.outputs)(x)


class StudentParams(NamedTuple):
    """Parameters that are exported."""

    policy: Any
    reachability: Any
