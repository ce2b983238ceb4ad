"""The energy of contrastive critics: how near two embeddings lie. Shapes: `B` batch, `E` embedding size."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def energy(left: jax.Array, right: jax.Array, *, epsilon: float = 1e-6) -> jax.Array:
    """Negative distance -||left - right|| of embeddings, `[..., E]` to `[...]`.

    `epsilon` under the square root keeps the gradient finite where both are equal.
    """
    return -jnp.sqrt(jnp.sum((left - right) ** 2, axis=-1) + epsilon)


def energy_matrix(left: jax.Array, right: jax.Array, *, epsilon: float = 1e-6) -> jax.Array:
    """`energy` of all pairs, `[B, E]` twice to `[B, B]`; through one matmul, so without a `[B, B, E]` array."""
    squares = jnp.sum(left**2, -1)[:, None] + jnp.sum(right**2, -1)[None, :]
    return -jnp.sqrt(jnp.maximum(squares - 2 * left @ right.T, 0.0) + epsilon)
