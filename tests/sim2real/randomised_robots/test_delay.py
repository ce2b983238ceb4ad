from __future__ import annotations

from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim2real.randomised_robots import delay

signals = st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=40)


@given(signals, st.integers(0, 9), st.integers(1, 7))
def test_a_delayed_signal_is_the_signal_some_steps_ago(signal: list[float], steps: int, chunk: int) -> None:
    """However the samples are cut into control steps, and with two signals of different delays side by side."""
    history = delay.full_of(np, np.array([[7.0], [7.0]]), 10)
    lags, out = np.array([steps, 0]), []
    for begin in range(0, len(signal), chunk):
        samples = np.array(signal[begin : begin + chunk])[None, :, None].repeat(2, axis=0)
        out.append(delay.delayed(np, history, samples, lags)[..., 0])
        history = delay.shifted(np, history, samples)
    late, now = np.concatenate(out, axis=1)
    expected = ([7.0] * steps + signal)[: len(signal)]
    np.testing.assert_array_equal(late, expected)
    np.testing.assert_array_equal(now, signal)
    assert history.shape == (2, 10, 1)
    assert delay.read(np, history, lags)[0, 0] == ([7.0] * 10 + signal)[-1 - steps]


def _late(xp: ModuleType) -> np.ndarray:
    history = xp.asarray(np.arange(24.0).reshape(2, 4, 3))
    samples = xp.asarray(np.arange(100.0, 130.0).reshape(2, 5, 3))
    return np.asarray(delay.delayed(xp, history, samples, xp.asarray([4, 1])))


def test_numpy_and_jax_agree() -> None:
    np.testing.assert_array_equal(_late(np), _late(jnp))


@pytest.mark.parametrize(("delay_s", "steps"), [(0.0, 0), (0.0009, 0), (0.0011, 1), (0.004, 2), (0.0412, 21)])
def test_delays_go_to_the_nearest_step(delay_s: float, steps: int) -> None:
    for xp in (np, jnp):
        assert int(delay.steps_of(xp, xp.asarray(delay_s), 0.002)) == steps
