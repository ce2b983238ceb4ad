from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim2real.errors import ShoalError
from teacher.config import NetworkConfig
from teacher.networks import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    Actor,
    BlockDesign,
    Encoder,
    Trunk,
    count_parameters,
    norm_swish,
    num_blocks,
)

WIDTH, INPUTS, ACTIONS = 24, 12, 7


def actor(depth: int, *, design: BlockDesign = "scaled", remat: bool = False) -> Actor:
    return Actor(Trunk(depth, WIDTH, 4, design, remat), ACTIONS)


def inputs(rows: int = 64) -> jax.Array:
    return jax.random.normal(jax.random.key(9), (rows, INPUTS))


def equations(jaxpr: Any) -> int:
    """Number of equations, those of inner programs included."""
    inner = [value for eqn in jaxpr.eqns for value in eqn.params.values()]
    return len(jaxpr.eqns) + sum(equations(getattr(p, "jaxpr", p)) for p in inner if hasattr(p, "eqns"))


def gradient_program(depth: int) -> Any:
    module = actor(depth)
    params = jax.eval_shape(module.init, jax.random.key(0), inputs())
    loss = lambda p, x: jnp.sum(module.apply(p, x)[0] ** 2)  # noqa: E731
    return jax.make_jaxpr(jax.grad(loss))(params, inputs())


def test_program_does_not_grow_with_depth() -> None:
    sizes = {depth: equations(gradient_program(depth).jaxpr) for depth in (8, 64, 1024)}
    assert len(set(sizes.values())) == 1, sizes
    assert sizes[8] > 20


def test_depth_counts_the_dense_layers_of_the_blocks() -> None:
    params = jax.eval_shape(actor(12).init, jax.random.key(0), inputs(1))["params"]["trunk"]["blocks"]
    kernels = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if "kernel" in str(path)]
    assert sum(kernel.shape[0] for kernel in kernels) == 12
    assert all(kernel.shape[1:] == (WIDTH, WIDTH) for kernel in kernels)


def test_every_block_is_initialised_differently() -> None:
    params = Trunk(8, WIDTH).init(jax.random.key(0), inputs(1))["params"]["blocks"]
    kernel = params["Dense_0"]["kernel"]
    assert not np.allclose(kernel[0], kernel[1])


@pytest.mark.parametrize("depth", [4, 64, 256, 1024])
def test_scaled_design_starts_unsaturated_at_every_depth(depth: int) -> None:
    mean, log_std, features = actor(depth).init_with_output(jax.random.key(0), inputs())[0]
    assert float(jnp.mean(jnp.abs(mean) > 2)) < 0.01
    assert 0.3 < float(jnp.sqrt(jnp.mean(features**2))) < 3.0
    assert LOG_STD_MIN <= float(log_std.min()) <= float(log_std.max()) <= LOG_STD_MAX


def test_paper_design_starts_saturated_a_thousand_layers_deep() -> None:
    """Why `scaled` exists: arXiv 2503.14858 had to stop its actors at 512 layers."""
    shallow, deep = (
        actor(depth, design="paper").init_with_output(jax.random.key(0), inputs())[0][0] for depth in (4, 1024)
    )
    assert float(jnp.mean(jnp.abs(shallow) > 2)) < 0.01
    assert float(jnp.mean(jnp.abs(deep) > 2)) > 0.9


def test_paper_design_is_the_published_block() -> None:
    """A hand-written stem and block, four times Dense, LayerNorm, swish, then the block's input added."""
    trunk = Trunk(4, WIDTH, 4, "paper")
    params = trunk.init(jax.random.key(0), inputs(3))
    tree = params["params"]

    def layer(x: jax.Array, dense: Any, norm: Any) -> jax.Array:
        h = x @ dense["kernel"] + dense["bias"]
        h = (h - h.mean(-1, keepdims=True)) / jnp.sqrt(h.var(-1, keepdims=True) + 1e-6)
        return nn.swish(h * norm["scale"] + norm["bias"])

    stem = layer(inputs(3), tree["Dense_0"], tree["NormSwish_0"])
    h, blocks = stem, jax.tree.map(lambda leaf: leaf[0], tree["blocks"])
    for index in range(4):
        h = layer(h, blocks[f"Dense_{index}"], blocks[f"NormSwish_{index}"])
    np.testing.assert_allclose(trunk.apply(params, inputs(3)), stem + h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("depth", "block_size", "nearest"),
    [(6, 4, ("4", "8")), (3, 4, ("4", "8")), (1023, 4, ("1020", "1024")), (7, 3, ("6", "9"))],
)
def test_depth_that_is_no_whole_number_of_blocks_is_refused(
    depth: int, block_size: int, nearest: tuple[str, str]
) -> None:
    with pytest.raises(ShoalError) as caught:
        NetworkConfig(actor_depth=depth, critic_depth=block_size, block_size=block_size)
    words = str(caught.value).replace(";", " ").replace(".", " ").split()
    assert {str(depth), str(block_size), *nearest} <= set(words)


def test_critic_depth_is_checked_too() -> None:
    with pytest.raises(ShoalError, match="depth 10"):
        NetworkConfig(actor_depth=4, critic_depth=10)


def test_num_blocks_divides_exactly() -> None:
    assert [num_blocks(depth, 4) for depth in (4, 8, 1024)] == [1, 2, 256]


def test_remat_changes_neither_outputs_nor_gradients() -> None:
    plain, saving = (Encoder(Trunk(2, WIDTH, 1, remat=remat), 5) for remat in (False, True))
    params = plain.init(jax.random.key(0), inputs())
    results = [
        jax.jit(jax.value_and_grad(lambda p, module=module: jnp.sum(module.apply(p, inputs()) ** 2)))(params)
        for module in (plain, saving)
    ]
    for left, right in zip(*(jax.tree.leaves(result) for result in results), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


def test_parameters_are_counted() -> None:
    params = jax.eval_shape(Encoder(Trunk(4, 16, 4, "paper"), 3).init, jax.random.key(0), jnp.zeros((1, 10)))
    stem, block, head = 10 * 16 + 3 * 16, 4 * (16 * 16 + 3 * 16), 16 * 3 + 3
    assert count_parameters(params) == stem + block + head


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_norm_swish_and_its_gradient_are_those_of_its_parts(seed: int, scale: float) -> None:
    keys = jax.random.split(jax.random.key(seed), 4)
    x = scale * jax.random.normal(keys[0], (5, 16))
    shapes = [(16,), (16,), (5, 16)]
    weight, bias, cotangent = (jax.random.normal(key, shape) for key, shape in zip(keys[1:], shapes, strict=True))

    def parts(x: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return jax.nn.swish((x - mean) / jnp.sqrt(variance + 1e-6) * weight + bias)

    for function in (lambda f: f(x, weight, bias), lambda f: jax.vjp(f, x, weight, bias)[1](cotangent)):
        found, expected = function(norm_swish), function(parts)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4), found, expected)
