from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from student.distillation import dataset
from student.distillation.dataset import Dataset, Labels

CAPACITY = 16


def rows(first: int, count: int) -> tuple[jax.Array, Labels]:
    """Rows whose every entry is their own number."""
    number = jnp.arange(first, first + count, dtype=jnp.float32)[:, None]
    wide = jnp.tile(number, (1, 3))
    return wide, Labels(mean=wide, log_std=number, features=wide, phi=number, psi=number)


def fill(counts: list[int]) -> Dataset:
    data = dataset.create(capacity=CAPACITY, inputs=rows(0, 1)[0], labels=rows(0, 1)[1])
    for index, count in enumerate(counts):
        data = dataset.insert(data, *rows(sum(counts[:index]), count))
    return data


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([1, 5, 8, 16, 21, 40]), min_size=1, max_size=6))
def test_ring_holds_exactly_the_newest_rows(counts: list[int]) -> None:
    data, total = fill(counts), sum(counts)
    kept = np.sort(np.asarray(data.inputs)[:, 0])[-min(total, CAPACITY) :]
    np.testing.assert_array_equal(kept, np.arange(max(0, total - CAPACITY), total))
    assert int(data.filled) == total


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([1, 5, 8, 16, 21, 40]), min_size=1, max_size=6), st.integers(0, 2**16))
def test_sampled_labels_belong_to_their_inputs(counts: list[int], seed: int) -> None:
    inputs, labels = dataset.sample(fill(counts), jax.random.key(seed), 64)
    number = np.asarray(inputs)[:, 0]
    for field in labels:
        np.testing.assert_array_equal(np.asarray(field)[:, 0], number)
    assert number.max() < sum(counts)  # never a row that was not filled yet: those read 0 as well
    assert number.min() >= max(0, sum(counts) - CAPACITY)


def test_sampling_covers_what_is_filled_evenly() -> None:
    inputs, _ = dataset.sample(fill([10]), jax.random.key(0), 20_000)
    counts = np.bincount(np.asarray(inputs)[:, 0].astype(int), minlength=10)
    np.testing.assert_allclose(counts / 2000, 1.0, atol=0.12)
