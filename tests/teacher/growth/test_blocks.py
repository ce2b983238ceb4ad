from __future__ import annotations

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim2real.contract.interface import action_size, goal_size, observation_size
from teacher.config import LearnerConfig, NetworkConfig
from teacher.growth.blocks import at_depth, at_depth_of, grown
from teacher.learner import Learner, LearnerState
from teacher.networks import BlockDesign
from tests.teacher.tiny import contract

DESIGNS = get_args(BlockDesign)


def learner_of(design: BlockDesign, depth: int, **settings: str) -> Learner:
    first = NetworkConfig.model_validate(
        {"depth": "auto", "block_size": 2, "width": 16, "embedding_size": 8, "design": design}
    )
    config = LearnerConfig.model_validate({"batch_size": 16, **settings})
    return Learner(contract(), at_depth(first, depth), config, 100)


def inputs(seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    sizes = (size(contract()) for size in (observation_size, goal_size, action_size))
    keys = jax.random.split(jax.random.key(seed), 3)
    observation, goal, action = (jax.random.normal(key, (32, size)) for key, size in zip(keys, sizes, strict=True))
    return observation, goal, jnp.tanh(action)


def trained(learner: Learner, seed: int) -> LearnerState:
    """As if after training: every parameter, also those that begin at zero or one, and every moment has moved."""
    state = learner.init(jax.random.key(seed))
    moved = jax.tree.map(lambda leaf: leaf + 0.1 * (leaf.ndim > 0), (state.actor, state.critic, state.optimizer))
    return state._replace(actor=moved[0], critic=moved[1], optimizer=moved[2], evaluated_actor=moved[0])


def outputs(learner: Learner, state: LearnerState, seed: int) -> tuple[jax.Array, ...]:
    observation, goal, action = inputs(seed)
    networks = learner.networks
    mean, log_std, features = networks.act(state.actor, observation, goal)
    phi, psi = networks.embed(state.critic, observation, action), networks.embed_goal(state.critic, goal, observation)
    return mean, log_std, features, phi, psi, networks.value(state.critic, observation, goal, action)


@pytest.mark.parametrize("design", DESIGNS)
def test_a_grown_network_computes_what_it_did(design: BlockDesign) -> None:
    shallow = learner_of(design, 4)
    state = trained(shallow, 0)
    for depth in (8, 16):
        deep = learner_of(design, depth)
        state_then = grown(state, deep.init(jax.random.key(7)), deep.networks.objective.network)
        for before, after in zip(outputs(shallow, state, 0), outputs(deep, state_then, 0), strict=True):
            np.testing.assert_allclose(before, after, rtol=2e-5, atol=2e-5)
        assert at_depth_of(deep.networks.objective.network, state_then.actor).actor_depth == depth


@pytest.mark.parametrize("objective", ["survival", "chrono"])
def test_heads_on_the_encoders_grow_too(objective: str) -> None:
    shallow, deep = (learner_of("scaled", depth, objective=objective) for depth in (2, 4))
    state = trained(shallow, 0)
    then = grown(state, deep.init(jax.random.key(7)), deep.networks.objective.network)
    jax.tree.map(lambda leaf, like: np.testing.assert_equal(leaf.shape, like.shape), then._asdict(), deep.shapes())
    for before, after in zip(outputs(shallow, state, 0), outputs(deep, then, 0), strict=True):
        np.testing.assert_allclose(before, after, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("design", DESIGNS)
def test_optimisers_go_on_for_old_parameters_and_begin_for_new_ones(design: BlockDesign) -> None:
    shallow, deep = learner_of(design, 4), learner_of(design, 8)
    state = trained(shallow, 3)
    then = grown(state, deep.init(jax.random.key(9)), deep.networks.objective.network)
    new = 0
    for old, now in zip(jax.tree.leaves(state.optimizer), jax.tree.leaves(then.optimizer), strict=True):
        np.testing.assert_array_equal(now if now.shape == old.shape else now[: len(old)], old)
        if now.shape != old.shape:
            np.testing.assert_array_equal(now[len(old) :], 0)
            new += 1
    assert new > 0
    jax.tree.map(np.testing.assert_array_equal, then.evaluated_actor, then.actor)


@pytest.mark.parametrize("design", DESIGNS)
def test_new_blocks_learn(design: BlockDesign) -> None:
    """A branch of zero has a gradient, and after a step on it every new parameter has one."""
    deep = learner_of(design, 8)
    network = deep.networks.objective.network
    params = grown(trained(learner_of(design, 4), 0), deep.init(jax.random.key(1)), network).actor
    observation, goal, _ = inputs(0)

    def loss(params: object) -> jax.Array:
        return jnp.sum(deep.networks.act(params, observation, goal)[0] ** 2)

    for _ in range(2):
        gradient = jax.grad(loss)(params)
        params = jax.tree.map(lambda leaf, change: leaf - 0.01 * jnp.sign(change), params, gradient)
    for leaf in jax.tree.leaves(gradient["params"]["trunk"]["blocks"]):
        assert all(float(jnp.abs(block).max()) > 0 for block in leaf[2:])
