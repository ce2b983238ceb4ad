from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from sim2real.errors import ShoalError
from sim2real.robots.kinematics import Addresses, ToolChain
from sim2real.rotations import rotation_vector_quaternion
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import MJCF, write_task

CROOKED = (
    MJCF.replace('axis="0 0 1"', 'axis="0.3 -0.5 0.8" pos="0.02 -0.03 0.01" ref="0.4"')
    .replace('<body name="lower" pos="0.3 0 0">', '<body pos="0.1 0.2 0" euler="0.3 0.1 -0.4"><body name="lower">')
    .replace('<site name="tool" pos="0.2 0 0"/>', '<site name="tool" pos="0.2 0.1 0" euler="1 2 3"/></body>')
)
"""Joints off their links' origins, tilted axes, zeros elsewhere, a welded body in between, a turned tool."""


def _tasks(folder: Path) -> list[Task]:
    reversed_order = {"robot__joints": ["elbow", "shoulder"], "robot__velocity_max": [4.0, 3.0]}
    crooked = write_task(folder, mjcf=CROOKED, robot__home_keyframe="home", **reversed_order)
    return [load_task("franka_pose"), load_task(crooked)]


def test_the_tool_is_where_mujoco_says(tmp_path: Path) -> None:
    for task in _tasks(tmp_path):
        chain, addresses = ToolChain.of(task.model, task.contract.robot), Addresses.of(task.model, task.contract.robot)
        data = mujoco.MjData(task.model)
        joints = np.random.default_rng(0).uniform(-3, 3, (20, len(addresses.qpos))).astype(np.float32)
        place, turn = chain.pose(np, joints)
        for index, position in enumerate(joints):
            data.qpos[addresses.qpos] = position
            mujoco.mj_kinematics(task.model, data)
            np.testing.assert_allclose(place[index], data.site_xpos[addresses.site], atol=1e-6)
            assert abs(turn[index] @ task.scene.simulated([data]).orientation(np, "tool")[0]) == pytest.approx(
                1.0, abs=1e-6
            )
        for ours, theirs in zip((place, turn), chain.pose(jnp, jnp.asarray(joints)), strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_joint_without_a_reading_is_named(tmp_path: Path) -> None:
    one: dict[str, Any] = {
        "robot__joints": ["elbow"],
        "robot__velocity_max": [4.0],
        "resets__0__half_range": [1.0],
    }
    tool = dict.fromkeys(("end_effector_position", "end_effector_orientation"), "motion capture")
    task = load_task(write_task(tmp_path, **one, estimators=tool))
    with pytest.raises(ShoalError, match="joint 'shoulder' lies between the base and the tool"):
        ToolChain.of(task.model, task.contract.robot)


@pytest.mark.parametrize("vector", [[0.0, 0.0, 0.0], [1e-7, 0.0, 0.0], [0.3, -1.2, 0.5]])
def test_rotation_vectors_become_quaternions(vector: list[float]) -> None:
    expected = np.zeros(4)
    angle = float(np.linalg.norm(vector))
    mujoco.mju_axisAngle2Quat(expected, np.array(vector) / (angle or 1.0), angle)
    np.testing.assert_allclose(rotation_vector_quaternion(np, np.array(vector)), expected, atol=1e-12)
