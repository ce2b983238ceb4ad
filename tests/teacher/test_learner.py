from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim2real.backends.base import Rollout
from sim2real.contract.interface import action_size, from_home, goal_errors, goal_size, observation_size
from sim2real.contract.mirror import Mirror, in_a_mirror
from sim2real.tasks.task import load_task
from teacher import replay
from teacher.learner import Learner, LearnerState, half_mirrored
from tests.teacher.tiny import LEARNER, NETWORK, contract

COUNT = 40
QUADRUPED = "quadruped_walk"
ROWS = 8


def smooth_rollout(steps: int = 60, envs: int = 4) -> Rollout:
    """Random walks, so that a goal tells which state it follows."""
    rng = np.random.default_rng(0)
    sizes = observation_size(contract()), goal_size(contract()), 7
    observation, achieved, action = (
        np.cumsum(rng.normal(size=(steps, envs, size)), axis=0).astype(np.float32) * 0.2 for size in sizes
    )
    last = np.zeros((steps, envs), bool)
    last[19::20] = True
    return Rollout(observation, achieved, achieved, np.tanh(action), last, np.zeros_like(last))


@pytest.fixture(scope="module")
def learner() -> Learner:
    return Learner(contract(), NETWORK, LEARNER, total_updates=1000)


@pytest.fixture(scope="module")
def buffer() -> replay.Replay:
    rollout = smooth_rollout()
    sizes = {"observation": observation_size(contract()), "goal": goal_size(contract()), "action": 7}
    return replay.insert(replay.create(capacity=60, num_envs=4, **sizes), rollout)


@pytest.fixture(scope="module")
def batch(buffer: replay.Replay) -> replay.Batch:
    return replay.sample(buffer, jax.random.key(3), batch_size=16, gamma=0.9)


@cache
def gradient_program(**changes: Any) -> Any:
    learner = Learner(contract(), NETWORK, LEARNER.model_copy(update=changes), 1000)

    def program(state: LearnerState, batch: replay.Batch, key: jax.Array) -> Any:
        critic, (embedding, metrics) = jax.grad(learner.critic_loss, has_aux=True)(state.critic, batch)
        parts = (state.actor, state.log_alpha)
        (actor, log_alpha), more = jax.grad(learner.actor_loss, has_aux=True)(
            parts, state.critic, embedding, batch, key
        )
        return (actor, critic, log_alpha), metrics | more

    return jax.jit(program)


def gradients(state: LearnerState, batch: replay.Batch, **changes: Any) -> Any:
    """Gradients of actor, critic and log alpha for one batch, and metrics."""
    return gradient_program(**changes)(state, batch, jax.random.key(5))


def assert_trees_equal(left: Any, right: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, left, right)


def differ(left: Any, right: Any) -> bool:
    return any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))


def test_updates_learn_compile_once_and_consume_their_state(learner: Learner, buffer: replay.Replay) -> None:
    state = learner.init(jax.random.key(0))
    before = jax.tree.map(np.array, state)
    losses = []
    compiled = Learner.update_many._cache_size()  # type: ignore[attr-defined]  # other learners of this process
    for number in range(6):
        given = state
        state, metrics = learner.update_many(given, buffer, jax.random.key(number), COUNT)
        losses.append(float(metrics["critic_loss"]))
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(given.actor))  # donated: no second copy in memory
    assert losses[-1] < losses[0] - 0.3
    assert Learner.update_many._cache_size() == compiled + 1  # type: ignore[attr-defined]
    assert int(state.updates) == 6 * COUNT
    for part in ("actor", "critic", "log_alpha"):
        assert differ(getattr(before, part), getattr(state, part)), part
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_same_key_gives_the_same_update_and_another_key_another(learner: Learner, buffer: replay.Replay) -> None:
    first, second, other = (
        learner.update_many(learner.init(jax.random.key(0)), buffer, jax.random.key(seed), COUNT)[0]
        for seed in (1, 1, 2)
    )
    assert_trees_equal(first, second)
    assert differ(first.critic, other.critic)


def test_actor_loss_does_not_reach_the_critic(learner: Learner, batch: replay.Batch) -> None:
    """The critic's gradient stays the same when what the actor is rewarded for changes."""
    state = learner.init(jax.random.key(0))
    hotter = state._replace(log_alpha=state.log_alpha + 3.0)
    others = jax.tree.map(lambda leaf: leaf * 1.5, state.actor)
    (_, critic, _), _ = gradients(state, batch)
    for changed in (hotter, state._replace(actor=others)):
        (actor, same, _), _ = gradients(changed, batch)
        assert_trees_equal(critic, same)
        assert float(jnp.abs(jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(actor)])).max()) > 0


