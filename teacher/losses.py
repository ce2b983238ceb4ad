"""Losses of contrastive RL, as pure functions.

Shapes: `B` batch, `E` embedding size, `J` action size.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

Contrast = Literal["forward", "symmetric"]


def energy(left: jax.Array, right: jax.Array, *, epsilon: float = 1e-6) -> jax.Array:
    """Negative distance -||left - right|| of embeddings, `[..., E]` to `[...]`.

    `epsilon` under the square root keeps the gradient finite where both are equal.
    """
    return -jnp.sqrt(jnp.sum((left - right) ** 2, axis=-1) + epsilon)


def energy_matrix(left: jax.Array, right: jax.Array, *, epsilon: float = 1e-6) -> jax.Array:
    """`energy` of all pairs, `[B, E]` twice to `[B, B]`; through one matmul, so without a `[B, B, E]` array."""
    squares = jnp.sum(left**2, -1)[:, None] + jnp.sum(right**2, -1)[None, :]
    return -jnp.sqrt(jnp.maximum(squares - 2 * left @ right.T, 0.0) + epsilon)


def info_nce(logits: jax.Array, *, contrast: Contrast, logsumexp_penalty: float) -> jax.Array:
    """InfoNCE over in-batch negatives (van den Oord et al. 2018), positives on the diagonal of `[B, B]` logits.

    `forward` classifies the goal of each state-action pair (rows), as arXiv 2503.14858 does; `symmetric` adds
    the other direction. The penalty is the mean squared log-sum-exp of the rows.
    """
    positive = jnp.diag(logits)
    rows = jax.nn.logsumexp(logits, axis=1)
    loss = jnp.mean(rows - positive)
    if contrast == "symmetric":
        loss = 0.5 * (loss + jnp.mean(jax.nn.logsumexp(logits, axis=0) - positive))
    return loss + logsumexp_penalty * jnp.mean(rows**2)


def categorical_accuracy(logits: jax.Array) -> jax.Array:
    """Share of rows whose largest logit is the positive."""
    return jnp.mean(jnp.argmax(logits, axis=1) == jnp.arange(logits.shape[0]))


def sample_tanh_gaussian(key: jax.Array, mean: jax.Array, log_std: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A reparameterised action `[B, J]` in (-1, 1) and its log density `[B]` (SAC, arXiv 1801.01290, appendix C)."""
    noise = jax.random.normal(key, mean.shape)
    raw = mean + jnp.exp(log_std) * noise
    log_density = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)
    # log(1 - tanh(x)^2), in the form that does not lose precision for large |x|.
    correction = 2 * (jnp.log(2.0) - raw - jax.nn.softplus(-2 * raw))
    return jnp.tanh(raw), jnp.sum(log_density - correction, axis=-1)
