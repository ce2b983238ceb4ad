"""Commands reach the joints that they name, whatever else is driven in the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.robot.mujoco_robot import MujocoRobot
from sim2real.backends.native import NativeEnvironment
from sim2real.identification.parameters import make_problem
from sim2real.logs.log import Log
from sim2real.logs.openloop import simulate
from sim2real.randomisation.config import Randomisation
from sim2real.randomised_robots.dynamics import make_dynamics
from sim2real.randomised_robots.sampling import sample
from sim2real.robots.actuation import joint_actuators
from sim2real.robots.kinematics import Addresses
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import MJCF, write_task

FINGER = """
<body name="{side}" pos="0.2 0 0">
  <joint name="finger_{side}" type="slide" axis="0 {sign} 0" range="0 0.04" damping="1"/>
  <geom type="box" size="0.01 0.005 0.01" mass="0.01" contype="0" conaffinity="0"/>
</body>
"""
COUPLING = """
<equality><joint joint1="finger_left" joint2="finger_right"/></equality>
<tendon>
  <fixed name="split"><joint joint="finger_left" coef="0.5"/><joint joint="finger_right" coef="0.5"/></fixed>
</tendon>
<actuator>
"""
HAND = '<position name="hand" tendon="split" kp="100" ctrlrange="0 0.04" forcerange="-20 20"/></actuator>'
GRIPPER = (
    MJCF.replace("<site", FINGER.format(side="left", sign=1) + FINGER.format(side="right", sign=-1) + "<site")
    .replace("<actuator>", COUPLING)
    .replace("</actuator>", HAND)
    .replace('qpos="0.2 0.5" ctrl="0.2 0.5"', 'qpos="0.2 0.5 0 0" ctrl="0.2 0.5 0"')
)
"""Two hinges, two finger slides, an equality, a fixed tendon of id 0, its actuator listed last."""


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return load_task(write_task(tmp_path, mjcf=GRIPPER))


def test_a_tendon_does_not_take_the_place_of_the_joint_of_its_id(task: Task) -> None:
    model = task.model
    assert model.actuator_trnid[:, 0].tolist() == [0, 1, 0]
    assert [joint_actuators(model, joint) for joint in range(4)] == [[0], [1], [], []]
    assert Addresses.of(model, task.contract.robot).actuator.tolist() == [0, 1]
    assert MujocoRobot(model, task.contract).addresses.actuator.tolist() == [0, 1]


def test_training_moves_the_commanded_joint(task: Task) -> None:
    environment = NativeEnvironment(task, num_envs=1, seed=0)
    start = environment.readings()["joint_position"].copy()
    target = start + np.float32([[0.1, 0.0]])
    for _ in range(50):
        environment.advance(target)
    np.testing.assert_allclose(environment.readings()["joint_position"], target, atol=0.01)


def test_open_loop_moves_the_commanded_joint(task: Task) -> None:
    time_s, home = np.arange(50) * task.contract.timing.control_dt_s, np.tile([0.2, 0.5], (50, 1))
    command = home + [0.1, 0.0] * (time_s > 0.1)[:, None]
    log = Log(task.contract, "test", time_s, time_s, home, np.zeros((50, 2)), command)
    simulated = simulate([task.model], log)
    np.testing.assert_allclose(simulated.joint_position[0, -1], command[-1], atol=0.01)


def test_analysis_and_randomisation_change_the_servo_of_the_joint(task: Task) -> None:
    problem = make_problem(str(task.mjcf_path), task.contract, ["servo_stiffness"])
    (fitted,) = problem.models(np.ones((2, 1)))
    stiff = fitted.actuator_gainprm[:, 0] / task.model.actuator_gainprm[:, 0]
    assert (stiff[:2] > 1).all()
    assert stiff[2] == 1
    draws = sample(
        Randomisation.model_validate({"servo_stiffness_scale": {"uniform": [0.5, 0.6]}}), task, count=4, seed=0
    )
    scaled = make_dynamics(task, draws).fields["actuator_gainprm"][:, :, 0] / task.model.actuator_gainprm[:, 0]
    assert (scaled[:, :2] < 0.7).all()
    assert (scaled[:, 2] == 1).all()
