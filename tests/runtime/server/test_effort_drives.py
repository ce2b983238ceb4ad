"""A policy of motors, by the programs themselves: goal, telemetry, emergency stop, recording, replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.drivers.base import DriverOptions, open_driver
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import GoalPose
from runtime.inference.policy import Policy
from runtime.recording.replay import replay
from runtime.robot.readings import Readings
from sim2real.errors import ShoalError
from sim2real.logs.recording import read_recording
from tests.runtime.any_policy import write_any_policy
from tests.runtime.effort_arm import effort_task
from tests.runtime.page.browsers import wait_until
from tests.runtime.server.test_server import Server


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_any_policy(tmp_path / "motors.onnx", effort_task(tmp_path).contract)


def test_it_is_served_recorded_and_replayed_to_the_bit(policy: Path, tmp_path: Path) -> None:
    record, mjcf = tmp_path / "run.mcap", tmp_path / "arm.xml"
    server = Server(policy, tmp_path, "--mjcf", str(mjcf), "--record", str(record), "--speed", "2", "--quiet")
    try:
        with server.client() as client:
            client.send_goal(GoalPose(position=(0.3, 0.2, 0.1)))
            wait_until(lambda: client.status().ticks > 60, "a stretch long enough")
            wait_until(lambda: max(map(abs, client.telemetry().joint_command), default=0) > 0.01, "a command")
            client.estop()
            wait_until(lambda: client.telemetry().joint_command == (0.0, 0.0), "effort 0")
            wait_until(lambda: max(map(abs, client.telemetry().joint_velocity)) < 1e-2, "rest by its own damping")
            client.stop()
        output = server.output()
        assert server.process.returncode == 0, output
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()
    ticks = read_recording(record).ticks
    told = np.array([tick["command"] for tick in ticks if tick["commanding"]])
    assert 0.01 < np.abs(told).max() <= 20.0
    assert (told[-1] == 0).all()
    result = replay(record, policy, mjcf)
    assert (result.compared, result.different) == (len(ticks), 0)


def test_a_motor_gets_nothing_where_no_command_comes_any_more(policy: Path, tmp_path: Path) -> None:
    driver = MujocoDriver(Policy(policy).contract, DriverOptions(mjcf=tmp_path / "arm.xml", speed=0))
    readings = Readings.of(Policy(policy).contract)
    driver.read(readings)
    driver.write(np.array([1.0, 0.0]))
    told = []
    for _ in range(6):
        driver.read(readings)
        told.append(float(driver.data.ctrl[0]))
    assert max(told) == 1.0
    assert told[-1] == 0.0


def test_who_tells_positions_refuses_it(policy: Path) -> None:
    with pytest.raises(ShoalError, match="the driver wire tells drives position, and this policy commands the effort"):
        open_driver("wire", Policy(policy).contract, DriverOptions())
