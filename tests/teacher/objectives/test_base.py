"""How critics see goals: as places, or as ways from where the robot is."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sim2real.contract.interface import goal_vector, observe
from sim2real.tasks.task import load_task
from teacher.config import LearnerConfig
from teacher.objectives import make_objective
from teacher.objectives.base import Objective, at_scales
from tests.teacher.tiny import NETWORK, contract

RNG = np.random.default_rng(0)
ROWS = 32


def objective(task: str, **settings: Any) -> Objective:
    return make_objective(load_task(task).teacher_contract, NETWORK, LearnerConfig(**settings))


def readings_at(task: str, place: np.ndarray, yaw: np.ndarray) -> dict[str, np.ndarray]:
    """Readings of a level base at places `[n, 2]` m and headings `[n]` rad; all others are the same in every row."""
    taught, half = load_task(task).teacher_contract, yaw / 2
    found = {r.name: np.tile(r.sample(np.random.default_rng(1), taught, 1), (len(yaw), 1)) for r in taught.readings}
    turn = np.stack([np.cos(half), 0 * half, 0 * half, np.sin(half)], axis=-1)
    found["base_orientation"] = turn
    for name, value in (("base_position", place), ("base_pose", np.concatenate([place, yaw[:, None]], axis=-1))):
        if name in found:
            found[name] = value
    return found


@pytest.mark.parametrize("task", ["ant", "quadruped_walk"])
def test_ways_are_metres_ahead_and_to_the_left_of_the_base(task: str) -> None:
    critic, taught = objective(task), load_task(task).teacher_contract
    place, goal = RNG.uniform(-3, 3, (2, ROWS, 2))
    yaw, facing = RNG.uniform(-np.pi, np.pi, (2, ROWS))
    poses = taught.goal.kind == "planar_pose"
    request = np.concatenate([goal, facing[:, None]], axis=-1) if poses else goal
    observation = observe(np, taught, readings_at(task, place, yaw))
    seen = np.asarray(critic.seen(jnp.asarray(goal_vector(np, taught, request)), jnp.asarray(observation)))
    ahead = (goal - place) @ np.stack([np.cos(yaw), np.sin(yaw)])
    left = (goal - place) @ np.stack([-np.sin(yaw), np.cos(yaw)])
    along = np.arange(ROWS)
    np.testing.assert_allclose(seen[:, 0], ahead[along, along], atol=1e-4)
    np.testing.assert_allclose(seen[:, 1], left[along, along], atol=1e-4)
    if poses:
        turn, weight = facing - yaw, taught.goal.orientation_weight_m
        np.testing.assert_allclose(seen[:, 2:], weight * np.stack([np.cos(turn) - 1, np.sin(turn)], -1), atol=1e-4)


def test_goals_of_bases_are_ways_that_are_alike_everywhere() -> None:
    critic, taught = objective("ant"), load_task("ant").teacher_contract
    yaw = RNG.uniform(-np.pi, np.pi, ROWS)
    place, ahead = RNG.uniform(-3, 3, (ROWS, 2)), np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    observation = jnp.asarray(observe(np, taught, readings_at("ant", place, yaw)))
    parameters = critic.init(*jax.random.split(jax.random.key(0)))
    near, far = (np.asarray(critic.embed_goal(parameters, jnp.asarray(place + d * ahead), observation)) for d in (1, 4))
    np.testing.assert_allclose(near, near[:1].repeat(ROWS, axis=0), atol=1e-4)
    assert np.abs(near - far).max() > 0.01


@pytest.mark.parametrize("task", ["franka_reach", "ant_u4_maze"])
def test_goals_of_tools_and_in_mazes_are_places(task: str) -> None:
    critic = make_objective(contract(task), NETWORK, LearnerConfig())
    goal = jnp.asarray(RNG.normal(size=(4, 3)))
    assert critic.seen(goal, jnp.zeros((4, 30))) is goal


@pytest.mark.parametrize("length", [0.1, 0.3, 1.0, 3.0])
def test_scales_tell_lengths_that_a_normalised_layer_would_hide(length: float) -> None:
    """A direction that stays the same but for its length, in the eyes of a layer that divides by the norm."""
    way = jnp.asarray([0.6, -0.8]) * length
    shorter, longer = (np.asarray(at_scales(factor * way, radius=0.5)) for factor in (1, 2))
    assert np.linalg.norm(shorter / np.linalg.norm(shorter) - longer / np.linalg.norm(longer)) > 0.05
    assert np.abs(longer).max() <= 1
