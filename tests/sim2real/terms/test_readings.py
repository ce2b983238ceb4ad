"""Readings against what MuJoCo itself says, and the same in NumPy and JAX: on a quadruped in random states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from sim2real.errors import ShoalError
from sim2real.tasks.task import Task, load_task
from sim2real.terms import Reading, Simulated, read_term
from sim2real.terms.feature import SeenFrom
from sim2real.terms.scene import Stacked

_STATES = 6
Truth = Callable[[Any, mujoco.MjData], Any]


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("quadruped_walk")


@pytest.fixture(scope="module")
def states(task: Task) -> list[mujoco.MjData]:
    """Somewhere in the air or on the ground, in motion, all dynamics computed."""
    rng, rows = np.random.default_rng(0), []
    for index in range(_STATES):
        data = mujoco.MjData(task.model)
        data.qpos[:], data.qvel[:] = task.home.qpos, rng.normal(size=task.model.nv)
        data.qpos[:3] += [*rng.normal(size=2), 0.5 * (index % 2)]
        data.qpos[3:7] = rng.normal(size=4)
        mujoco.mj_normalizeQuat(task.model, data.qpos)
        if not index % 2:
            data.qpos[3:7] = [1, 0, 0, 0]
            data.qpos[2] -= 0.01
        data.qpos[7:] += rng.uniform(-0.2, 0.2, 12)
        data.ctrl[:] = data.qpos[7:] + rng.uniform(-0.5, 0.5, 12)
        data.time = float(rng.uniform(0, 3))
        mujoco.mj_forward(task.model, data)
        rows.append(data)
    return rows


class _InJax:
    def __init__(self, rows: list[mujoco.MjData]) -> None:
        self._fields = Stacked(rows)

    def __getattr__(self, name: str) -> Any:
        return jnp.asarray(getattr(self._fields, name))


def rotation(data: mujoco.MjData, body: str) -> np.ndarray:
    return np.array(data.body(body).xmat).reshape(3, 3)


def foot_seen(model: Any, data: mujoco.MjData) -> np.ndarray:
    way = data.site("front_left_foot").xpos - data.body("base").xpos
    return np.asarray(rotation(data, "base").T @ way)


def turn_seen(model: Any, data: mujoco.MjData) -> np.ndarray:
    """Columns of the calf's rotation seen from the base."""
    return np.asarray((rotation(data, "base").T @ rotation(data, "front_left_calf"))[:, :2].T.ravel())


def linear_velocity(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    velocity = np.zeros(6)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, model.body("base").id, velocity, 1)
    return velocity[3:]


def yaw(model: Any, data: mujoco.MjData) -> np.ndarray:
    turn = rotation(data, "base")
    return np.array([*data.body("base").xpos[:2], np.arctan2(turn[1, 0], turn[0, 0])])


def phase(model: Any, data: mujoco.MjData) -> list[float]:
    return [np.sin(2 * np.pi * data.time / 0.7), np.cos(2 * np.pi * data.time / 0.7)]


CASES: dict[str, tuple[Any, Truth]] = {
    "position in another frame": (
        {"kind": "position", "of": "front_left_foot", "frame": "base", "source": "simulation"},
        foot_seen,
    ),
    "orientation in another frame": (
        {"kind": "orientation", "of": "front_left_calf", "frame": "base", "source": "simulation"},
        turn_seen,
    ),
    "planar_pose": ({"kind": "planar_pose", "of": "base", "source": "odometry"}, yaw),
    "height": ({"kind": "height", "of": "base"}, lambda model, data: [data.body("base").xpos[2]]),
    "joint_effort": ("joint_effort", lambda model, data: data.actuator_force),
    "joint_command": ("joint_command", lambda model, data: data.qpos[7:]),
    "touch": (
        {"kind": "sensor", "sensor": "front_left_contact", "source": "contact_switch"},
        lambda model, data: data.sensor("front_left_contact").data,
    ),
    "accelerometer": (
        {"kind": "sensor", "sensor": "accelerometer", "source": "imu"},
        lambda model, data: data.sensor("accelerometer").data,
    ),
    "projected_gravity": (
        {"kind": "projected_gravity", "of": "imu"},
        lambda model, data: rotation(data, "base").T @ [0, 0, -1],
    ),
    "base_angular_velocity": (
        {"kind": "base_angular_velocity", "body": "base"},
        lambda model, data: data.sensor("gyro").data,
    ),
    "base_linear_velocity": ({"kind": "base_linear_velocity", "body": "base"}, linear_velocity),
    "phase_clock": ({"kind": "phase_clock", "period_s": 0.7}, phase),
}


@pytest.mark.parametrize("case", CASES)
def test_readings_are_what_mujoco_says_in_numpy_and_jax(case: str, task: Task, states: list[mujoco.MjData]) -> None:
    written, truth = CASES[case]
    reading: Reading = read_term(Reading, written).completed(task.scene)  # type: ignore[type-abstract]
    expected = np.array([truth(task.model, data) for data in states], np.float32)
    sim = task.scene.simulated(states)
    theirs = Simulated(task.scene, _InJax(states), jnp.asarray(sim.target))
    for xp, value in ((np, sim.value(np, reading)), (jnp, theirs.value(jnp, reading))):
        assert value.shape == (_STATES, reading.size)
        found = reading.encode(xp, value) if "orientation" in case else value
        np.testing.assert_allclose(found, expected, atol=2e-3 if "acc" in case else 2e-4, rtol=1e-4, err_msg=case)
    assert np.ptp(expected, axis=0).max() > 1e-3, "a reading that never changes would prove nothing"


def test_feet_that_stand_are_felt(task: Task, states: list[mujoco.MjData]) -> None:
    felt = np.array([data.sensor("front_left_contact").data[0] > 0 for data in states])
    assert felt.any()
    assert not felt.all()


def test_a_sensor_that_the_model_lacks_is_refused(task: Task) -> None:
    reading: Reading = read_term(Reading, {"kind": "sensor", "sensor": "gryo"})  # type: ignore[type-abstract]
    with pytest.raises(
        ShoalError, match=r"sensor: the MJCF has no sensor 'gryo' \(did you mean 'gyro'\?\); it has \['gyro'"
    ):
        reading.completed(task.scene)


def test_a_place_is_seen_from_a_pose_in_numpy_and_jax(task: Task, states: list[mujoco.MjData]) -> None:
    feature = SeenFrom(of="foot", position="place", orientation="turn", gain=2.0)
    readings = {
        "foot": np.array([data.site("front_left_foot").xpos for data in states], np.float32),
        "place": np.array([data.body("base").xpos for data in states], np.float32),
        "turn": 1.7 * np.array([data.body("base").xquat for data in states], np.float32),
    }
    expected = [foot_seen(None, data) for data in states]
    np.testing.assert_allclose(feature.observed(np, readings), expected, atol=1e-5)
    in_jax = {name: jnp.asarray(value) for name, value in readings.items()}
    np.testing.assert_allclose(feature.observed(jnp, in_jax), expected, atol=1e-5)
    assert feature.needs == ("foot", "place", "turn")
    np.testing.assert_allclose(feature.scaling(task.contract)[1], 2.0 / task.contract.workspace[1])
