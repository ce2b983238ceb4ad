"""Delays put into a log come out of it, in the terms that training draws from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sim2real.hidden_robot import Truth
from benchmarks.sim2real.identification import TASKS, robot_task
from sim2real.errors import ShoalError
from sim2real.logs.log import Log
from sim2real.randomisation.config import load_randomisation
from sim2real.tasks.task import Task
from sim2real.timing.lag import lag_between
from sim2real.timing.latency import measure
from tests.sim2real.recordings import excited


@pytest.fixture(scope="module")
def task() -> Task:
    return robot_task("planar")


def aged(log: Log, *, least_s: float, spread_s: float) -> Log:
    """As if readings had been taken earlier than they were used."""
    age = least_s + spread_s * np.random.default_rng(0).random(len(log))
    return dataclasses.replace(log, time_s=log.time_s + age, tick_us=np.linspace(40, 400, len(log)))


def test_measured_delays_become_terms(task: Task) -> None:
    log = excited(task, Truth(action_delay_s=0.03, noise_std_rad=1e-4), duration_s=20.0)
    found = measure([aged(log, least_s=0.004, spread_s=0.002)], task.model)
    # The log now says that commands were given 5 ms later than they were, so motion follows 5 ms sooner.
    np.testing.assert_allclose(found.motion_s, 0.025, atol=0.002)
    assert (found.from_command_s > found.motion_s + 0.02).all()
    setting = found.apply(load_randomisation("mild"))
    assert setting.observation_delay_s.support == pytest.approx((0.004, 0.004), abs=2e-4)
    assert setting.observation_jitter_s.support == pytest.approx((0.0019, 0.0019), abs=2e-4)
    low, high = setting.action_delay_s.support
    assert 0.022 < low <= high < 0.028
    assert setting.action_jitter_s.support[1] < 4e-4
    assert setting.payload_mass_kg == load_randomisation("mild").payload_mass_kg
    assert next(name for name, _ in found.rows()) == "age of a reading"


def test_what_the_log_cannot_say_is_said(task: Task) -> None:
    log = excited(task, Truth(), duration_s=10.0)
    said = " ".join(measure([log], task.model).warnings())
    assert "only 2 windows moved clearly" in said
    assert "this driver stamps when it reads" in said
    home = np.tile(log.command[:1], (len(log), 1))
    still = dataclasses.replace(log, command=home, joint_position=home, joint_velocity=np.zeros_like(home))
    resting = measure([still], task.model)
    assert "no window moved clearly enough" in resting.warnings()[0]
    assert "action_delay_s" not in resting.terms()
    with pytest.raises(ShoalError, match="no stretch of 4 s without a gap"):
        measure([log.part(0, 100)], task.model)


@given(st.floats(-0.04, 0.25))
def test_lag_is_found_to_a_fraction_of_a_period(lag_s: float) -> None:
    time_s = np.arange(0, 4, 0.02)

    def motion(at: np.ndarray) -> np.ndarray:
        return np.stack([np.sin(3 * at), np.cos(5 * at + 1)], axis=1)

    found = lag_between(time_s, motion(time_s), 0.9 * motion(time_s - lag_s) + 0.1)
    assert found is not None
    assert found.seconds == pytest.approx(lag_s, abs=0.002)
    assert found.correlation > 0.99


def test_readings_used_twice_do_no_harm() -> None:
    time_s = np.arange(0, 4, 0.02)
    stale = np.maximum.accumulate(np.where(np.arange(200) % 7 == 3, 0, np.arange(200)))
    position = np.sin(3 * time_s)[:, None]
    found = lag_between(time_s[stale], position[stale], np.sin(3 * (time_s - 0.03))[stale, None])
    assert found is not None
    assert found.seconds == pytest.approx(0.03, abs=0.002)


def test_nothing_moves_no_lag() -> None:
    time_s = np.arange(0, 4, 0.02)
    assert lag_between(time_s, np.zeros((200, 2)), np.ones((200, 2))) is None


def test_written_file_is_read_by_training(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.sim2real.hidden_robot import record
    from sim2real.cli import main

    log = excited(task, Truth(action_delay_s=0.02), duration_s=9.0)
    path, out = record(tmp_path / "run.mcap", log), tmp_path / "measured" / "latency.yaml"
    arguments = ["latency", str(path), "--task", TASKS["planar"], "--base", "off", "--output", str(out)]
    monkeypatch.setattr("sys.argv", ["sim2real", *arguments])
    main()
    setting = load_randomisation(out)
    assert setting.active == ("action_delay_s",)
    assert setting.action_delay_s.support == pytest.approx((0.02, 0.02), abs=0.002)
