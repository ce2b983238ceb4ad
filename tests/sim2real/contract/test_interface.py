"""Observation, goal and command: one code for NumPy and JAX, against independent computations."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim2real.contract import Contract, interface
from sim2real.rotations import rotation_columns
from sim2real.terms.actions import JointPositionIncrement
from tests.sim2real.strategies import contracts

BATCH = 64


@pytest.fixture(params=["pose_contract", "reach_contract", "push_contract"])
def contract(request: pytest.FixtureRequest) -> Contract:
    """Both goal spaces, and goals of an object."""
    found: Contract = request.getfixturevalue(request.param)
    return found


def unit_quaternions(rng: np.random.Generator, count: int) -> np.ndarray:
    quaternion = rng.normal(size=(count, 4))
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    return quaternion


def random_readings(contract: Contract, seed: int) -> dict[str, np.ndarray]:
    """Readings over the full limits, float32 as the robot sends them."""
    rng = np.random.default_rng(seed)
    joints = contract.robot.joints
    low = np.array([joint.position_min for joint in joints])
    high = np.array([joint.position_max for joint in joints])
    fastest = np.array([joint.velocity_max for joint in joints])
    position = rng.uniform(low, high, (BATCH, len(joints)))
    values = {
        "joint_position": position,
        "joint_velocity": rng.uniform(-fastest, fastest, position.shape),
        "joint_position_target": np.clip(position + rng.normal(0, 0.05, position.shape), low, high),
        "end_effector_position": rng.uniform(-0.8, 0.8, (BATCH, 3)),
        "end_effector_orientation": unit_quaternions(rng, BATCH),
    }
    if contract.tracked is not None:
        values["object_position"] = rng.uniform(-0.8, 0.8, (BATCH, 3))
    return {name: value.astype(np.float32) for name, value in values.items()}


def rotation(quaternion_wxyz: np.ndarray) -> np.ndarray:
    """MuJoCo's rotation matrix of one quaternion."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quaternion_wxyz / np.linalg.norm(quaternion_wxyz))
    return matrix.reshape(3, 3)


def test_numpy_and_jax_agree(contract: Contract) -> None:
    import jax.numpy as jnp

    readings = random_readings(contract, seed=1)
    action = np.random.default_rng(2).uniform(-1.5, 1.5, (BATCH, len(contract.robot.joints))).astype(np.float32)

    def everything(xp: Any) -> list[Any]:
        observation = interface.observe(xp, contract, {name: xp.asarray(value) for name, value in readings.items()})
        request = interface.achieved_request(xp, contract, readings)
        goal = interface.goal_vector(xp, contract, xp.asarray(request))
        return [
            observation,
            goal,
            interface.goal_features(contract, goal),
            interface.policy_inputs(xp, contract, observation, goal),
            interface.command(xp, contract, xp.asarray(action), readings),
            rotation_columns(xp.asarray(readings["end_effector_orientation"])),
        ]

    for ours, theirs in zip(everything(np), everything(jnp), strict=True):
        np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-6, atol=1e-6)


def test_sizes(contract: Contract) -> None:
    readings = random_readings(contract, seed=3)
    observation = interface.observe(np, contract, readings)
    goal = interface.goal_vector(np, contract, interface.achieved_request(np, contract, readings))
    features = interface.policy_inputs(np, contract, observation, goal)
    assert observation.shape == (BATCH, interface.observation_size(contract))
    assert goal.shape == (BATCH, interface.goal_size(contract))
    assert features.shape == (BATCH, interface.observation_size(contract) + 2 * interface.goal_size(contract))


def test_observation_has_the_stated_scale(pose_contract: Contract) -> None:
    joints = pose_contract.robot.joints
    readings = random_readings(pose_contract, seed=4)
    readings["joint_position"][0] = [joint.position_max for joint in joints]
    readings["joint_position"][1] = [joint.position_min for joint in joints]
    readings["joint_velocity"][0] = [joint.velocity_max for joint in joints]
    readings["joint_position_target"][0] = readings["joint_position"][0] + np.array(pose_contract.action.step_max)
    observation = interface.observe(np, pose_contract, readings)
    np.testing.assert_allclose(observation[0, :7], 1, atol=1e-5)
    np.testing.assert_allclose(observation[1, :7], -1, atol=1e-5)
    np.testing.assert_allclose(observation[0, 7:14], 1, atol=1e-5)
    np.testing.assert_allclose(observation[0, 14:21], 0.5, atol=1e-4)
    np.testing.assert_allclose(
        observation[2, 24:27], rotation(readings["end_effector_orientation"][2])[:, 0], atol=1e-6
    )


