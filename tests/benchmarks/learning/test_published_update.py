"""The published form computes what our learner computes; only how it is written differs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.learning.published_update import PublishedUpdate, unstack
from benchmarks.learning.teacher_update import rollout
from teacher.learner import Learner
from teacher.replay import Batch
from tests.teacher.tiny import LEARNER, NETWORK, contract

STEPS, ENVS = 100, 2


@pytest.fixture(scope="module")
def learner() -> Learner:
    return Learner(contract(), NETWORK, LEARNER, total_updates=100)


@pytest.fixture(scope="module")
def batch() -> Batch:
    data = rollout(contract(), 16, 1)
    return Batch(*(jnp.asarray(x[:, 0]) for x in (data.observation, data.action, data.achieved)))


def test_one_update_gives_the_same_parameters(learner: Learner, batch: Batch) -> None:
    published = PublishedUpdate(learner)
    key = jax.random.key(4)
    ours, metrics = jax.jit(learner.update)(learner.init(jax.random.key(0)), batch, key)
    theirs, same = jax.jit(published.update)(published.init(jax.random.key(0)), batch, key)
    for name, value in same.items():
        assert float(value) == pytest.approx(float(metrics[name]), rel=1e-4), name
    expected = unstack(ours.actor), {name: unstack(tree) for name, tree in ours.critic.items()}, ours.log_alpha
    found = theirs.actor, theirs.critic, theirs.log_alpha
    # Adam's first step is the sign of the gradient; where that is rounding error, entries differ by two steps.
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (np.abs(np.asarray(a) - np.asarray(b)) > 1e-5).mean() < 0.02
        np.testing.assert_allclose(a, b, atol=7e-4)


def test_relabelled_goals_come_later_in_the_same_episode_with_geometric_offsets(learner: Learner) -> None:
    """Goals here are their own step number, so that a transition tells how far ahead its goal was."""
    published = PublishedUpdate(learner)
    number = jnp.broadcast_to(jnp.arange(STEPS, dtype=jnp.float32)[:, None, None], (STEPS, ENVS, 1))
    window = Batch(number, jnp.zeros((STEPS, ENVS, 7)), number)
    last = jnp.zeros((STEPS, ENVS), jnp.int32).at[49::50].set(1)
    draws = [published.relabel(window, last, jax.random.key(seed)) for seed in range(40)]
    now = np.concatenate([np.asarray(d.observation)[:, 0] for d in draws])
    goal = np.concatenate([np.asarray(d.goal)[:, 0] for d in draws])
    inner = now % 50 < 48
    assert (goal[inner] > now[inner]).all()
    assert (goal // 50 == now // 50).all()
    early = now % 50 < 5
    assert (goal - now)[early].mean() == pytest.approx(1 / (1 - 0.9), rel=0.1)
