"""A suggested trajectory, played on a simulated robot and recorded, is a log that identification can use."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from runtime.cli import main
from runtime.diagnostics.trajectory_player import play_on, require_playable
from runtime.drivers.base import DriverOptions
from runtime.drivers.direct import Direct
from runtime.drivers.mujoco import MujocoDriver
from runtime.inference.policy import Policy
from runtime.recording.writer import Recorder
from sim2real.errors import ShoalError
from sim2real.identification.excitation import Trajectory, fourier, random_coefficients, write_trajectory
from sim2real.logs.log import read_log
from sim2real.logs.openloop import simulate
from sim2real.tasks.task import Task


@pytest.fixture(scope="module")
def trajectory(task: Task) -> Trajectory:
    return fourier(task, random_coefficients(7, np.random.default_rng(0)), 6.0)


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    return stop.value.code


def test_played_log_is_what_the_model_does(
    trajectory: Trajectory, task: Task, policy_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trajectory(trajectory, tmp_path / "excite.csv")
    record = tmp_path / "run.mcap"
    files = ("--trajectory", str(tmp_path / "excite.csv"), "--model", str(policy_path), "--record", str(record))
    assert run("play", *files, "--speed", "0") == 0
    log = read_log(record)
    played = log.command[-len(trajectory.command) - 12 : -12]
    np.testing.assert_allclose(played, trajectory.command, atol=1e-8)
    (whole,) = log.segments()
    simulated = simulate([task.model], whole)
    np.testing.assert_allclose(simulated.joint_position[0], whole.joint_position, atol=1e-9)
    np.testing.assert_allclose(simulated.joint_velocity[0], whole.joint_velocity, atol=1e-8)
    capsys.readouterr()
    assert run("play", *files) == 2
    assert "recordings are never overwritten" in capsys.readouterr().err


def test_approach_is_slow(trajectory: Trajectory, task: Task, policy: Policy, tmp_path: Path) -> None:
    away = Trajectory(task.contract, trajectory.command[:20] + 0.3)
    recorder = Recorder(tmp_path / "run.mcap", task.contract, {})
    play_on(Direct(MujocoDriver(policy.contract, DriverOptions(speed=0)), policy.contract), away, recorder)
    recorder.close()
    log = read_log(tmp_path / "run.mcap")
    limits = np.array([joint.velocity_max for joint in task.contract.robot.joints])
    approach = np.abs(np.diff(log.command[:-32], axis=0)) / task.contract.timing.control_dt_s
    assert (approach.max(axis=0) <= 0.21 * limits).all()
    assert approach.max() > 0.1


class Blocked(MujocoDriver):
    """Joints that stay where they are."""

    def write(self, command: np.ndarray) -> None:
        super().write(self._target.copy())


def test_blocked_arm_ends_the_playing(trajectory: Trajectory, policy: Policy, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.mcap", policy.contract, {})
    robot = Direct(Blocked(policy.contract, DriverOptions(speed=0)), policy.contract)
    with pytest.raises(ShoalError, match=r"rad from its target, more than the contract's window of 0\.3"):
        play_on(robot, trajectory, recorder)
    recorder.close()


def test_trajectory_beyond_limits_is_refused(trajectory: Trajectory) -> None:
    far = dataclasses.replace(trajectory, command=trajectory.command + 3.0)
    with pytest.raises(ShoalError, match=r"fr3_joint1 goes from .* outside its limits"):
        require_playable(far)
    jump = trajectory.command.copy()
    jump[50, 6] += 1.0
    with pytest.raises(ShoalError, match=r"fr3_joint7 moves at .* above its limit of 5\.26"):
        require_playable(dataclasses.replace(trajectory, command=jump))
