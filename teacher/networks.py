"""Residual networks of any depth: the actor and the two contrastive encoders.

"Depth" counts the Dense layers inside residual blocks, as in "1000 Layer Networks for Self-Supervised RL"
(arXiv 2503.14858); a stem and a head come on top. Blocks are scanned over stacked parameters, so compile time
does not grow with depth.

Block designs, compared in docs/notes/depth.md:

- `scaled` (default): the branch is multiplied by 1 / sqrt(number of blocks) and a LayerNorm follows the last
  block, which keeps the stream's scale the same at every depth.
- `paper`: four times Dense, LayerNorm, swish, then add the block's input. The stream grows with depth, and
  the actor's tanh saturates at initialisation from a few hundred layers on.
- `pre_norm`: LayerNorm before each Dense instead of after it (arXiv 2002.04745), scaled branches, final LayerNorm.
- `learned_scale`: as `scaled`, with a trainable factor for each block that starts at 1 / number of blocks
  (arXiv 2003.04887 starts at zero).
- `spherical`: the stream is a unit vector that each block turns a little, as in hyperspherical normalisation
  (SimbaV2, arXiv 2502.15280); the step is trainable and starts at 1 / number of blocks.

Shapes: `B` batch, `D` observation size, `G` goal-vector size, `J` action size, `E` embedding size.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from sim2real.errors import ShoalError

BlockDesign = Literal["scaled", "paper", "pre_norm", "learned_scale", "spherical"]
ComputeDtype = Literal["float32", "bfloat16"]

kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0
_NORM_EPSILON = 1e-6


def num_blocks(depth: int, block_size: int) -> int:
    """Residual blocks of a network of `depth` Dense layers; an error when it does not divide."""
    if depth < block_size or depth % block_size:
        lower = max(block_size, depth - depth % block_size)
        raise ShoalError(
            f"depth {depth} is not a multiple of block_size {block_size}; use {lower} or {lower + block_size}."
        )
    return depth // block_size


@jax.custom_vjp
def norm_swish(x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """swish(LayerNorm(x)) over the last axis, `[..., W]` with `scale` and `bias` `[W]`; statistics in float32.

    Its own gradient keeps the normalised input and its scale and computes the rest again, which takes a quarter off
    the time of a layer: differentiating the parts one by one stores five arrays for every layer of a scan.
    """
    return _norm_swish_forward(x, scale, bias)[0]


def _norm_swish_forward(x: jax.Array, scale: jax.Array, bias: jax.Array) -> tuple[jax.Array, Any]:
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide, -1, keepdims=True)
    variance = jnp.maximum(jnp.mean(wide * wide, -1, keepdims=True) - mean * mean, 0.0)
    inverse = jax.lax.rsqrt(variance + _NORM_EPSILON)
    normalised = (wide - mean) * inverse
    y = normalised * scale + bias
    return (y * jax.nn.sigmoid(y)).astype(x.dtype), (normalised.astype(x.dtype), inverse, scale, bias)


def _norm_swish_backward(kept: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    normalised, inverse, scale, bias = kept
    wide = normalised.astype(jnp.float32)
    y = wide * scale + bias
    gate = jax.nn.sigmoid(y)
    dy = gradient.astype(jnp.float32) * gate * (1 + y * (1 - gate))
    inner = dy * scale
    centred = inner - jnp.mean(inner, -1, keepdims=True) - wide * jnp.mean(inner * wide, -1, keepdims=True)
    rows = tuple(range(dy.ndim - 1))
    return (inverse * centred).astype(normalised.dtype), jnp.sum(dy * wide, rows), jnp.sum(dy, rows)


norm_swish.defvjp(_norm_swish_forward, _norm_swish_backward)


class NormSwish(nn.Module):
    """`norm_swish` with the parameters of a LayerNorm."""

    plain: bool = False
    """As the LayerNorm and the swish that converters to ONNX know, without a gradient of its own."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[..., W]` to the same shape and type."""
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones_init(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape)
        if self.plain:
            return nn.swish(
                apply(nn.LayerNorm(_NORM_EPSILON, parent=None), {"params": {"scale": scale, "bias": bias}}, x)
            )
        return norm_swish(x, jnp.asarray(scale), jnp.asarray(bias))


class _Block(nn.Module):
    """One residual block, in the form that `nn.scan` wants: carry in, carry out."""

    width: int
    block_size: int
    blocks: int
    design: BlockDesign
    compute_dtype: ComputeDtype
    plain: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, root: jax.Array | None) -> tuple[jax.Array, None]:
        h = x
        for _layer in range(self.block_size):
            dense = nn.Dense(self.width, kernel_init=kernel_init, dtype=self.compute_dtype)
            if self.design == "pre_norm":
                h = nn.swish(dense(nn.LayerNorm(dtype=self.compute_dtype)(h)))
            else:
                h = NormSwish(self.plain)(dense(h))
        # The stream stays in float32: at depth 1024 a branch is too small a part of it for bfloat16's 8 bits.
        stream = self._join(x, h.astype(jnp.float32), root)
        if not self.is_initializing():
            self.sow("intermediates", "stream", stream)  # nothing, unless someone asks for intermediates
        return stream, None

    def _join(self, x: jax.Array, h: jax.Array, root: jax.Array | None) -> jax.Array:
        small = nn.initializers.constant(1 / self.blocks)
        match self.design:
            case "paper":
                return x + h
            case "scaled" | "pre_norm":
                return x + h / (math.sqrt(self.blocks) if root is None else root)
            case "learned_scale":
                return x + jnp.asarray(self.param("branch_scale", small, ())) * h
            case "spherical":
                step = jnp.asarray(self.param("step", small, (self.width,)))
                return _unit(x + step * (_unit(h) - x))


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-6)


