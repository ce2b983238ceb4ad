"""Every kind of goal that ships: drawn within its bounds, reached where achieved, a graph input for each part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract
from sim2real.contract.interface import achieved, achieved_request, goal_errors, goal_vector, observe, policy_inputs
from sim2real.contract.policy_file import input_sizes
from sim2real.tasks.goal_pool import sample_goal_pool
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import TASK, write_task

BOX: dict[str, Any] = {"position_min_m": [-0.5, -0.5, 0.05], "position_max_m": [0.5, 0.5, 0.15]}
GROUND: dict[str, Any] = {"position_min_m": [-0.5, -0.5], "position_max_m": [0.5, 0.5]}
LOWER = {"kind": "position", "of": "lower", "name": "elbow_position"}
TIP = {"kind": "planar_pose", "of": "tool", "name": "base_pose"}
PLACE = {"kind": "planar_position", "of": "tool", "name": "base_position"}
SPACE = {"kind": "position", "of": "tool", "name": "base_position"}
TURN = {"kind": "orientation", "of": "tool", "name": "base_orientation"}
KINDS: dict[str, tuple[list[Any], dict[str, Any], dict[str, int]]] = {
    "tool_position": ([], BOX, {"goal_position": 3}),
    "tool_pose": ([], BOX | {"orientation_weight_m": 0.3}, {"goal_position": 3, "goal_orientation": 4}),
    "object_pose": (
        [],
        BOX
        | {"orientation_weight_m": 0.3, "position": "end_effector_position", "orientation": "end_effector_orientation"},
        {"goal_position": 3, "goal_orientation": 4},
    ),
    "joint_configuration": ([], {}, {"goal_joint_position": 2}),
    "planar_position": ([PLACE, TURN], GROUND, {"goal_position": 2}),
    "planar_pose": ([TIP], GROUND | {"base_orientation": None}, {"goal_pose": 3}),
    "base_pose": ([SPACE, TURN], BOX | {"max_tilt_deg": 20.0}, {"goal_position": 3, "goal_orientation": 4}),
    "together": (
        [LOWER],
        {"goals": [{"kind": "tool_position"} | BOX, {"kind": "tool_position", "position": "elbow_position"} | BOX]},
        {"goal_end_effector_position": 3, "goal_elbow_position": 3},
    ),
}


@pytest.fixture(params=KINDS)
def task(request: pytest.FixtureRequest, tmp_path: Path) -> Task:
    more, fields, _ = KINDS[request.param]
    readings = [*TASK["readings"], *more]
    return load_task(write_task(tmp_path, readings=readings, goal={"kind": request.param} | fields))


def test_every_part_is_an_input_of_the_graph(task: Task) -> None:
    parts = KINDS[task.contract.goal.kind][2]
    assert task.contract.goal.layout(task.contract).sizes == parts
    sizes = input_sizes(task.contract)
    assert {name: sizes[name] for name in parts} == parts
    again = Contract.model_validate_json(task.contract.model_dump_json())
    assert again == task.contract


def test_goals_lie_within_their_bounds_and_are_reached_where_they_are_achieved(task: Task) -> None:
    contract, pool = task.contract, sample_goal_pool(task, size=60, seed=0)
    assert contract.goal.allows(contract, pool.goal.astype(np.float64).round(4)).mean() > 0.95
    env = NativeEnvironment(task, num_envs=8, seed=0, pool=pool)
    readings = env.readings()
    observation = observe(np, contract, readings)
    vector = achieved(np, contract, readings)
    inputs = policy_inputs(np, contract, observation, vector)
    np.testing.assert_allclose(inputs[:, -vector.shape[1] :], 0, atol=1e-4)
    length, angle = goal_errors(contract, vector, vector)
    np.testing.assert_allclose(length, 0, atol=1e-6)
    np.testing.assert_allclose(angle, 0, atol=0.1)
    other = goal_vector(np, contract, pool.goal[:8])
    assert np.max(goal_errors(contract, vector, other), axis=0).min() > 0
    jax_inputs = policy_inputs(jnp, contract, jnp.asarray(observation), jnp.asarray(other))
    np.testing.assert_allclose(jax_inputs, policy_inputs(np, contract, observation, other), atol=1e-4)
    request = achieved_request(np, contract, readings)
    for row, wanted in zip(request, pool.goal, strict=False):
        found = [
            reading.error(row[where].tolist(), wanted[where].tolist())
            for reading, where in zip(
                contract.goal.readings(contract), contract.goal.layout(contract).slices.values(), strict=True
            )
        ]
        assert np.isfinite(found).all()


def test_the_way_to_a_planar_goal_is_seen_from_the_base(tmp_path: Path) -> None:
    more, fields, _ = KINDS["planar_position"]
    goal = {"kind": "planar_position"} | fields
    contract = load_task(write_task(tmp_path, readings=[*TASK["readings"], *more], goal=goal)).contract
    readings = {reading.name: np.zeros((1, reading.size), np.float32) for reading in contract.readings}
    half = np.sqrt(0.5)
    for name in ("end_effector_orientation", "base_orientation"):
        readings[name][:] = [half, 0, 0, half]  # faces +y
    ahead = policy_inputs(np, contract, observe(np, contract, readings), np.array([[0.0, 0.3]], np.float32))[0, -2:]
    assert ahead[0] > 0.5
    assert abs(ahead[1]) < 1e-5


def test_the_turn_of_a_planar_pose_is_seen_from_the_base(tmp_path: Path) -> None:
    goal = {"kind": "planar_pose"} | GROUND
    contract = load_task(write_task(tmp_path, readings=[*TASK["readings"], TIP, TURN], goal=goal)).contract
    ways = []
    for yaw in (0.0, 0.7, -2.0):
        readings = {reading.name: np.zeros((1, reading.size), np.float32) for reading in contract.readings}
        readings["end_effector_orientation"][:, 0] = 1
        readings["base_orientation"][:] = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        readings["base_pose"][:] = [0.1, -0.2, yaw]
        x, y = 0.3 * np.cos(yaw), 0.3 * np.sin(yaw)
        wanted = goal_vector(np, contract, np.array([[0.1 + x, -0.2 + y, yaw + 0.5]], np.float32))
        ways.append(policy_inputs(np, contract, observe(np, contract, readings), wanted)[0, -4:])
    np.testing.assert_allclose(ways, [ways[0]] * 3, atol=1e-5)
    assert ways[0][0] > 0.5
    assert ways[0][3] > 0.5


def test_a_base_is_asked_to_face_anywhere_and_to_lean_a_little(tmp_path: Path) -> None:
    more, fields, _ = KINDS["base_pose"]
    goal = {"kind": "base_pose"} | fields
    contract = load_task(write_task(tmp_path, readings=[*TASK["readings"], *more], goal=goal)).contract
    rng = np.random.default_rng(0)
    draws = rng.random((4000, 7)), rng.normal(size=(4000, 7))
    drawn = contract.goal.between(np, contract, *draws, grown=1.0)
    w, x, y, z = drawn[:, 3:].T
    lean = np.degrees(np.arccos(np.clip(1 - 2 * (x * x + y * y), -1, 1)))
    facing = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    assert contract.goal.allows(contract, drawn).all()
    assert lean.max() <= 20.01
    assert lean.max() > 19
    assert np.abs(np.histogram(facing, bins=8, range=(-np.pi, np.pi))[0] - 500).max() < 120
