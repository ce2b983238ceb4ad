"""Aggregated DAgger data: states that were visited, with the teacher's answers, in a bounded ring.

Shapes: `M` capacity, `n` states of one insert, `B` batch.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Labels(NamedTuple):
    """What the teacher says about states, and what representation matching compares."""

    mean: jax.Array
    """`[n, J]` before the tanh."""
    log_std: jax.Array
    """`[n, J]`."""
    features: jax.Array
    """`[n, F]`, the teacher actor's last features."""
    phi: jax.Array
    """`[n, E]`, phi(s, tanh(mean))."""
    psi: jax.Array
    """`[n, E]`, psi(g)."""


class Dataset(NamedTuple):
    """The ring of examples."""

    inputs: jax.Array
    """`[M, I]`, policy inputs."""
    labels: Labels
    filled: jax.Array
    """int32: states inserted so far, also beyond the capacity."""


def create(*, capacity: int, inputs: jax.Array, labels: Labels) -> Dataset:
    """An empty ring for rows shaped as the given examples `[n, ...]`."""

    def empty(x: jax.Array) -> jax.Array:
        return jnp.zeros((capacity, *x.shape[1:]), x.dtype)

    return Dataset(empty(inputs), jax.tree.map(empty, labels), jnp.zeros((), jnp.int32))


def insert(data: Dataset, inputs: jax.Array, labels: Labels) -> Dataset:
    """Append n rows, overwriting the oldest."""
    capacity, count = data.inputs.shape[0], inputs.shape[0]
    kept = min(count, capacity)  # writing a row twice in one scatter has no defined order
    rows = (data.filled + count - kept + jnp.arange(kept)) % capacity

    def put(ring: jax.Array, new: jax.Array) -> jax.Array:
        return ring.at[rows].set(new[count - kept :])

    return Dataset(put(data.inputs, inputs), jax.tree.map(put, data.labels, labels), data.filled + count)


def sample(data: Dataset, key: jax.Array, batch_size: int) -> tuple[jax.Array, Labels]:
    """B rows drawn uniformly: inputs `[B, I]` and labels."""
    row = jax.random.randint(key, (batch_size,), 0, jnp.minimum(data.filled, data.inputs.shape[0]))
    return data.inputs[row], jax.tree.map(lambda x: x[row], data.labels)
