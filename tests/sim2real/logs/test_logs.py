from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sim2real.hidden_robot import Truth, record
from benchmarks.sim2real.identification import robot_task
from sim2real.errors import ShoalError
from sim2real.logs.log import Log, read_log
from sim2real.logs.openloop import servo_targets, simulate
from sim2real.logs.recording import Recording, read_recording
from tests.sim2real.recordings import excited


@pytest.fixture(scope="module")
def log() -> Log:
    task = robot_task("planar")
    return excited(task, Truth(), duration_s=5.0)


def test_recording_and_back_is_exact(log: Log, tmp_path: Path) -> None:
    read = read_log(record(tmp_path / "run.mcap", log))
    for name in ("time_s", "measured_s", "joint_position", "joint_velocity", "command"):
        np.testing.assert_array_equal(getattr(read, name), getattr(log, name))
    assert read.contract == log.contract
    assert read.tick_us is not None
    assert set(read.tick_us) == {50.0}


def test_ticks_without_commands_or_with_unknown_numbers_are_left_out(log: Log, tmp_path: Path) -> None:
    recording = read_recording(record(tmp_path / "run.mcap", log))
    for tick in recording.ticks[:3]:
        tick["commanding"] = False
    recording.ticks[10]["joint_position"][0] = None
    assert len(Log.of(recording)) == len(log) - 4
    for tick in recording.ticks:
        tick["commanding"] = False
    with pytest.raises(ShoalError, match="no tick of this recording commanded the robot"):
        Log.of(Recording(Path("run.mcap"), log.contract, {}, recording.messages, True))


def test_gaps_cut_a_log_and_missed_periods_do_not(log: Log) -> None:
    later = log.time_s.copy()
    later[60:] += 0.06
    later[120:] += 3.0
    parts = dataclasses.replace(log, time_s=later, measured_s=later).segments()
    assert [len(part) for part in parts] == [120, len(log) - 120]
    restarted = log.time_s.copy()
    restarted[120:] -= 10.0
    assert [len(part) for part in dataclasses.replace(log, time_s=restarted).segments()] == [120, len(log) - 120]


def test_open_loop_is_the_stepped_robot_whatever_it_hides() -> None:
    rng = np.random.default_rng(1)
    task = robot_task("planar")
    for jitter in (0.0, 0.01):
        truth = Truth(
            friction_loss=rng.uniform(0, 0.5, 2),
            servo_stiffness=np.array([80.0, 60.0]),
            payload_mass_kg=0.5,
            joint_offset_rad=np.array([0.02, -0.01]),
            action_delay_s=0.017,
            action_jitter_s=jitter,
        )
        log = excited(task, truth, duration_s=4.0)
        simulated = simulate(
            [truth.model(task)], log, delays_s=np.array([0.017]), offsets_rad=np.array([[0.02, -0.01]])
        )
        error = np.abs(simulated.joint_position[0] - log.joint_position).max()
        assert error < (1e-9 if jitter == 0 else 0.05)
        assert jitter == 0 or error > 1e-4


def test_target_holds_over_missed_periods(log: Log) -> None:
    time_s = log.time_s.copy()
    time_s[51:] += 0.1
    late = dataclasses.replace(log, time_s=time_s)
    held = servo_targets(late, np.linspace(time_s[50] + 0.021, time_s[51] - 0.001, 5))
    np.testing.assert_allclose(held, np.tile(log.command[50], (5, 1)))
    middle = servo_targets(log, np.array([log.time_s[30] + 0.01]), delay_s=0.0)[0]
    np.testing.assert_allclose(middle, (log.command[29] + log.command[30]) / 2)
    np.testing.assert_allclose(servo_targets(log, np.array([log.time_s[30] + 0.013]), delay_s=0.003)[0], middle)