class Trunk(nn.Module):
    """Stem, then residual blocks: `[B, in]` to `[B, width]`."""

    depth: int
    width: int
    block_size: int = 4
    design: BlockDesign = "scaled"
    remat: bool = False
    """Recompute each block's activations in the backward pass: less memory, about a third more time."""
    compute_dtype: ComputeDtype = "float32"
    """Of the blocks' matrix products and activations; parameters, stem, stream and heads stay in float32."""
    unrolled: bool = False
    """Blocks one by one, in operations that converters to ONNX know, from the parameters of the scanned form."""
    grows: bool = False
    """Branches are scaled by the depth at which their block came, so that blocks that come later change nothing."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Stem, blocks and, except for `paper`, the final LayerNorm."""
        blocks = num_blocks(self.depth, self.block_size)
        x = NormSwish(self.unrolled)(nn.Dense(self.width, kernel_init=kernel_init)(x))
        if self.design == "spherical":
            x = _unit(x)
        settings = self.width, self.block_size, blocks, self.design, self.compute_dtype
        roots = roots_of_growth(blocks) if self.grows else None
        if self.unrolled:
            block = _Block(*settings, plain=True, parent=None)
            for number in range(blocks):
                params = jax.tree.map(lambda leaf, k=number: leaf[k], self.variables["params"]["blocks"])
                x, _ = apply(block, {"params": params}, x, None if roots is None else roots[number])
        else:
            scanned = nn.scan(
                nn.remat(_Block, prevent_cse=False) if self.remat else _Block,
                variable_axes={"params": 0, "intermediates": 0},
                split_rngs={"params": True},
                length=blocks,
            )
            x, _ = scanned(*settings, name="blocks")(x, roots)
        return x if self.design == "paper" else nn.LayerNorm(name="final_norm")(x)


def roots_of_growth(blocks: int) -> jax.Array:
    """The square root of the number of blocks that a network had when each of its blocks came, `[K]`, where it began
    with one and was doubled.
    """
    return jnp.sqrt(jnp.asarray([1 << number.bit_length() for number in range(blocks)], jnp.float32))


class Actor(nn.Module):
    """Tanh-Gaussian policy: mean and log standard deviation before the tanh, `[B, J]` each, and the features."""

    trunk: Trunk
    action_size: int

    @nn.compact
    def __call__(self, inputs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Both heads on the trunk's features."""
        features = self.trunk(inputs)
        mean = nn.Dense(self.action_size, kernel_init=kernel_init, name="mean")(features)
        raw = nn.Dense(self.action_size, kernel_init=kernel_init, name="log_std")(features)
        log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (jnp.tanh(raw) + 1)
        return mean, log_std, features


class Encoder(nn.Module):
    """Embedding of a state-action pair (phi) or of a goal (psi), `[B, in]` to `[B, E]`."""

    trunk: Trunk
    embedding_size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The embedding."""
        return nn.Dense(self.embedding_size, kernel_init=kernel_init, name="embedding")(self.trunk(x))


def sample_tanh_gaussian(key: jax.Array, mean: jax.Array, log_std: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A reparameterised action `[B, J]` in (-1, 1) and its log density `[B]` (SAC, arXiv 1801.01290, appendix C)."""
    noise = jax.random.normal(key, mean.shape)
    raw = mean + jnp.exp(log_std) * noise
    log_density = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)
    # log(1 - tanh(x)^2), in the form that does not lose precision for large |x|.
    correction = 2 * (jnp.log(2.0) - raw - jax.nn.softplus(-2 * raw))
    return jnp.tanh(raw), jnp.sum(log_density - correction, axis=-1)


def apply(module: nn.Module, params: Any, *inputs: jax.Array | None, method: Any = None) -> Any:
    """`module.apply` without the union type that Flax gives to mutable collections."""
    return module.apply(params, *inputs, method=method)


def streams(actor: Actor, params: Any, inputs: jax.Array) -> jax.Array:
    """The actor's residual stream after every block, `[B, in]` to `[K, B, W]`."""
    _, collected = actor.apply(params, inputs, mutable=["intermediates"])
    return jnp.asarray(collected["intermediates"]["trunk"]["blocks"]["stream"][0])


def count_parameters(params: Any) -> int:
    """Number of scalars in a parameter tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
