"""A network fitted to one log of a drive that no simple law describes, judged on another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim2real.actuators.models import PdServo
from sim2real.actuators.residual import ResidualServo, fit_residual
from sim2real.errors import ShoalError

SERVO = PdServo(np.array([100.0, 50.0]), np.array([4.0, 2.0]))


def log(seed: int, samples: int = 700) -> tuple[np.ndarray, ...]:
    """Targets, positions, velocities and torques of two joints whose gears stick and whose springs harden."""
    rng, time = np.random.default_rng(seed), np.arange(samples)[:, None] * 0.01
    phases = rng.uniform(0, 2 * np.pi, (3, 1, 2))
    target = sum(0.3 * np.sin(rate * time + phase) for rate, phase in zip((1.0, 2.7, 6.1), phases, strict=True))
    position = sum(
        0.28 * np.sin(rate * time + phase - 0.1) for rate, phase in zip((1.0, 2.7, 6.1), phases, strict=True)
    )
    velocity = np.gradient(position, 0.01, axis=0)
    error = target - position
    hidden = np.array([3.0, 1.5]) * np.tanh(velocity / 0.2) - np.array([900.0, 400.0]) * error**3
    effort = SERVO.effort(target, position, velocity) - hidden + rng.normal(0, 0.05, target.shape)
    return target, position, velocity, effort


@pytest.fixture(scope="module")
def fitted() -> ResidualServo:
    return fit_residual(SERVO, *log(0), hidden=8, iterations=150)


def test_it_explains_another_log_of_the_same_drive(fitted: ResidualServo, tmp_path: Path) -> None:
    target, position, velocity, effort = log(1)
    before = effort - SERVO.effort(target, position, velocity)
    after = effort - fitted.effort(target, position, velocity)
    assert np.all((after**2).mean(axis=0) < 0.05 * (before**2).mean(axis=0))
    fitted.save(tmp_path / "drive.npz")
    again = ResidualServo.load(tmp_path / "drive.npz", SERVO)
    np.testing.assert_array_equal(again.effort(target, position, velocity), fitted.effort(target, position, velocity))


def test_it_stays_bounded_where_the_log_has_nothing_to_say(fitted: ResidualServo) -> None:
    target, position, velocity, effort = log(0)
    largest = np.abs(effort - SERVO.effort(target, position, velocity)).max(axis=0)
    wild = np.random.default_rng(0).normal(size=(500, 2)) * 1e3
    assert np.all(np.abs(fitted.residual(wild, -wild, wild)) <= 1.2 * largest + 1e-6)


def test_where_the_law_is_right_it_adds_nothing() -> None:
    target, position, velocity, _ = log(0)
    fitted = fit_residual(SERVO, target, position, velocity, SERVO.effort(target, position, velocity), iterations=5)
    assert np.abs(fitted.residual(target, position, velocity)).max() < 1e-6


def test_same_log_same_network() -> None:
    first, second = (fit_residual(SERVO, *log(0), iterations=5, seed=1) for _ in range(2))
    for left, right in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(left, right)


def test_what_cannot_be_fitted(tmp_path: Path) -> None:
    target, position, velocity, effort = log(0)
    with pytest.raises(ShoalError, match=r"must all be \[T, J\]"):
        fit_residual(SERVO, target[:, :1], position, velocity, effort)
    with pytest.raises(ShoalError, match="20 samples for 16 hidden units; give at least 160"):
        fit_residual(SERVO, *(values[:20] for values in (target, position, velocity, effort)))
    with pytest.raises(ShoalError, match="not finite"):
        fit_residual(SERVO, target, position, velocity, effort * np.nan)
    (tmp_path / "other.npz").write_text("no arrays")
    with pytest.raises(ShoalError, match=r"other\.npz is not a residual actuator's \.npz"):
        ResidualServo.load(tmp_path / "other.npz", SERVO)
