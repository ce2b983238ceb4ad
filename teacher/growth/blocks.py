"""Deeper networks that compute what the shallower ones did: new residual blocks begin with a branch of zero.

A block's branch is silenced by what comes last in it, so that its gradient is not zero: the scale and bias of the last
LayerNorm, the last Dense before a swish, or the factor of the branch (as in arXiv 1706.02677, section 5.1, and
arXiv 2003.04887). Optimisers go on for old parameters and begin with zero moments for new ones.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from teacher.config import NetworkConfig
from teacher.learner import LearnerState
from teacher.networks import num_blocks


def at_depth(network: NetworkConfig, depth: int) -> NetworkConfig:
    """The networks of a run with `--depth auto` once they are `depth` layers deep."""
    num_blocks(depth, network.block_size)
    return network.model_copy(update={"actor_depth": depth, "critic_depth": depth})


def at_depth_of(network: NetworkConfig, actor: Any) -> NetworkConfig:
    """`network` as deep as an actor's parameters are, the one place where a growing run keeps its depth; a tree, or the
    arrays of a checkpoint by their path.
    """
    if network.depth != "auto":
        return network
    leaves = jax.tree_util.tree_leaves_with_path(actor)
    blocks = next(leaf.shape[0] for path, leaf in leaves if "blocks" in jax.tree_util.keystr(path))
    return at_depth(network, blocks * network.block_size)


def grown(state: LearnerState, fresh: LearnerState, network: NetworkConfig) -> LearnerState:
    """`state` with the blocks that it lacks of `fresh`, the initial state of a deeper network, silenced."""

    def joined(path: Any, old: jax.Array, new: jax.Array) -> jax.Array:
        if old.shape == new.shape:
            return old
        tail = new[len(old) :]
        return jnp.concatenate([old, jnp.zeros_like(tail) if _silences(path, network) else tail])

    made: LearnerState = jax.tree_util.tree_map_with_path(joined, state, fresh)
    return made


def _silences(path: Any, network: NetworkConfig) -> bool:
    """Whether a block's branch is zero where this parameter is."""
    last = network.block_size - 1
    part = {
        "paper": f"NormSwish_{last}",
        "scaled": f"NormSwish_{last}",
        "pre_norm": f"Dense_{last}",
        "learned_scale": "branch_scale",
        "spherical": "step",
    }[network.design]
    return part in jax.tree_util.keystr(path, simple=True, separator=".").split(".")
