"""Distillation losses, as pure functions. Shapes: `B` batch, `J` action size, `F` feature size."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def gaussian_kl(teacher_mean: jax.Array, teacher_log_std: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """Mean over the batch of KL(teacher || student) between diagonal Gaussians, `[B, J]` each, before the tanh."""
    variance_ratio = jnp.exp(2 * (teacher_log_std - log_std))
    distance = (teacher_mean - mean) ** 2 * jnp.exp(-2 * log_std)
    return jnp.mean(jnp.sum(log_std - teacher_log_std + 0.5 * (variance_ratio + distance - 1), axis=-1))


def action_error(teacher_mean: jax.Array, mean: jax.Array) -> jax.Array:
    """Mean squared error of the executed actions tanh(mean), summed over joints."""
    return jnp.mean(jnp.sum((jnp.tanh(teacher_mean) - jnp.tanh(mean)) ** 2, axis=-1))


def normalised_distance(projected: jax.Array, target: jax.Array) -> jax.Array:
    """Mean of 2 - 2 cos between `[B, F]` rows: representation matching whatever the scale (FitNets with cosine)."""
    left = projected / (jnp.linalg.norm(projected, axis=-1, keepdims=True) + 1e-6)
    right = target / (jnp.linalg.norm(target, axis=-1, keepdims=True) + 1e-6)
    return jnp.mean(jnp.sum((left - right) ** 2, axis=-1))


def binary_cross_entropy(logit: jax.Array, label: jax.Array) -> jax.Array:
    """Mean binary cross entropy of logits against labels in {0, 1}, any equal shapes."""
    return jnp.mean(jnp.logaddexp(0.0, logit) - label * logit)
