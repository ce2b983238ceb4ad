"""The time until a goal is reached as a distribution: discrete hazards, their censored likelihood, what is expected.

Time is cut into bins that grow with it. Logit 0 says how likely the goal is reached already; logit j + 1 how likely in
bin j, which holds the steps `edges[j] < time <= edges[j + 1]`, if it was not before:

    P(time > edges[j]) = (1 - h_0) (1 - h_1) ... (1 - h_j),    h = sigmoid(logit)

Shapes: `B` batch, `N` bins, `E` embedding size.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from teacher.networks import Trunk, kernel_init

_FILM = 0.1
_RARE = -3.0
"""First logit of every event: none is likely."""


def bin_edges(window: int, bins: int) -> np.ndarray:
    """Edges 0 = e_0 < ... < e_N = window, int, of at most `bins` bins: of one step each where that is enough, or else
    growing geometrically.
    """
    if window <= bins:
        return np.arange(window + 1)
    edges = [0, window] if bins == 1 else [0, 1]
    for left in range(bins - 1, 0, -1):
        edges.append(max(edges[-1] + 1, round(edges[-1] * (window / edges[-1]) ** (1 / left))))
    return np.array(edges)


def discounted_lengths(edges: np.ndarray, gamma: float) -> np.ndarray:
    """Sum of gamma^t over the steps t = e_j ... e_{j+1} - 1 of each bin, `[N]`."""
    if gamma == 1:
        return np.diff(edges).astype(np.float64)
    return np.asarray(-np.diff(gamma ** edges.astype(np.float64)) / (1 - gamma))


def censored_likelihood(
    logits: jax.Array, time: jax.Array, reached: jax.Array, observed: jax.Array, edges: np.ndarray
) -> jax.Array:
    """Negative log likelihood `[B]` of goals reached at `time`, or not within `observed` steps, under `[B, N + 1]`."""
    upper = jnp.asarray(edges[1:])
    event = jnp.where(time == 0, 0, 1 + jnp.searchsorted(upper, time))
    whole = 1 + jnp.sum(upper <= observed[:, None], axis=-1)
    survived = jnp.where(reached, event, whole)
    rank = jnp.arange(logits.shape[-1])
    before = jnp.sum(jnp.where(rank < survived[:, None], jax.nn.softplus(logits), 0.0), axis=-1)
    there = jnp.sum(jnp.where(rank == event[:, None], jax.nn.softplus(-logits), 0.0), axis=-1)
    return before + jnp.where(reached, there, 0.0)


def expected_time(logits: jax.Array, lengths: np.ndarray) -> jax.Array:
    """Expected steps until the goal within the window, `[B]`, discounted as the bins' `lengths` `[N]` are."""
    not_yet = jnp.exp(-jnp.cumsum(jax.nn.softplus(logits[..., : len(lengths)]), axis=-1))
    return not_yet @ jnp.asarray(lengths, jnp.float32)


class TimeHead(nn.Module):
    """A network from phi(s, a) and psi(g) to `outputs` logits: phi modulated by psi (FiLM, arXiv 1709.07871), then
    both, their difference and their product through a residual trunk.
    """

    trunk: Trunk
    outputs: int

    @nn.compact
    def __call__(self, state: jax.Array, goal: jax.Array) -> jax.Array:
        """`[B, E]` twice to `[B, outputs]`."""
        state, goal = nn.LayerNorm(name="state_norm")(state), nn.LayerNorm(name="goal_norm")(goal)
        scale, shift = jnp.split(nn.Dense(2 * state.shape[-1], kernel_init=kernel_init, name="film")(goal), 2, axis=-1)
        state = state * (1 + _FILM * scale) + _FILM * shift
        features = self.trunk(jnp.concatenate([state, goal, state - goal, state * goal], axis=-1))
        rare = nn.initializers.constant(_RARE)
        return nn.Dense(self.outputs, kernel_init=kernel_init, bias_init=rare, name="logits")(features)
