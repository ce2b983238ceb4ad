"""Distillation losses, as pure functions. Shapes: `B` batch, `J` action size, `F` feature size."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from teacher.objectives.energy import energy_matrix


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
    return jnp.mean(jnp.sum((unit(projected) - unit(target)) ** 2, axis=-1))


def relational_distance(
    projected: tuple[jax.Array, jax.Array], target: tuple[jax.Array, jax.Array], scale: float = 1.0
) -> jax.Array:
    """Relational matching of the batch's energy matrix, `[B, E]` phi and psi of student and teacher.

    Row i holds -||phi_i - psi_j|| for all goals j of the batch. Cross entropy between the rows' softmaxes, teacher's
    minus its own entropy, so that 0 means the same preferences among goals (Park et al. 2019, arXiv 1904.05068, with
    the contrastive critic's energy in place of their distances).
    """
    wanted, got = (jax.nn.log_softmax(scale * energy_matrix(*pair), axis=1) for pair in (target, projected))
    return jnp.mean(jnp.sum(jnp.exp(wanted) * (wanted - got), axis=1))


def contrastive(projected: jax.Array, target: jax.Array, temperature: float = 0.1) -> jax.Array:
    """InfoNCE between student rows and teacher rows `[B, F]`: each row must find its own teacher among the batch's
    (Tian et al. 2020, arXiv 1910.10699, with the batch as negatives).
    """
    logits = unit(projected) @ unit(target).T / temperature
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits))


def unit(x: jax.Array) -> jax.Array:
    """Rows of length one."""
    return jnp.asarray(x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-6))


def binary_cross_entropy(logit: jax.Array, label: jax.Array) -> jax.Array:
    """Mean binary cross entropy of logits against labels in {0, 1}, any equal shapes."""
    return jnp.mean(jnp.logaddexp(0.0, logit) - label * logit)
