"""Likelihoods and expected times against sums written out in NumPy."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teacher.objectives.hazards import bin_edges, censored_likelihood, discounted_lengths, expected_time


@given(window=st.integers(1, 3000), bins=st.integers(1, 200))
def test_bins_cover_the_window_and_grow(window: int, bins: int) -> None:
    edges = bin_edges(window, bins)
    widths = np.diff(edges)
    assert (edges[0], edges[-1]) == (0, window)
    assert len(widths) == min(window, bins)
    assert (widths >= 1).all()
    if len(widths) > 8:
        assert widths[: len(widths) // 2].max() <= widths[len(widths) // 2 :].max()


def probabilities(logits: np.ndarray) -> tuple[np.ndarray, float]:
    """P(event in each bin) and P(none), by multiplying out."""
    hazard = 1 / (1 + np.exp(-logits.astype(np.float64)))
    left, out = 1.0, []
    for h in hazard:
        out.append(left * h)
        left *= 1 - h
    return np.array(out), left


@given(seed=st.integers(0, 2**16))
def test_likelihood_is_that_of_the_bin_or_of_what_was_survived(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = bin_edges(20, 6)
    logits = rng.normal(size=(40, len(edges))).astype(np.float32)
    time, observed, reached = rng.integers(0, 21, 40), rng.integers(0, 21, 40), rng.random(40) < 0.5
    found = censored_likelihood(*map(jnp.asarray, (logits, time, reached, observed)), edges)
    for row in range(40):
        event, _ = probabilities(logits[row])
        if reached[row]:
            holds = [time[row] == 0] + [edges[j] < time[row] <= edges[j + 1] for j in range(len(edges) - 1)]
            wanted = event[np.flatnonzero(holds)[0]]
        else:
            whole = sum(edges[j + 1] <= observed[row] for j in range(len(edges) - 1))
            wanted = 1 - event[: whole + 1].sum()
        assert float(found[row]) == pytest.approx(-np.log(wanted), rel=1e-4, abs=1e-5)


def test_expected_time_is_the_sum_over_steps_of_not_being_there_yet() -> None:
    edges, gamma = bin_edges(12, 5), 0.9
    logits = np.random.default_rng(0).normal(size=(7, len(edges))).astype(np.float32)
    found = expected_time(jnp.asarray(logits), discounted_lengths(edges, gamma))
    for row in range(7):
        event, _ = probabilities(logits[row])
        steps = 0.0
        for bin_, (first, behind) in enumerate(itertools.pairwise(edges)):
            not_yet = 1 - event[: bin_ + 1].sum()
            steps += sum(gamma**t * not_yet for t in range(first, behind))
        assert float(found[row]) == pytest.approx(steps, rel=1e-4)


def test_without_discount_a_goal_that_is_never_reached_takes_the_whole_window() -> None:
    edges = bin_edges(30, 8)
    never = jnp.full((1, len(edges)), -40.0)
    assert float(expected_time(never, discounted_lengths(edges, 1.0))[0]) == pytest.approx(30.0)
    assert float(expected_time(-never, discounted_lengths(edges, 1.0))[0]) == pytest.approx(0.0, abs=1e-6)
