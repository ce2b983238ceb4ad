"""Robots of the tasks that ship, against published numbers and each other."""

from __future__ import annotations

import mujoco
import numpy as np

from sim2real.tasks.task import load_task


def test_the_flange_of_the_gripper_arm_is_where_the_published_dh_parameters_put_it() -> None:
    """UR5e: universal-robots.com, "DH parameters for calculations of kinematics and dynamics"."""
    model = load_task("gripper_pick").model
    rows = [
        (0.0, 0.1625, np.pi / 2),
        (-0.425, 0.0, 0.0),
        (-0.3922, 0.0, 0.0),
        (0.0, 0.1333, np.pi / 2),
        (0.0, 0.0997, -np.pi / 2),
        (0.0, 0.0996, 0.0),
    ]
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(10):
        angles, expected = rng.uniform(-3, 3, 6), np.eye(4)
        for angle, (a, d, alpha) in zip(angles, rows, strict=True):
            c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
            expected = expected @ np.array(
                [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]
            )
        data.qpos[:6] = angles
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(data.body("wrist_3").xpos, expected[:3, 3], atol=1e-6)
        np.testing.assert_allclose(data.body("wrist_3").xmat.reshape(3, 3), expected[:3, :3], atol=1e-6)
    masses = [float(model.body(name).mass[0]) for name in ("shoulder", "upper_arm", "forearm", "wrist_1", "wrist_2")]
    assert masses == [3.761, 8.058, 2.846, 1.37, 1.3]


def test_two_arms_are_twice_the_one_arm() -> None:
    one, two = load_task("franka_reach"), load_task("two_arms")
    single = [joint.model_dump(exclude={"name", "home_position"}) for joint in one.contract.robot.joints]
    both = [joint.model_dump(exclude={"name", "home_position"}) for joint in two.contract.robot.joints]
    assert both == single + single
    data, joints = [mujoco.MjData(task.model) for task in (one, two)], np.array([0.3, -0.7, 0.2, -2.0, 0.1, 1.6, 0.5])
    data[0].qpos[:7], data[1].qpos[:] = joints, np.tile(joints, 2)
    for task, state in zip((one, two), data, strict=True):
        mujoco.mj_kinematics(task.model, state)
    tool = data[0].site("tool").xpos
    np.testing.assert_allclose(data[1].site("left/tool").xpos, tool + np.array([0, 0.35, 0]), atol=1e-9)
    np.testing.assert_allclose(data[1].site("right/tool").xpos, tool - np.array([0, 0.35, 0]), atol=1e-9)
