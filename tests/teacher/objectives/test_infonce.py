from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teacher.networks import sample_tanh_gaussian
from teacher.objectives.energy import energy, energy_matrix
from teacher.objectives.infonce import Contrast, categorical_accuracy, info_nce

EPSILON = 1e-6


def embeddings(seed: int, rows: int = 6, scale: float = 1.0) -> tuple[jax.Array, jax.Array]:
    left, right = jax.random.normal(jax.random.key(seed), (2, rows, 5)) * scale
    return left, right


def reference_info_nce(logits: np.ndarray, contrast: Contrast, penalty: float) -> float:
    """InfoNCE by explicit softmax in float64."""
    logits = logits.astype(np.float64)

    def cross_entropy(rows: np.ndarray) -> np.ndarray:
        return -np.log(np.diag(np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)))

    forward, backward = cross_entropy(logits).mean(), cross_entropy(logits.T).mean()
    loss = forward if contrast == "forward" else (forward + backward) / 2
    return float(loss + penalty * np.mean(np.log(np.exp(logits).sum(axis=1)) ** 2))


@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
def test_energy_matrix_holds_the_energy_of_every_pair(scale: float) -> None:
    left, right = embeddings(0, scale=scale)
    pairwise = energy(left[:, None], right[None, :], epsilon=EPSILON)
    np.testing.assert_allclose(energy_matrix(left, right, epsilon=EPSILON), pairwise, rtol=1e-3, atol=1e-3 * scale)


def test_energy_is_the_negative_distance() -> None:
    left, right = embeddings(1)
    distance = np.linalg.norm(np.asarray(left) - np.asarray(right), axis=-1)
    np.testing.assert_allclose(energy(left, right, epsilon=1e-12), -distance, rtol=1e-5)


@pytest.mark.parametrize("function", [energy, energy_matrix])
def test_gradient_is_finite_where_embeddings_coincide(function: object) -> None:
    left, _ = embeddings(2)
    gradient = jax.grad(lambda a, b: jnp.sum(function(a, b, epsilon=EPSILON)), argnums=(0, 1))(left, left)  # type: ignore[operator]
    assert all(np.isfinite(part).all() for part in gradient)


@pytest.mark.parametrize("contrast", ["forward", "symmetric"])
@pytest.mark.parametrize("penalty", [0.0, 0.1])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 10))
def test_info_nce_equals_the_softmax_cross_entropy(contrast: Contrast, penalty: float, seed: int, scale: float) -> None:
    logits = energy_matrix(*embeddings(seed, scale=scale))
    loss = info_nce(logits, contrast=contrast, logsumexp_penalty=penalty)
    assert float(loss) == pytest.approx(reference_info_nce(np.asarray(logits), contrast, penalty), rel=1e-4, abs=1e-5)


def test_forward_ignores_what_only_the_other_direction_sees() -> None:
    logits = energy_matrix(*embeddings(3))
    shifted = logits + 3.0 * jnp.arange(len(logits))[:, None]  # a constant added to a row changes no row's softmax
    losses = {
        contrast: [float(info_nce(x, contrast=contrast, logsumexp_penalty=0.0)) for x in (logits, shifted)]
        for contrast in ("forward", "symmetric")
    }
    assert losses["forward"][0] == pytest.approx(losses["forward"][1], rel=1e-4)
    assert losses["symmetric"][1] > losses["symmetric"][0] + 0.1


@pytest.mark.parametrize("contrast", ["forward", "symmetric"])
def test_perfect_logits_cost_nothing_and_equal_logits_the_logarithm_of_the_batch(contrast: Contrast) -> None:
    perfect = jnp.where(jnp.eye(8) > 0, 0.0, -50.0)
    assert float(info_nce(perfect, contrast=contrast, logsumexp_penalty=0.1)) == pytest.approx(0.0, abs=1e-6)
    assert float(info_nce(jnp.zeros((8, 8)), contrast=contrast, logsumexp_penalty=0.0)) == pytest.approx(np.log(8))


