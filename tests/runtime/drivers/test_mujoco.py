from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.robot.model import shipped_mjcf
from runtime.robot.readings import Readings
from sim2real.backends.native import NativeEnvironment
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.tasks.task import Task

FAST = DriverOptions(speed=0)


def edited_mjcf(tmp_path: Path, contract: Contract, old: str, new: str) -> Path:
    text = shipped_mjcf(contract.robot.name).read_text()
    assert old in text
    path = tmp_path / "edited.xml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_advances_as_training_does(task: Task, contract: Contract) -> None:
    environment = NativeEnvironment(task, num_envs=1, seed=0, threads=1)
    driver = MujocoDriver(contract, FAST)
    home = np.array([[joint.home_position for joint in contract.robot.joints]], np.float32)
    driver.data.qpos[:7] = home[0]
    driver._target[:] = driver._previous[:] = home[0]
    environment.place(np.array([0]), task.scene.home[None], np.zeros((1, 7)))
    readings = Readings.of(contract)
    driver.read(readings)
    target = home[0].astype(np.float64)
    for step in range(10):
        target = (target + 0.5 * np.array(contract.action.step_max) * (-1) ** step).astype(np.float32)
        driver.write(target.astype(np.float64))
        driver.read(readings)
        environment.advance(target[None])
        wanted = environment.readings()
        for name in ("joint_position", "joint_velocity", "end_effector_position"):
            np.testing.assert_allclose(getattr(readings, name), wanted[name][0], atol=1e-5)
        dot = abs(np.dot(readings.end_effector_orientation, wanted["end_effector_orientation"][0]))
        assert dot == pytest.approx(1, abs=1e-6)
    assert driver.now_s() == pytest.approx(10 * contract.timing.control_dt_s)


def test_goal_marker_moves(contract: Contract) -> None:
    driver = MujocoDriver(contract, FAST)
    driver.show_goal(validate_goal(contract, GoalPose(position=(0.5, 0.2, 0.3)), 0.0))
    mujoco.mj_kinematics(driver.model, driver.data)
    np.testing.assert_allclose(driver.data.body("goal").xpos, (0.5, 0.2, 0.3))


def test_other_gain_is_named_with_both_values(tmp_path: Path, contract: Contract) -> None:
    path = edited_mjcf(tmp_path, contract, 'kp="3000" kv="160"', 'kp="2999" kv="160"')
    with pytest.raises(ContractMismatch, match=r"robot\.mjcf_sha256: .*3000\.0 in the policy, 2999\.0 in the model"):
        MujocoDriver(contract, DriverOptions(mjcf=path))


def test_other_mass_is_named_with_both_values(tmp_path: Path, contract: Contract) -> None:
    path = edited_mjcf(tmp_path, contract, 'mass="0.6544"', 'mass="0.7544"')
    with pytest.raises(ContractMismatch, match=r"body_mass\[\d+\]: 0\.6544 in the policy, 0\.7544 in the model"):
        MujocoDriver(contract, DriverOptions(mjcf=path))


def test_same_mjcf_elsewhere_is_accepted(tmp_path: Path, contract: Contract) -> None:
    path = edited_mjcf(tmp_path, contract, 'model="franka_fr3"', 'model="my_arm"')
    assert "edited.xml" in MujocoDriver(contract, DriverOptions(mjcf=path)).description


def test_unknown_robot_and_speed(contract: Contract) -> None:
    with pytest.raises(ShoalError, match="no MJCF ships for 'r2d2'"):
        shipped_mjcf("r2d2")
    with pytest.raises(ShoalError, match="--speed"):
        MujocoDriver(contract, DriverOptions(speed=-1))
