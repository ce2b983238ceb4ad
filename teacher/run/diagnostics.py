"""What tells early whether a deep network is healthy: gradients by depth, the stream's scale, the embeddings' rank.

Computed once per round on one batch, outside the update, so that watching costs nothing that training would notice.
Shapes: `B` batch, `E` embedding size, `K` blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from sim2real.errors import ShoalError
from teacher import replay
from teacher.learner import Learner, LearnerState
from teacher.objectives.base import Params
from teacher.run.folder import RunFolder


def gradient_norm_by_block(gradient: Params) -> jax.Array:
    """Norm of the gradient of each residual block's parameters, `[K]`; blocks are stacked along the first axis."""
    blocks = gradient["params"]["trunk"]["blocks"]
    squares = [jnp.sum(leaf.reshape(leaf.shape[0], -1) ** 2, axis=1) for leaf in jax.tree.leaves(blocks)]
    return jnp.sqrt(jnp.sum(jnp.stack(squares), axis=0))


def effective_rank(embedding: jax.Array) -> jax.Array:
    """exp(entropy of the normalised singular values) of centred embeddings `[B, E]`: 1 when all lie on a line, E when
    they fill every direction alike (Roy and Vetterli 2007, "The effective rank").
    """
    centred = embedding - jnp.mean(embedding, axis=0)
    # Singular values from the E x E Gram matrix, which is far smaller than the batch.
    values = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(centred.T @ centred), 0.0))
    share = values / (jnp.sum(values) + 1e-12)
    return jnp.exp(-jnp.sum(share * jnp.log(share + 1e-12)))


@partial(jax.jit, static_argnums=0)
def diagnosis(learner: Learner, state: LearnerState, buffer: replay.Replay, key: jax.Array) -> dict[str, jax.Array]:
    """`diagnose` on a batch of the replay, and whether all weights are finite."""
    sample_key, actor_key = jax.random.split(jax.random.fold_in(key, 1))
    found = diagnose(learner, state, learner.sample(buffer, sample_key), actor_key)
    return found | {"weights_finite": all_finite((state.actor, state.critic, state.optimizer))}


def diagnose(learner: Learner, state: LearnerState, batch: replay.Batch, key: jax.Array) -> dict[str, jax.Array]:
    """Scalars for the log, from one batch; names end in what they measure."""
    networks = learner.networks
    critic_gradient, (goal_embedding, _) = jax.grad(learner.critic_loss, has_aux=True)(state.critic, batch)
    actor_gradient = jax.grad(
        lambda actor: learner.actor_loss((actor, state.log_alpha), state.critic, goal_embedding, batch, key)[0]
    )(state.actor)
    named = {"actor": actor_gradient, "phi": critic_gradient["phi"], "psi": critic_gradient["psi"]}
    out: dict[str, jax.Array] = {}
    for name, gradient in named.items():
        norms = gradient_norm_by_block(gradient)
        out |= {f"{name}_gradient_first_block": norms[0], f"{name}_gradient_last_block": norms[-1]}
    embedding = networks.embed(state.critic, batch.observation, batch.action)
    return out | {
        "phi_effective_rank": effective_rank(embedding),
        "psi_effective_rank": effective_rank(goal_embedding),
    }


def all_finite(tree: Any) -> jax.Array:
    """Whether every number of a tree is finite, a scalar bool."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def require_healthy(
    row: Mapping[str, float], number: int, max_loss: float, folder: RunFolder, *, kept: int | None
) -> None:
    """Stop before the broken state of round `number` can reach a checkpoint, of which the newest is `kept`."""
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    wrong = f"{', '.join(bad)} became non-finite" if bad else ""
    if not bad and not row["weights_finite"]:
        wrong = "the weights became non-finite"
    for name in ("critic_loss", "actor_loss"):
        if not wrong and abs(row[name]) > max_loss:
            wrong = f"{name} {row[name]:.3g} is beyond max_loss {max_loss:.3g}, training has diverged"
    if wrong:
        left = f"the checkpoint of round {kept} is kept" if kept else "no checkpoint was written yet"
        raise ShoalError(
            f"round {number}: {wrong}; {left} in {folder.checkpoints}. Lower the learning rates, or "
            "start from another seed or block design."
        )
