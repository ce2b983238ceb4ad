from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from teacher.networks import Encoder, Trunk
from teacher.run.diagnostics import all_finite, effective_rank, gradient_norm_by_block


def test_effective_rank_counts_directions() -> None:
    rng = np.random.default_rng(0)
    line = np.outer(rng.normal(size=512), rng.normal(size=8))
    assert float(effective_rank(jnp.asarray(line))) == pytest.approx(1.0, abs=0.05)
    everywhere = rng.normal(size=(4096, 8)) + 100.0  # an offset is no direction
    assert float(effective_rank(jnp.asarray(everywhere, jnp.float32))) == pytest.approx(8.0, abs=0.1)
    plane = rng.normal(size=(512, 2)) @ np.linalg.qr(rng.normal(size=(8, 8)))[0][:2]
    assert float(effective_rank(jnp.asarray(plane))) == pytest.approx(2.0, abs=0.1)


def test_gradient_norms_are_those_of_each_block() -> None:
    encoder = Encoder(Trunk(depth=6, width=8, block_size=2), 4)
    params = encoder.init(jax.random.key(0), jnp.zeros((1, 3)))
    norms = gradient_norm_by_block(params)  # any tree of that shape will do
    assert norms.shape == (3,)
    for block in range(3):
        leaves = [np.asarray(leaf[block]).ravel() for leaf in jax.tree.leaves(params["params"]["trunk"]["blocks"])]
        assert float(norms[block]) == pytest.approx(float(np.linalg.norm(np.concatenate(leaves))), rel=1e-5)


def test_one_bad_number_is_found() -> None:
    tree = {"a": jnp.ones((3, 2)), "b": (jnp.zeros(()), jnp.arange(4))}
    assert bool(all_finite(tree))
    assert not bool(all_finite(tree | {"a": tree["a"].at[2, 1].set(jnp.inf)}))  # type: ignore[attr-defined]