def test_critic_loss_does_not_reach_the_actor(learner: Learner, batch: replay.Batch) -> None:
    state = learner.init(jax.random.key(0))
    (plain, critic, _), _ = gradients(state, batch)
    (same, changed, _), _ = gradients(state, batch, logsumexp_penalty=5.0)
    assert_trees_equal(plain, same)
    assert differ(critic, changed)


def test_temperature_pushes_entropy_to_its_target(learner: Learner, batch: replay.Batch) -> None:
    state = learner.init(jax.random.key(0))
    (_, _, gradient), metrics = gradients(state, batch)
    target = LEARNER.target_entropy_per_action * 7
    # alpha falls (positive gradient) while the policy is more random than asked for, and rises otherwise
    expected = np.exp(float(state.log_alpha)) * (float(metrics["entropy"]) - target)
    assert float(gradient) == pytest.approx(expected, rel=1e-4)


def test_logit_metrics_are_those_of_the_energy_matrix(learner: Learner, batch: replay.Batch) -> None:
    state = learner.init(jax.random.key(0))
    _, metrics = gradients(state, batch)
    phi = learner.networks.embed(state.critic, batch.observation, batch.action)
    psi = learner.networks.embed_goal(state.critic, batch.goal, batch.observation)
    distance = np.linalg.norm(np.asarray(phi)[:, None] - np.asarray(psi)[None], axis=-1)
    off_diagonal = distance[~np.eye(16, dtype=bool)]
    assert float(metrics["logits_positive"]) == pytest.approx(-np.diag(distance).mean(), rel=1e-3)
    assert float(metrics["logits_negative"]) == pytest.approx(-off_diagonal.mean(), rel=1e-3)


@pytest.mark.parametrize("sees", ["goal", "way"])
def test_random_goals_change_what_the_actor_is_asked_for_and_not_the_critic(sees: str, batch: replay.Batch) -> None:
    learner = Learner(contract(), NETWORK, LEARNER.model_copy(update={"critic_sees": sees}), total_updates=1000)
    state = learner.init(jax.random.key(0))
    (own, critic, _), _ = gradients(state, batch, critic_sees=sees)
    (others, same, _), _ = gradients(state, batch, critic_sees=sees, random_goal_share=1.0)
    rolled = batch._replace(goal=jnp.roll(batch.goal, 1, axis=0))
    (expected, _, _), _ = gradients(state, rolled, critic_sees=sees)
    assert_trees_equal(critic, same)
    assert differ(own, others)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), others, expected)


def test_polyak_averages_the_actor_that_is_evaluated(learner: Learner, batch: replay.Batch) -> None:
    averaging = Learner(contract(), NETWORK, LEARNER.model_copy(update={"polyak": 0.9}), total_updates=1000)
    state = averaging.init(jax.random.key(0))
    new, _ = jax.jit(averaging.update)(state, batch, jax.random.key(1))
    expected = jax.tree.map(lambda old, now: 0.9 * old + 0.1 * now, state.actor, new.actor)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), new.evaluated_actor, expected)


def test_learning_rate_warms_up_and_decays() -> None:
    """Adam's step on a constant gradient is the learning rate itself."""
    config = LEARNER.model_copy(update={"warmup_updates": 2, "final_learning_rate_fraction": 0.1})
    optimizer = Learner(contract(), NETWORK, config, total_updates=6)._optimizers[0]
    params = {"w": jnp.ones(3)}
    state, rates = optimizer.init(params), []
    for _ in range(8):
        updates, state = optimizer.update({"w": jnp.full(3, 0.5)}, state, params)
        rates.append(-float(updates["w"][0]) / config.actor_learning_rate)
    cosine = [0.1 + 0.9 * (1 + np.cos(np.pi * k / 4)) / 2 for k in range(5)]
    np.testing.assert_allclose(rates, [0.0, 0.5, *cosine, 0.1], rtol=1e-3, atol=1e-6)


def test_gradients_are_clipped_to_the_configured_norm() -> None:
    config = LEARNER.model_copy(update={"max_gradient_norm": 1.0})
    optimizer = Learner(contract(), NETWORK, config, total_updates=6)._optimizers[0]
    params = {"w": jnp.zeros(2)}
    _, (_, adam) = optimizer.update({"w": jnp.array([3000.0, 4000.0])}, optimizer.init(params), params)
    momentum = next(leaf for leaf in jax.tree.leaves(adam) if leaf.shape == (2,))
    np.testing.assert_allclose(momentum, 0.1 * np.array([0.6, 0.8]), rtol=1e-4)


