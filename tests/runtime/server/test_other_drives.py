"""Policies of drives that are told velocities or efforts, by the programs themselves: goal, telemetry, emergency stop,
recording, replay.
"""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest

from runtime.control.mujoco_controller import Controller
from runtime.drivers.base import DriverOptions, open_driver
from runtime.drivers.direct import Direct
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import GoalPose
from runtime.inference.policy import Policy
from runtime.protocol.messages import TelemetryReply
from runtime.recording.replay import replay
from runtime.robot.readings import Readings
from sim2real.errors import ShoalError
from sim2real.logs.recording import read_recording
from tests.runtime.any_policy import write_any_policy
from tests.runtime.effort_arm import effort_task
from tests.runtime.page.browsers import wait_until
from tests.runtime.server.test_server import Server
from tests.runtime.velocity_arm import velocity_task


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_any_policy(tmp_path / "wheels.onnx", velocity_task(tmp_path).contract)


@pytest.fixture
def motors(tmp_path: Path) -> Path:
    return write_any_policy(tmp_path / "motors.onnx", effort_task(tmp_path).contract)


def served_and_replayed(policy: Path, folder: Path, *, at_rest: float) -> tuple[TelemetryReply, np.ndarray, str]:
    """Serve an arm towards a goal, bring it to rest by an emergency stop and replay the recording to the bit; what was
    seen on the way, the commands `[T, 2]`, and what the server printed.
    """
    record, mjcf = folder / "run.mcap", folder / "arm.xml"
    with Server(policy, folder, "--mjcf", str(mjcf), "--record", str(record), "--speed", "2", "--quiet") as server:
        with server.client() as client:
            client.send_goal(GoalPose(position=(0.3, 0.2, 0.1)))
            wait_until(lambda: client.status().ticks > 60, "a stretch long enough")
            wait_until(lambda: max(map(abs, client.telemetry().joint_command), default=0) > 0.01, "a command")
            seen = client.telemetry()
            client.estop()
            wait_until(lambda: client.telemetry().joint_command == (0.0, 0.0), "a command of nothing")
            wait_until(lambda: max(map(abs, client.telemetry().joint_velocity)) < at_rest, "rest")
            client.stop()
        output = server.output()
        assert server.process.returncode == 0, output
    ticks = read_recording(record).ticks
    result = replay(record, policy, mjcf)
    assert (result.compared, result.different) == (len(ticks), 0)
    return seen, np.array([tick["command"] for tick in ticks if tick["commanding"]]), output


def test_velocities_are_served_recorded_and_replayed_to_the_bit(policy: Path, tmp_path: Path) -> None:
    seen, told, _ = served_and_replayed(policy, tmp_path, at_rest=1e-3)
    assert len(seen.joint_command) == 2
    assert seen.joint_position_target == ()
    assert 0.01 < np.abs(told).max() <= 4.0
    assert (told[-1] == 0).all()


def test_a_goal_s_speed_bounds_the_velocities(policy: Path, tmp_path: Path) -> None:
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "arm.xml"))
    fastest = {}
    for speed in (1.0, 0.001):
        data, controller = mujoco.MjData(model), Controller(policy)
        controller.set_goal(GoalPose(position=(0.3, 0.2, 0.1), speed=speed))
        told = []
        for _ in range(1000):
            data.ctrl[:] = controller.step(data)
            told.append(np.abs(data.ctrl).copy())
            mujoco.mj_step(model, data)
        fastest[speed] = np.max(told, axis=0)
    assert (fastest[0.001] <= [0.003 + 1e-6, 0.004 + 1e-6]).all()
    assert (fastest[1.0] > [0.003, 0.004]).all()


def test_a_joint_comes_to_rest_where_no_command_comes_any_more(policy: Path, tmp_path: Path) -> None:
    contract = Policy(policy).contract
    driver = MujocoDriver(contract, DriverOptions(mjcf=tmp_path / "arm.xml", speed=0))
    readings = Readings.of(contract)
    driver.read(readings)
    assert (driver.data.ctrl == 0).all()
    driver.write(np.array([1.0, 0.0]))
    speeds = []
    for _ in range(40):
        driver.read(readings)
        speeds.append(float(readings.joint_velocity[0]))
    assert max(speeds) > 0.3
    assert abs(speeds[-1]) < 1e-3


def test_who_tells_positions_refuses_it(policy: Path, tmp_path: Path) -> None:
    contract = Policy(policy).contract
    with pytest.raises(
        ShoalError, match="the driver wire tells drives position, and this policy commands the velocity"
    ):
        open_driver("wire", contract, DriverOptions())
    driver = MujocoDriver(contract, DriverOptions(mjcf=tmp_path / "arm.xml"))
    with pytest.raises(ShoalError, match="moves joints by telling them positions, and shoulder, elbow take none"):
        Direct(driver, contract)


def test_efforts_are_served_recorded_and_replayed_to_the_bit(motors: Path, tmp_path: Path) -> None:
    _, told, output = served_and_replayed(motors, tmp_path, at_rest=1e-2)  # by its own damping
    assert "ticks, its motors get no effort" in output
    assert 0.01 < np.abs(told).max() <= 20.0
    assert (told[-1] == 0).all()


def test_a_motor_gets_nothing_where_no_command_comes_any_more(motors: Path, tmp_path: Path) -> None:
    driver = MujocoDriver(Policy(motors).contract, DriverOptions(mjcf=tmp_path / "arm.xml", speed=0))
    readings = Readings.of(Policy(motors).contract)
    driver.read(readings)
    driver.write(np.array([1.0, 0.0]))
    told = []
    for _ in range(6):
        driver.read(readings)
        told.append(float(driver.data.ctrl[0]))
    assert max(told) == 1.0
    assert told[-1] == 0.0


def test_who_tells_positions_refuses_efforts(motors: Path) -> None:
    with pytest.raises(ShoalError, match="the driver wire tells drives position, and this policy commands the effort"):
        open_driver("wire", Policy(motors).contract, DriverOptions())
