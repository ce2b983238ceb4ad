from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from student.distillation.losses import (
    action_error,
    binary_cross_entropy,
    contrastive,
    gaussian_kl,
    normalised_distance,
    relational_distance,
)


def gaussians(seed: int) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Teacher mean and log standard deviation, then the student's, `[5, 3]` each."""
    values = jax.random.normal(jax.random.key(seed), (4, 5, 3))
    return values[0], 0.5 * values[1], values[2], 0.5 * values[3]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_kl_is_the_textbook_formula(seed: int) -> None:
    m0, s0, m1, s1 = (np.asarray(x, np.float64) for x in gaussians(seed))
    v0, v1 = np.exp(2 * s0), np.exp(2 * s1)
    expected = 0.5 * (v0 / v1 + (m1 - m0) ** 2 / v1 - 1 + np.log(v1 / v0)).sum(axis=1).mean()
    assert float(gaussian_kl(*gaussians(seed))) == pytest.approx(expected, rel=1e-4)
    assert expected > 0


def test_kl_is_the_expected_log_ratio_under_the_teacher() -> None:
    m0, s0, m1, s1 = (np.asarray(x, np.float64)[:1] for x in gaussians(1))
    x = m0 + np.exp(s0) * np.random.default_rng(0).normal(size=(400_000, 3))

    def log_density(mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
        return (-0.5 * ((x - mean) / np.exp(log_std)) ** 2 - log_std).sum(axis=1)

    estimate = (log_density(m0, s0) - log_density(m1, s1)).mean()
    assert float(gaussian_kl(*(jnp.asarray(v) for v in (m0, s0, m1, s1)))) == pytest.approx(estimate, rel=0.02)


def test_everything_is_zero_for_a_student_that_equals_its_teacher() -> None:
    mean, log_std, *_ = gaussians(2)
    assert float(gaussian_kl(mean, log_std, mean, log_std)) == pytest.approx(0.0, abs=1e-6)
    assert float(action_error(mean, mean)) == 0.0
    assert float(normalised_distance(mean, 3.0 * mean)) == pytest.approx(0.0, abs=1e-6)


def test_kl_is_directed_from_teacher_to_student() -> None:
    wide, narrow, zero = jnp.full((1, 1), 1.0), jnp.full((1, 1), -1.0), jnp.zeros((1, 1))
    # a narrow student misses most of a wide teacher; a wide student covers a narrow teacher
    assert float(gaussian_kl(zero, wide, zero, narrow)) > 5 * float(gaussian_kl(zero, narrow, zero, wide))


def test_action_error_compares_what_is_executed() -> None:
    teacher, student = jnp.array([[5.0, 0.5]]), jnp.array([[9.0, -0.5]])
    assert float(action_error(teacher, student)) == pytest.approx(4 * np.tanh(0.5) ** 2, rel=1e-3)


def test_normalised_distance_is_two_minus_two_cosines() -> None:
    left, right = jnp.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]]), jnp.array([[0.0, 3.0], [1.0, 1.0], [-1.0, 0.0]])
    assert float(normalised_distance(left, right)) == pytest.approx((2 + 0 + 4) / 3, rel=1e-4)


def test_normalised_distance_has_a_finite_gradient_for_features_that_are_not_zero() -> None:
    gradient = jax.grad(normalised_distance)(jnp.ones((2, 3)) * 1e-3, jnp.zeros((2, 3)))
    assert np.isfinite(gradient).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(-15, 15), st.booleans()), min_size=1, max_size=20))
def test_cross_entropy_is_that_of_the_sigmoid(rows: list[tuple[float, bool]]) -> None:
    logit, label = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    p = 1 / (1 + np.exp(-logit))
    expected = -(label * np.log(p) + (1 - label) * np.log1p(-p)).mean()
    assert float(binary_cross_entropy(jnp.asarray(logit), jnp.asarray(label))) == pytest.approx(
        expected, rel=1e-3, abs=1e-5
    )


def test_cross_entropy_stays_finite_for_extreme_logits() -> None:
    assert float(binary_cross_entropy(jnp.array([300.0]), jnp.array([0.0]))) == pytest.approx(300.0)


def test_relational_distance_asks_for_the_same_preferences_only() -> None:
    rng = np.random.default_rng(1)
    pair = tuple(rng.normal(size=(16, 4)).astype(np.float32) for _ in range(2))
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0].astype(np.float32)
    rotated = tuple(x @ rotation + np.float32(3.0) for x in pair)
    assert float(relational_distance(rotated, pair)) == pytest.approx(0.0, abs=1e-4)  # distances are kept
    assert float(relational_distance((pair[1], pair[0]), pair)) > 0.01


def test_contrastive_loss_falls_when_rows_find_their_own() -> None:
    rng = np.random.default_rng(2)
    target = rng.normal(size=(32, 8)).astype(np.float32)
    assert float(contrastive(3 * target, target)) < 0.5 < float(contrastive(np.roll(target, 1, 0), target))
    assert float(contrastive(np.zeros_like(target), target)) == pytest.approx(np.log(32))
