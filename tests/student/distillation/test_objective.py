from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from student.config import StudentNetworkConfig
from student.distillation.dataset import Labels
from student.distillation.objective import Objective, Params
from student.network import Projections, StudentPolicy
from tests.student.tiny import tiny_distill_config

NETWORK = StudentNetworkConfig(hidden_layers=1, hidden_width=8)
NAMES = ("behaviour", "action", "feature", "embedding", "relational", "contrastive")


def make(**weights: float) -> tuple[Objective, Params, jax.Array, Labels]:
    off = {f"{name}_weight": 0.0 for name in NAMES}
    config = tiny_distill_config(**(off | {k: v for k, v in weights.items() if k.endswith("_weight")}))
    schedule = "linear" if weights.get("linear") else "constant"
    config = config.model_copy(update={"representation_schedule": schedule})
    policy, projections = StudentPolicy(NETWORK, 2), Projections({"features": 6, "phi": 4, "psi": 4})
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(32, 5)), jnp.float32)
    labels = Labels(*(jnp.asarray(rng.normal(size=(32, size)), jnp.float32) for size in (2, 2, 6, 4, 4)))
    params = policy.init(jax.random.key(0), inputs), projections.init(jax.random.key(1), jnp.zeros((1, 8)))
    return Objective(policy, projections, config), params, inputs, labels


@pytest.mark.parametrize("name", NAMES)
def test_every_term_alone_pulls_on_the_policy(name: str) -> None:
    objective, params, inputs, labels = make(**{f"{name}_weight": 2.0})
    total, metrics = objective.loss(params, inputs, labels, jnp.zeros(()))
    assert metrics.keys() == {"loss", name}
    assert float(total) == pytest.approx(2 * float(metrics[name]))
    assert float(objective.gradient_norms(params, inputs, labels, jnp.zeros(()))[f"gradient_{name}"]) > 0


def test_terms_add_up_and_their_gradients_are_reported() -> None:
    objective, params, inputs, labels = make(**{f"{name}_weight": 1.0 for name in NAMES})
    total, metrics = objective.loss(params, inputs, labels, jnp.zeros(()))
    assert float(total) == pytest.approx(sum(float(metrics[name]) for name in NAMES), rel=1e-5)
    norms = objective.gradient_norms(params, inputs, labels, jnp.zeros(()))
    assert norms.keys() == {f"gradient_{name}" for name in NAMES}


def test_representation_terms_fade_and_action_terms_do_not() -> None:
    objective, params, inputs, labels = make(action_weight=1.0, feature_weight=1.0, linear=1.0)
    ends = [objective.loss(params, inputs, labels, jnp.asarray(progress)) for progress in (0.0, 0.5, 1.0)]
    action, feature = (float(ends[0][1][name]) for name in ("action", "feature"))
    assert [float(total) for total, _ in ends] == pytest.approx(
        [action + feature, action + 0.5 * feature, action], rel=1e-5
    )
