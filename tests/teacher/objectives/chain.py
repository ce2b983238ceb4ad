"""A robot on six places in a row that steps right where its first action is positive and left otherwise. Everything
about it can be computed: how long it takes from a place to another, when it acts at random after a first action.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sim2real.backends.base import Rollout
from sim2real.contract import Contract
from sim2real.contract.interface import goal_features, goal_size, observation_size
from sim2real.tasks.task import load_task
from teacher import replay
from teacher.config import LearnerConfig, NetworkConfig
from teacher.objectives import make_objective
from teacher.objectives.base import Objective

PLACES, SPACING_M, WINDOW = 6, 0.12, 16
_ENVS, _STEPS, _EPISODE = 16, 300, 30


@cache
def contract() -> Contract:
    """Of a task with goals in metres; only its sizes and its tolerance of 5 cm matter here."""
    return load_task(Path(__file__).parents[3] / "benchmarks" / "tasks" / "planar_reach.yaml").contract


def step(place: np.ndarray, action: np.ndarray) -> np.ndarray:
    """The next place."""
    return np.clip(place + np.where(action > 0, 1, -1), 0, PLACES - 1)


def observations(place: Any) -> jax.Array:
    """`[...]` places to `[..., D]`, which say in their first entries which it is and in those of the tool where."""
    seen = jax.nn.one_hot(jnp.asarray(place), observation_size(contract()))
    (run,) = contract().observation.runs([part.reading for part in contract().goal.parts()])
    assert run.start >= PLACES
    return seen.at[..., run].set(goal_features(contract(), goals(place)))


def goals(place: Any) -> jax.Array:
    """`[...]` places to goal vectors `[..., G]`, in a row along x."""
    x = (jnp.asarray(place, jnp.float32) - (PLACES - 1) / 2) * SPACING_M
    return jnp.stack([x, *[jnp.zeros_like(x)] * (goal_size(contract()) - 1)], axis=-1)


def actions(right: Any) -> jax.Array:
    """Actions `[..., J]` from whether they go right."""
    first = jnp.where(jnp.asarray(right), 0.5, -0.5)
    return jnp.stack([first, jnp.zeros_like(first)], axis=-1)


def random_walks() -> replay.Replay:
    """A replay of robots that act at random."""
    rng = np.random.default_rng(0)
    place, rows = rng.integers(PLACES, size=_ENVS), []
    right = rng.random((_STEPS, _ENVS)) < 0.5
    for number in range(_STEPS):
        if number % _EPISODE == 0:
            place = rng.integers(PLACES, size=_ENVS)
        rows.append(place)
        place = step(place, np.where(right[number], 1, -1))
    last = np.zeros((_STEPS, _ENVS), bool)
    last[_EPISODE - 1 :: _EPISODE] = True
    seen = np.stack(rows)
    rollout = Rollout(observations(seen), goals(seen), goals(seen), actions(right), last, np.zeros_like(last))
    sizes = {"observation": observation_size(contract()), "goal": goal_size(contract()), "action": 2}
    return replay.insert(replay.create(capacity=_STEPS, num_envs=_ENVS, **sizes), rollout)


def expected_times(gamma: float) -> np.ndarray:
    """Discounted steps until a goal within the window, from a place by a first action (0 left, 1 right) and then at
    random, `[place, action, goal]`.
    """
    walk = np.zeros((PLACES, PLACES))
    for place in range(PLACES):
        for move in (-1, 1):
            walk[place, int(step(np.array(place), np.array(move)))] += 0.5
    found = np.zeros((PLACES, 2, PLACES))
    for goal in range(PLACES):
        elsewhere = np.eye(PLACES)
        elsewhere[goal, goal] = 0.0
        for place in range(PLACES):
            for side, move in enumerate((-1, 1)):
                if place == goal:
                    continue
                where = np.eye(PLACES)[int(step(np.array(place), np.array(move)))] @ elsewhere
                found[place, side, goal] = 1.0
                for ahead in range(1, WINDOW):
                    found[place, side, goal] += gamma**ahead * where.sum()
                    where = where @ walk @ elsewhere
    return found


def trained(learner: LearnerConfig, *, updates: int) -> tuple[Objective, Any]:
    """An objective whose critic has learnt from random walks, and its parameters."""
    network = NetworkConfig(actor_depth=2, critic_depth=2, block_size=2, width=32, embedding_size=16)
    objective = make_objective(contract(), network, learner)
    buffer, optimizer = random_walks(), optax.adam(optax.cosine_decay_schedule(3e-3, updates))
    critic = objective.init(*jax.random.split(jax.random.key(0)))

    def one(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        critic, state = carry
        batch = objective.sample(buffer, key, strata=1)
        (loss, _), gradient = jax.value_and_grad(objective.loss, has_aux=True)(critic, batch)
        changes, state = optimizer.update(gradient, state, critic)
        return (optax.apply_updates(critic, changes), state), loss

    keys = jax.random.split(jax.random.key(1), updates)
    (critic, _), _ = jax.jit(lambda carry: jax.lax.scan(one, carry, keys))((critic, optimizer.init(critic)))
    return objective, critic


def values(objective: Objective, critic: Any) -> np.ndarray:
    """What the critic thinks, `[place, action, goal]`."""
    place, side, goal = (x.reshape(-1) for x in np.meshgrid(*map(np.arange, (PLACES, 2, PLACES)), indexing="ij"))
    seen = observations(place)
    found = objective.value(critic, seen, actions(side == 1), objective.embed_goal(critic, goals(goal), seen))
    return np.asarray(found).reshape(PLACES, 2, PLACES)
