"""The shipped FR3 model against an independent one, the FR3 that the franky-sim package carries.

Lengths, masses and inertias there are rounded to six digits, which the tolerances below allow for.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from importlib import resources
from pathlib import Path

import mujoco
import numpy as np
import pytest

from sim2real.contract import Contract
from sim2real.tasks.task import Task

ARM = [f"fr3_joint{i}" for i in range(1, 8)]
LINKS = [f"fr3_link{i}" for i in range(1, 8)]
HAND_TO_TCP_M = 0.1034


def assets() -> Path:
    return Path(str(resources.files("franky_sim"))) / "assets"


@pytest.fixture(scope="module")
def reference() -> mujoco.MjModel:
    """Their MJCF without meshes, which only draw: every moving link states its inertia."""
    spec = mujoco.MjSpec.from_file(str(assets() / "fr3.xml"))
    for geom in [geom for geom in spec.geoms if geom.type == mujoco.mjtGeom.mjGEOM_MESH]:
        spec.delete(geom)
    for mesh in list(spec.meshes):
        spec.delete(mesh)
    return spec.compile()


@pytest.fixture(scope="module")
def urdf_limits() -> dict[str, dict[str, float]]:
    """Effort and velocity limits of Franka's own description."""
    root = ElementTree.parse(assets() / "fr3.urdf").getroot()
    limits = {joint.get("name", ""): joint.find("limit") for joint in root.iter("joint")}
    return {name: {k: float(v) for k, v in limit.attrib.items()} for name, limit in limits.items() if limit is not None}


def place(model: mujoco.MjModel, data: mujoco.MjData, q: np.ndarray) -> None:
    """Kinematics of the arm at joint positions `[7]` rad."""
    data.qpos[[model.joint(name).qposadr[0] for name in ARM]] = q
    mujoco.mj_kinematics(model, data)


def inertia(model: mujoco.MjModel, link: str) -> np.ndarray:
    """Inertia about the centre of mass in the link's frame, `[3, 3]` kg m^2."""
    body, matrix = model.body(link), np.zeros(9)
    mujoco.mju_quat2Mat(matrix, body.iquat)
    axes = matrix.reshape(3, 3)
    return np.asarray(axes @ np.diag(body.inertia) @ axes.T)


def test_tool_pose_agrees(pose_task: Task, reference: mujoco.MjModel) -> None:
    """Within 1 mm and 0.1 degrees over 1,000 configurations."""
    rng = np.random.default_rng(0)
    low, high = (np.array([reference.joint(name).range[side] for name in ARM]) for side in (0, 1))
    model, data, reference_data = pose_task.model, mujoco.MjData(pose_task.model), mujoco.MjData(reference)
    ours, theirs = data.site("tool"), reference_data.body("hand")
    for q in rng.uniform(low, high, (1000, 7)):
        place(model, data, q)
        place(reference, reference_data, q)
        axes = theirs.xmat.reshape(3, 3)
        np.testing.assert_allclose(ours.xpos, theirs.xpos + HAND_TO_TCP_M * axes[:, 2], atol=1e-3)
        cosine = (np.trace(ours.xmat.reshape(3, 3).T @ axes) - 1) / 2
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) < 0.1


def test_joint_limits_agree(pose_contract: Contract, reference: mujoco.MjModel) -> None:
    for joint in pose_contract.robot.joints:
        theirs = reference.joint(joint.name).range
        np.testing.assert_allclose([joint.position_min, joint.position_max], theirs, atol=1e-4)


def test_masses_and_inertias_agree(pose_task: Task, reference: mujoco.MjModel) -> None:
    for link in LINKS:
        ours, theirs = pose_task.model.body(link), reference.body(link)
        np.testing.assert_allclose(ours.mass, theirs.mass, rtol=1e-5)
        np.testing.assert_allclose(ours.ipos, theirs.ipos, atol=1e-6)
        expected = inertia(reference, link)
        np.testing.assert_allclose(inertia(pose_task.model, link), expected, atol=1e-5 * np.abs(expected).max())


def test_effort_and_velocity_limits_are_frankas(
    pose_contract: Contract, urdf_limits: dict[str, dict[str, float]]
) -> None:
    for joint in pose_contract.robot.joints:
        assert joint.effort_max == urdf_limits[joint.name]["effort"]
        assert joint.velocity_max == urdf_limits[joint.name]["velocity"]
        assert joint.position_min >= urdf_limits[joint.name]["lower"]
        assert joint.position_max <= urdf_limits[joint.name]["upper"]
    velocities = [joint.velocity_max for joint in pose_contract.robot.joints]
    assert velocities == [2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26]


def at_home(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    return data


def test_home_holds_still(pose_task: Task) -> None:
    model = pose_task.model
    data = at_home(model)
    home = data.qpos.copy()
    for _ in range(round(1 / model.opt.timestep)):
        mujoco.mj_step(model, data)
        assert np.abs(data.qpos - home).max() < 1e-3


@pytest.mark.parametrize("joint", range(7))
def test_servo_step_is_fast_and_settles(pose_task: Task, joint: int) -> None:
    """A step of 0.1 rad: 90 % within 0.2 s, at most 5 % beyond, within 2 % after 0.4 s, at rest after 1 s."""
    model = pose_task.model
    data = at_home(model)
    home = data.qpos.copy()
    data.ctrl[joint] += 0.1
    steps = round(1 / model.opt.timestep)
    moved = np.zeros((steps, 7))
    for step in range(steps):
        mujoco.mj_step(model, data)
        moved[step] = data.qpos[:7] - home[:7]
    own = moved[:, joint] / 0.1
    assert np.argmax(own > 0.9) * model.opt.timestep < 0.2
    assert own.max() < 1.05
    assert np.abs(own[round(0.4 * steps) :] - 1).max() < 0.02
    assert np.abs(np.delete(moved, joint, axis=1)).max() < 0.01
    assert np.abs(data.qvel[:7]).max() < 1e-3