@pytest.mark.parametrize("contrast", ["forward", "symmetric"])
def test_a_row_whose_future_is_lost_is_pushed_down_for_all_goals_alike(contrast: Contrast) -> None:
    """Energies in the place of two networks: gradient descent on them is what the critic would learn."""
    over, cost = jnp.array([1.0, 0.0, 0.5, 0.0, 0.0, 0.0]), 8.0

    @jax.jit
    def settled(over: jax.Array) -> jax.Array:
        loss = partial(info_nce, contrast=contrast, logsumexp_penalty=0.1, over=over, termination_cost=cost)
        step = jax.grad(loss)
        return jax.lax.fori_loop(0, 2000, lambda _, x: x - 0.5 * step(x), energy_matrix(*embeddings(4)))

    found = np.asarray(settled(over))
    lower = np.asarray(settled(jnp.zeros(6))) - found
    assert (lower[0] > 0.7 * cost).all()
    assert (lower[2] > 0.2 * cost).all()
    assert np.abs(lower[[1, 3, 4, 5]]).max() < 0.3 * cost
    assert found[0].argmax() == 0, "which goal it is stays known"


def test_nothing_lost_and_no_cost_change_nothing() -> None:
    logits, lost = energy_matrix(*embeddings(5)), jnp.zeros(6)
    plain = info_nce(logits, contrast="symmetric", logsumexp_penalty=0.1)
    assert (
        float(info_nce(logits, contrast="symmetric", logsumexp_penalty=0.1, over=lost, termination_cost=5.0)) == plain
    )


def test_categorical_accuracy_counts_rows_won_by_the_diagonal() -> None:
    logits = jnp.array([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    assert float(categorical_accuracy(logits)) == pytest.approx(2 / 3)


def test_log_density_is_the_gaussian_changed_by_tanh() -> None:
    mean = jnp.array([[0.3, -0.5], [0.0, 1.0]])
    log_std = jnp.array([[-1.0, -0.5], [-2.0, -0.2]])
    action, log_density = sample_tanh_gaussian(jax.random.key(0), mean, log_std)
    a, m, s = (np.asarray(x, np.float64) for x in (action, mean, jnp.exp(log_std)))
    raw = np.arctanh(a)
    gaussian = -0.5 * ((raw - m) / s) ** 2 - np.log(s * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(log_density, (gaussian - np.log(1 - a**2)).sum(axis=1), rtol=1e-3)


def test_density_of_one_action_integrates_to_one() -> None:
    """E over samples of 1 / p(a), with a in (-1, 1), is the length of the interval."""
    mean, log_std = jnp.full((20_000, 1), 0.2), jnp.full((20_000, 1), 0.0)
    action, log_density = sample_tanh_gaussian(jax.random.key(1), mean, log_std)
    inside = np.abs(np.asarray(action)[:, 0]) < 0.9  # the tails of 1 / p have no variance
    estimate = np.where(inside, np.exp(-np.asarray(log_density)), 0.0).mean()
    assert estimate == pytest.approx(1.8, rel=0.03)


@pytest.mark.parametrize("centre", [-40.0, 40.0, 300.0])
def test_log_density_stays_exact_and_differentiable_deep_in_saturation(centre: float) -> None:
    mean, log_std = jnp.full((4, 3), centre), jnp.full((4, 3), -1.0)

    def total(mean: jax.Array) -> jax.Array:
        return jnp.sum(sample_tanh_gaussian(jax.random.key(0), mean, log_std)[1])

    noise = np.asarray(jax.random.normal(jax.random.key(0), (4, 3)), np.float64)
    raw = np.abs(centre + np.exp(-1.0) * noise)
    correction = 2 * (np.log(2) - raw)  # log(1 - tanh(x)^2) for large |x|
    gaussian = -0.5 * noise**2 + 1.0 - 0.5 * np.log(2 * np.pi)
    assert float(total(mean)) == pytest.approx(float((gaussian - correction).sum()), rel=1e-5)
    np.testing.assert_allclose(jax.grad(total)(mean), np.sign(centre) * 2.0, rtol=1e-4)
