"""The best of a few candidates is what the critic says, and no worse than the actor's mean."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim2real.contract.interface import goal_size, observation_size
from student.distillation.collect import Collector
from student.policy import greedy as student_greedy
from student.policy import make_policy, student_inputs
from teacher.learner import Learner
from teacher.policies import best_candidate, best_of, greedy
from teacher.trained import load_teacher
from tests.student.tiny import tiny_distill_config
from tests.teacher.tiny import LEARNER, NETWORK, contract

ROWS = 12


@pytest.mark.parametrize("chunk", [1, 3])
def test_the_critic_chooses_among_mean_and_samples(chunk: int) -> None:
    learner = Learner(contract(), NETWORK, LEARNER.model_copy(update={"action_chunk": chunk}), 10)
    networks, state = learner.networks, learner.init(jax.random.key(0))
    sizes = observation_size(contract()), goal_size(contract())
    observation, goal = (jax.random.normal(jax.random.key(n), (ROWS, size)) for n, size in enumerate(sizes))
    mean, log_std, _ = networks.act(state.actor, observation, goal)
    key, count = jax.random.key(5), 6
    best = best_candidate(networks, state.critic, observation, goal, mean, log_std, key=key, count=count)
    noises = [jnp.zeros_like(mean), *(jax.random.normal(k, mean.shape) for k in jax.random.split(key, count)[1:])]
    candidates = np.stack([mean + jnp.exp(log_std) * noise for noise in noises])
    worth = np.stack([networks.value(state.critic, observation, goal, jnp.tanh(c)) for c in candidates])
    np.testing.assert_allclose(best, candidates[worth.argmax(axis=0), np.arange(ROWS)], atol=1e-5)
    assert len({*worth.argmax(axis=0).tolist()}) > 1
    acted = best_of(networks, count)((state.actor, state.critic), observation, goal, key)
    np.testing.assert_allclose(acted, np.tanh(best)[:, :7], atol=1e-5)
    plain = greedy(networks)(state.actor, observation, goal, key)
    np.testing.assert_allclose(plain, np.tanh(mean)[:, :7], atol=1e-5)


def test_a_student_is_shown_what_the_critic_chose(teacher_run: Path) -> None:
    teacher = load_teacher(teacher_run)
    policy = make_policy(teacher.contract, tiny_distill_config().student)
    apply = student_greedy(teacher.contract, policy)
    sizes = observation_size(teacher.contract), goal_size(teacher.contract)
    observation, goal = (jax.random.normal(jax.random.key(n), (5, 4, size)) for n, size in enumerate(sizes))
    inputs = student_inputs(teacher.contract, policy.config, observation[0], goal[0])
    params = policy.init(jax.random.key(0), inputs)
    means, worth = [], []
    for labels in ("actor", "best-of-8"):
        config = tiny_distill_config(labels=labels)
        collector = Collector.__new__(Collector)
        collector.teacher, collector.config, collector._student_apply = teacher, config, apply
        _, found, _ = collector.label(params, observation, goal, jax.random.key(1))
        flat = observation.reshape(20, -1), goal.reshape(20, -1)
        means.append(np.asarray(found.mean))
        worth.append(np.asarray(teacher.networks.value(teacher.critic, *flat, jnp.tanh(found.mean))))
    assert (worth[1] >= worth[0] - 1e-5).all()
    assert (worth[1] > worth[0]).mean() > 0.5
    assert np.abs(means[0] - means[1]).max() > 0


def test_labels_are_the_actor_or_the_best_of_some() -> None:
    assert tiny_distill_config().candidates == 1
    assert tiny_distill_config(labels="best-of-16").candidates == 16
    with pytest.raises(ValueError, match="labels"):
        tiny_distill_config(labels="best")
