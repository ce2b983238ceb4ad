"""The terms that ChronoSRL adds, against loops in NumPy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from teacher.objectives.chrono import RADII, occupancy_loss, occupancy_targets, separation_loss, time_loss
from teacher.objectives.hazards import bin_edges

EDGES, RADIUS = bin_edges(10, 4), 0.4
RNG = np.random.default_rng(0)


def distances() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of 20 rows whose episodes go on for 0 to 10 steps more, and which of them are terminated then."""
    left, terminated = RNG.integers(0, 11, 20), RNG.random(20) < 0.5
    distance = RNG.random((20, 11)).astype(np.float32)
    return np.where(np.arange(11) <= left[:, None], distance, np.inf), terminated, left


def test_occupancy_is_the_share_of_the_steps_that_are_known() -> None:
    distance, terminated, left = distances()
    inside, seen = occupancy_targets(jnp.asarray(distance), jnp.asarray(terminated), RADIUS, EDGES)
    for row in range(20):
        for bin_ in range(len(EDGES) - 1):
            steps = range(EDGES[bin_] + 1, EDGES[bin_ + 1] + 1)
            known = [t for t in steps if t <= left[row] or terminated[row]]
            assert bool(seen[row, bin_]) == bool(known)
            for rank, share in enumerate(RADII):
                within = sum(distance[row, t] <= share * RADIUS for t in known)
                wanted = within / len(known) if known else 0.0
                assert float(inside[row, rank, bin_]) == pytest.approx(wanted, abs=1e-6)


def test_occupancy_loss_is_the_cross_entropy_of_what_was_seen() -> None:
    logits = RNG.normal(size=(6, 3, 4))
    inside, seen = RNG.random((6, 3, 4)), RNG.random((6, 4)) < 0.7
    chance = 1 / (1 + np.exp(-logits))
    entropy = -(inside * np.log(chance) + (1 - inside) * np.log(1 - chance))
    wanted = entropy[np.broadcast_to(seen[:, None], entropy.shape)].mean()
    assert float(occupancy_loss(*map(jnp.asarray, (logits, inside, seen)))) == pytest.approx(wanted, rel=1e-5)


def test_time_loss_compares_distances_with_times_of_reached_goals() -> None:
    apart, time, reached = RNG.random(30) * 4, RNG.integers(0, 20, 30), RNG.random(30) < 0.5
    error = np.abs(apart - 0.1 * time)
    wanted = np.where(error <= 1, 0.5 * error**2, error - 0.5)[reached].mean()
    assert float(time_loss(*map(jnp.asarray, (apart, time, reached)), 0.1)) == pytest.approx(wanted, rel=1e-5)
    assert float(time_loss(jnp.asarray(apart), jnp.asarray(time), jnp.zeros(30, bool), 0.1)) == 0.0


def test_what_did_not_come_together_is_kept_apart() -> None:
    apart, observed, reached = RNG.random(12), RNG.integers(0, 20, 12), RNG.random(12) < 0.5
    pairs, far, kappa, window = RNG.random((12, 12)) * 3, RNG.random((12, 12)) < 0.5, 0.1, 20
    missed = [max(0.0, kappa * observed[i] - apart[i]) for i in range(12) if not reached[i]]
    away = [max(0.0, kappa * window - pairs[i, j]) for i in range(12) for j in range(12) if far[i, j] and i != j]
    arrays = (jnp.asarray(x) for x in (apart, reached, observed, pairs, far))
    assert float(separation_loss(*arrays, kappa, window)) == pytest.approx(np.mean(missed) + np.mean(away), rel=1e-5)
