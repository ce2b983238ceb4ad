"""The conformance check passes what works, and names each fault that was put in on purpose."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import DriverOptions
from runtime.drivers.conformance import assert_conforms, check
from runtime.drivers.mujoco import MujocoDriver
from runtime.drivers.template import FirstOrderServo
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.robot.readings import Float64, Readings
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError

ROOT = Path(__file__).parents[3]


class Driver(MujocoDriver):
    """The MuJoCo driver with a fault in `read` or `write`."""

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract, DriverOptions(speed=0))
        self.after_read: Callable[[Readings], None] = lambda out: None
        self.before_write: Callable[[Float64], Float64] = lambda command: command

    def read(self, out: Readings) -> None:
        super().read(out)
        self.after_read(out)

    def write(self, command: Float64) -> None:
        super().write(self.before_write(command))


def problems(driver: Driver, contract: Contract) -> str:
    return "\n".join(f"{finding.promise}: {finding.problem}" for finding in check(driver, contract) if finding.problem)


def test_mujoco_conforms(contract: Contract) -> None:
    findings = check(MujocoDriver(contract, DriverOptions(speed=0)), contract)
    assert [finding for finding in findings if not finding.kept] == []
    moved = [finding.promise for finding in findings if "moves alone" in finding.promise]
    assert len(moved) == len(contract.joint_names)


class SteppedServo(FirstOrderServo):
    """The template on a clock that advances with every reading, so that a busy machine changes nothing."""

    clock_s = 0.0

    def read(self, out: Readings) -> None:
        self.clock_s += 0.9 * self.period_s
        super().read(out)

    def now_s(self) -> float:
        return self.clock_s


def test_template_conforms_and_ends_where_it_began(contract: Contract) -> None:
    driver = SteppedServo(contract, DriverOptions())
    driver.owns_clock = True
    assert_conforms(driver, contract, move_rad=0.02)
    readings = Readings.of(contract)
    driver.read(readings)
    home = [joint.home_position for joint in contract.robot.joints]
    # Servos lag, so the last of the check's moves are not quite over.
    np.testing.assert_allclose(readings.joint_position, home, atol=1e-3)


def test_a_shipped_policy_comes_to_rest_on_the_templates_servos() -> None:
    policy = Policy(ROOT / "models" / "franka_pose.onnx")
    driver, controller = SteppedServo(policy.contract, DriverOptions()), PolicyController(policy)
    goal = validate_goal(policy.contract, GoalPose(position=(0.5, 0.15, 0.4)), 0.0)
    controller.set_goal(goal, number=1, now_s=0.0)
    readings, command, distances_m = Readings.of(policy.contract), np.zeros(len(policy.contract.joint_names)), []
    for _ in range(100):
        driver.read(readings)
        if controller.step(readings, driver.now_s(), command):
            driver.write(command)
        distances_m.append(controller.status().distance_m)
    assert max(distances_m[50:]) < 0.01


@pytest.mark.slow
def test_franka_conforms_over_libfrankas_protocol(contract: Contract) -> None:
    from runtime.drivers.franka import FrankaDriver
    from tests.runtime.drivers.test_franka import Server

    server = Server()
    try:
        driver = FrankaDriver(contract, DriverOptions(host=server.host))
        assert_conforms(driver, contract)
        driver.close()
    finally:
        server.kill()


def degrees(out: Readings) -> None:
    out.joint_position[:] = np.rad2deg(out.joint_position)


def swap_joints(out: Readings) -> None:
    out.joint_position[[0, 2]] = out.joint_position[[2, 0]]
    out.joint_position[0] += 0.3


def xyzw(out: Readings) -> None:
    out.end_effector_orientation[:] = out.end_effector_orientation[[1, 2, 3, 0]]


def replace(out: Readings) -> None:
    out.joint_velocity = out.joint_velocity.copy()


def frozen_clock(out: Readings) -> None:
    out.time_s = 0.0


def other_clock(out: Readings) -> None:
    out.time_s += 1e6


def not_finite(out: Readings) -> None:
    out.end_effector_position[1] = np.nan


def long_quaternion(out: Readings) -> None:
    out.end_effector_orientation *= 2


def backward_velocity(out: Readings) -> None:
    out.joint_velocity *= -1


def ticks_of_an_encoder(out: Readings) -> None:
    out.joint_velocity[1] = 4096.0


def millimetres(out: Readings) -> None:
    out.end_effector_position *= 1e3


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (degrees, r"is at -?\d+.*is it in degrees"),
        (swap_joints, "check the joints' order and signs"),
        (xyzw, "that the quaternion is wxyz"),
        (replace, r"write out\.joint_velocity\[:\]"),
        (frozen_clock, "time_s moves on: it stayed at 0 s"),
        (other_clock, r"now_s\(\) - time_s is -1e\+06"),
        (not_finite, "end_effector_position was not filled in"),
        (long_quaternion, "length of end_effector_orientation is 2"),
        (backward_velocity, "while joint_velocity said"),
        (ticks_of_an_encoder, "a server would take the readings: a reading is far outside of what is possible"),
        (millimetres, "a server would take the readings: a reading is far outside of what is possible"),
    ],
)
def test_fault_in_read_is_named(contract: Contract, fault: Callable[[Readings], None], sentence: str) -> None:
    driver = Driver(contract)
    driver.after_read = fault
    assert re.search(sentence, problems(driver, contract))


def test_commands_to_the_wrong_joint_are_named(contract: Contract) -> None:
    driver, names = Driver(contract), contract.joint_names
    home = np.array([joint.home_position for joint in contract.robot.joints])
    driver.before_write = lambda command: home + (command - home)[[1, 0, 2, 3, 4, 5, 6]]
    assert f"{names[0]} moves alone, as told, and back: {names[1]} moved by 0.05" in problems(driver, contract)


def test_backward_command_is_named(contract: Contract) -> None:
    driver = Driver(contract)
    home = np.array([joint.home_position for joint in contract.robot.joints])
    driver.before_write = lambda command: 2 * home - command
    assert "check sign and unit" in problems(driver, contract)


def test_command_kept_by_reference_is_named(contract: Contract) -> None:
    class Keeping(Driver):
        def write(self, command: Float64) -> None:
            self._target = command

    assert "that write copies its argument" in problems(Keeping(contract), contract)


def test_other_joints_are_named(contract: Contract) -> None:
    driver = Driver(contract)
    driver.joint_names = (*contract.joint_names[:-1], "wrist")
    assert "'wrist'" in problems(driver, contract)
    with pytest.raises(AssertionError, match="'wrist'"):
        assert_conforms(driver, contract)


def test_blocking_read_is_named(contract: Contract) -> None:
    driver = Driver(contract)
    driver.owns_clock = False
    driver.period_s = 0.002
    driver.after_read = lambda out: time.sleep(0.003)
    driver._pace.due_periods = lambda: 1  # type: ignore[method-assign]
    findings = check(driver, contract, move_rad=0)
    assert "set owns_clock" in findings[-1].problem
    assert not [finding for finding in findings if "moves alone" in finding.promise]


def test_too_large_a_motion_is_refused(contract: Contract) -> None:
    with pytest.raises(ShoalError, match="move_rad"):
        check(Driver(contract), contract, move_rad=1.0)


def test_template_refuses_another_robot(contract: Contract, tmp_path: Path) -> None:
    from tests.runtime.drivers.test_mujoco import edited_mjcf

    path = edited_mjcf(tmp_path, contract, 'mass="0.6544"', 'mass="0.7544"')
    with pytest.raises(ContractMismatch, match="body_mass"):
        FirstOrderServo(contract, DriverOptions(mjcf=path))