def test_the_difference_to_the_goal_vanishes_at_the_goal(contract: Contract) -> None:
    readings = random_readings(contract, seed=5)
    observation = interface.observe(np, contract, readings)
    goal = interface.achieved(np, contract, readings)
    size = interface.goal_size(contract)
    np.testing.assert_allclose(interface.policy_inputs(np, contract, observation, goal)[:, -size:], 0, atol=2e-5)


@given(st.tuples(*[st.floats(-1, 1)] * 4), st.floats(0.1, 10))
def test_rotation_columns_are_mujocos(direction: tuple[float, ...], length: float) -> None:
    quaternion = np.array(direction)
    if np.linalg.norm(quaternion) < 0.1:
        quaternion = quaternion + np.array([1.0, 0, 0, 0])
    quaternion *= length / np.linalg.norm(quaternion)
    columns = rotation_columns(quaternion)
    np.testing.assert_allclose(columns.reshape(2, 3).T, rotation(quaternion)[:, :2], atol=1e-6)
    np.testing.assert_allclose(rotation_columns(-quaternion), columns, atol=1e-12)


def test_goal_errors_against_quaternions(pose_contract: Contract) -> None:
    rng = np.random.default_rng(6)
    first, second = unit_quaternions(rng, BATCH), unit_quaternions(rng, BATCH)
    second[0], second[1] = first[0], -first[1]
    here, there = rng.normal(size=(2, BATCH, 3))
    achieved, goal = (
        interface.goal_vector(np, pose_contract, np.concatenate(pose, axis=1))
        for pose in ((here, first), (there, second))
    )
    distance, angle = interface.goal_errors(pose_contract, achieved, goal)
    np.testing.assert_allclose(distance, np.sqrt(((here - there) ** 2).sum(-1)))
    direct = 2 * np.degrees(np.arccos(np.clip(np.abs((first * second).sum(-1)), 0, 1)))
    np.testing.assert_allclose(angle, direct, atol=1e-3)


def test_position_goals_have_no_angle(reach_contract: Contract) -> None:
    distance, angle = interface.goal_errors(reach_contract, np.zeros((5, 3)), np.full((5, 3), 0.1))
    np.testing.assert_allclose(distance, 0.1 * np.sqrt(3))
    assert not angle.any()


@st.composite
def commanded(draw: st.DrawFn) -> tuple[Contract, np.ndarray, np.ndarray, np.ndarray]:
    """A contract, an action of any size, a previous target within the limits, any measured position."""
    contract = draw(contracts())
    joints = contract.robot.joints
    action = draw(st.tuples(*[st.floats(allow_nan=False, width=32) for _ in joints]))
    previous = [draw(st.floats(joint.position_min, joint.position_max)) for joint in joints]
    position = draw(st.tuples(*[st.floats(-20, 20) for _ in joints]))
    return contract, np.array(action), np.array(previous), np.array(position)


@given(commanded())
def test_commands_keep_every_limit(case: tuple[Contract, np.ndarray, np.ndarray, np.ndarray]) -> None:
    contract, action, previous, position = case
    readings = {"joint_position_target": previous, "joint_position": position}
    target = interface.command(np, contract, action, readings)
    # Limits are float32 in the exported graph, so they hold to its precision at the size of the numbers.
    slack = 4 * np.finfo(np.float32).eps * 20
    low = np.array([joint.position_min for joint in contract.robot.joints])
    high = np.array([joint.position_max for joint in contract.robot.joints])
    scale = np.array(contract.action.step_max) * (1 + 1e-6)
    assert np.all(target >= low - slack)
    assert np.all(target <= high + slack)
    assert np.all(np.abs(target - previous) <= scale + slack)
    if isinstance(contract.action, JointPositionIncrement):
        near = np.abs(previous - position) <= contract.action.window
        assert np.all(np.abs(target - position)[near] <= contract.action.window * (1 + 1e-6) + slack)


def test_a_full_action_moves_by_exactly_the_scale(pose_contract: Contract) -> None:
    home = np.array([joint.home_position for joint in pose_contract.robot.joints])
    readings = {"joint_position_target": home, "joint_position": home}
    moved = interface.command(np, pose_contract, np.ones(7), readings) - home
    np.testing.assert_allclose(moved, pose_contract.action.step_max, rtol=1e-6)
    np.testing.assert_allclose(interface.command(np, pose_contract, np.zeros(7), readings), home, rtol=1e-7)


def test_a_blocked_arm_does_not_wind_up(pose_contract: Contract) -> None:
    home = np.array([joint.home_position for joint in pose_contract.robot.joints])
    target = home
    for _ in range(50):
        target = interface.command(
            np, pose_contract, np.ones(7), {"joint_position_target": target, "joint_position": home}
        )
    np.testing.assert_allclose(target - home, pose_contract.action.window, rtol=1e-5)
