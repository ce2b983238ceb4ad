"""What a student is trained on: action terms and representation terms, their weights, and how hard each one pulls.

Shapes: `B` batch.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from student.config import DistillConfig
from student.distillation.dataset import Labels
from student.distillation.losses import action_error, contrastive, gaussian_kl, normalised_distance, relational_distance
from student.network import Projections, StudentPolicy
from teacher.networks import apply

RELATIONAL_ROWS = 256
"""Rows of a batch whose energy matrix is compared; the matrix grows with the square."""
REPRESENTATION = ("feature", "embedding", "relational", "contrastive")

Params = tuple[Any, Any]
"""Of the policy and of the projections."""


class Objective:
    """The weighted sum of terms; a term of weight zero is not computed."""

    def __init__(self, policy: StudentPolicy, projections: Projections, config: DistillConfig) -> None:
        self.policy, self.projections, self.config = policy, projections, config
        weights = {name: getattr(config, f"{name}_weight") for name in ("behaviour", "action", *REPRESENTATION)}
        self.weights: dict[str, float] = {name: weight for name, weight in weights.items() if weight > 0}

    def terms(self, params: Params, inputs: jax.Array, labels: Labels) -> dict[str, jax.Array]:
        """Every term in use, unweighted, scalars."""
        mean, log_std, features = apply(self.policy, params[0], inputs)
        projected = apply(self.projections, params[1], features)
        pairs = [(projected[name], getattr(labels, name)) for name in ("phi", "psi")]
        rows = slice(RELATIONAL_ROWS)
        terms = {
            "behaviour": lambda: gaussian_kl(labels.mean, labels.log_std, mean, log_std),
            "action": lambda: action_error(labels.mean, mean),
            "feature": lambda: normalised_distance(projected["features"], labels.features),
            "embedding": lambda: 0.5 * sum((normalised_distance(*pair) for pair in pairs), jnp.zeros(())),
            "relational": lambda: relational_distance(
                (projected["phi"][rows], projected["psi"][rows]), (labels.phi[rows], labels.psi[rows])
            ),
            "contrastive": lambda: (
                0.5 * sum((contrastive(ours[rows], theirs[rows]) for ours, theirs in pairs), jnp.zeros(()))
            ),
        }
        return {name: terms[name]() for name in self.weights}

    def weight(self, name: str, progress: jax.Array) -> jax.Array:
        """The weight of one term at a share `progress` of the run."""
        falling = name in REPRESENTATION and self.config.representation_schedule == "linear"
        return self.weights[name] * ((1.0 - progress) if falling else jnp.ones(()))

    def loss(
        self, params: Params, inputs: jax.Array, labels: Labels, progress: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The sum, and every term unweighted for the log."""
        terms = self.terms(params, inputs, labels)
        total = sum((self.weight(name, progress) * value for name, value in terms.items()), jnp.zeros(()))
        return total, {"loss": total} | terms

    def gradient_norms(
        self, params: Params, inputs: jax.Array, labels: Labels, progress: jax.Array
    ) -> dict[str, jax.Array]:
        """Norm of each weighted term's gradient with respect to the policy: the imbalance between terms."""

        def norm(name: str) -> jax.Array:
            def term(policy: Any) -> jax.Array:
                return self.weight(name, progress) * self.terms((policy, params[1]), inputs, labels)[name]

            squares = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(jax.grad(term)(params[0]))]
            return jnp.sqrt(jnp.sum(jnp.stack(squares)))

        return {f"gradient_{name}": norm(name) for name in self.weights}