def test_critic_first_lets_the_actor_learn_from_the_new_critic(learner: Learner, batch: replay.Batch) -> None:
    """Its critic equals the simultaneous one's; its actor is what a simultaneous update with that critic would give."""
    config = LEARNER.model_copy(update={"update_order": "critic_first"})
    other = Learner(contract(), NETWORK, config, total_updates=1000)
    state, key = learner.init(jax.random.key(0)), jax.random.key(1)
    plain, _ = jax.jit(learner.update)(state, batch, key)
    new, _ = jax.jit(other.update)(state, batch, key)
    assert_trees_equal(plain.critic, new.critic)
    expected, _ = jax.jit(learner.update)(state._replace(critic=plain.critic), batch, key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), new.actor, expected.actor)
    assert differ(plain.actor, new.actor)


def test_bfloat16_keeps_float32_weights_and_nearly_the_same_losses(learner: Learner, batch: replay.Batch) -> None:
    half = Learner(contract(), NETWORK.model_copy(update={"compute_dtype": "bfloat16"}), LEARNER, total_updates=1000)
    state = half.init(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves((state.actor, state.critic))} == {jnp.dtype("float32")}
    assert_trees_equal(state.critic, learner.init(jax.random.key(0)).critic)
    found, _ = jax.jit(half.critic_loss)(state.critic, batch)
    expected, _ = jax.jit(learner.critic_loss)(state.critic, batch)
    assert found.dtype == jnp.float32
    assert 0 < abs(float(found - expected)) < 0.05 * float(expected)


@pytest.mark.parametrize("chunk", [1, 3])
def test_posture_weight_counts_joints_own_numbers_and_not_a_gaits_swings(chunk: int) -> None:
    quadruped = load_task("quadruped_walk").contract
    learner = Learner(quadruped, NETWORK, LEARNER.model_copy(update={"action_chunk": chunk, "posture_weight": 1.0}), 10)
    observation = np.random.default_rng(0).normal(size=(5, observation_size(quadruped))).astype(np.float32)
    away = from_home(quadruped, observation)
    action = np.zeros((5, chunk, 20), np.float32)
    action[..., 12:] = 1.0
    assert not np.asarray(learner._leaving_home(jnp.asarray(action.reshape(5, -1)), jnp.asarray(observation))).any()
    action[:, 0, :12] = 1.0
    found = learner._leaving_home(jnp.asarray(action.reshape(5, -1)), jnp.asarray(observation))
    np.testing.assert_allclose(found, away.sum(axis=-1) / chunk, rtol=1e-5)


@cache
def mirror() -> Mirror:
    task = load_task(QUADRUPED)
    return in_a_mirror(task.teacher_contract, task.scene)


def batch_of(chunk: int) -> Any:
    contract, rng = load_task(QUADRUPED).teacher_contract, np.random.default_rng(0)
    sizes = observation_size(contract), chunk * action_size(contract), goal_size(contract)
    return replay.Batch(
        *(jnp.asarray(rng.normal(size=(ROWS, size)), jnp.float32) for size in sizes), over=jnp.arange(8.0)
    )


@pytest.mark.parametrize("chunk", [1, 3])
def test_every_other_row_is_in_the_mirror(chunk: int) -> None:
    batch = batch_of(chunk)
    found = jax.jit(lambda batch: half_mirrored(batch, mirror()))(batch)
    for name in batch._fields:
        np.testing.assert_array_equal(getattr(found, name)[::2], getattr(batch, name)[::2])
    np.testing.assert_array_equal(found.over, batch.over)
    np.testing.assert_array_equal(found.observation[1::2], mirror().observation(batch.observation[1::2]))
    np.testing.assert_array_equal(found.goal[1::2], mirror().goal(batch.goal[1::2]))
    size = action_size(load_task(QUADRUPED).contract)
    for step in range(chunk):
        part = slice(step * size, (step + 1) * size)
        np.testing.assert_array_equal(found.action[1::2, part], mirror().action(batch.action[1::2, part]))


def test_distances_are_the_same_in_the_mirror() -> None:
    """Times to a goal, and whether it was reached, need no image of their own."""
    contract = load_task(QUADRUPED).contract
    rng = np.random.default_rng(0)
    requests = contract.goal.between(np, contract, rng.random((2 * ROWS, 3)), rng.normal(size=(2 * ROWS, 3)), grown=1.0)
    here, there = np.split(contract.goal.vector(np, contract, requests), 2)
    expected = goal_errors(contract, here, there)
    np.testing.assert_allclose(goal_errors(contract, mirror().goal(here), mirror().goal(there)), expected, rtol=1e-4)
