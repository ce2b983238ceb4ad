from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.safety import Readings, Safety
from runtime.status import Reason, State
from sim2real.contract import Contract
from sim2real.task import load_task

CONTRACT = load_task("franka_pose").contract
JOINTS = CONTRACT.robot.joints
HOME = np.array([joint.home_rad for joint in JOINTS])
LOW = np.array([joint.position_min_rad for joint in JOINTS])
HIGH = np.array([joint.position_max_rad for joint in JOINTS])
STEP = np.array([joint.velocity_max_rad_s for joint in JOINTS]) * CONTRACT.timing.control_dt_s

GARBAGE = arrays(np.float64, 7, elements=st.floats(allow_nan=True, allow_infinity=True, width=64))
GARBAGE_32 = arrays(np.float32, 7, elements=st.floats(allow_nan=True, allow_infinity=True, width=32))


def good_readings(time_s: float = 0.0) -> Readings:
    readings = Readings(7)
    readings.joint_position[:] = HOME
    readings.end_effector_orientation[0] = 1
    readings.time_s = time_s
    return readings


@given(commands=st.lists(GARBAGE | GARBAGE_32, max_size=8))
def test_target_never_leaves_the_limits_nor_jumps(commands: list[np.ndarray]) -> None:
    safety = Safety.of(CONTRACT)
    safety.start(HOME)
    for command in commands:
        before = safety.target.copy()
        reason = safety.limit(command)
        assert np.isfinite(safety.target).all()
        assert (safety.target >= LOW).all()
        assert (safety.target <= HIGH).all()
        assert (np.abs(safety.target - before) <= STEP * (1 + 1e-12)).all()
        if reason is not Reason.FOLLOWING:
            np.testing.assert_array_equal(safety.target, before)


@given(outside=arrays(np.float64, 7, elements=st.floats(-0.09, 0.09)), command=GARBAGE)
def test_start_outside_the_limits_comes_back_at_limited_speed(outside: np.ndarray, command: np.ndarray) -> None:
    safety = Safety.of(CONTRACT)
    start = np.where(outside < 0, LOW + outside, HIGH + outside)
    safety.start(start)
    safety.limit(command)
    assert (np.abs(safety.target - start) <= STEP * (1 + 1e-12)).all()
    excess = np.maximum(LOW - safety.target, safety.target - HIGH)
    assert (excess <= np.abs(outside) + 1e-12).all()


def test_ordinary_command_passes_unchanged_and_uncounted() -> None:
    safety = Safety.of(CONTRACT)
    safety.start(HOME)
    wanted = HOME + 0.5 * STEP
    assert safety.limit(wanted) is Reason.FOLLOWING
    np.testing.assert_array_equal(safety.target, wanted)
    assert safety.clamped == 0


def test_too_fast_command_is_clamped_and_counted() -> None:
    safety = Safety.of(CONTRACT)
    safety.start(HOME)
    safety.limit(HOME + 3 * STEP)
    np.testing.assert_allclose(safety.target, HOME + STEP)
    assert safety.clamped == 1


@pytest.mark.parametrize(
    "field", ["joint_position", "joint_velocity", "end_effector_position", "end_effector_orientation"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_readings_that_are_not_finite_are_refused(field: str, value: float) -> None:
    readings = good_readings()
    getattr(readings, field)[-1] = value
    assert Safety.of(CONTRACT).check(readings, 0.0) is Reason.READING_NOT_FINITE


@pytest.mark.parametrize("age_periods", [3.5, math.inf, math.nan, -3.5])
def test_readings_from_another_time_are_refused(age_periods: float) -> None:
    now = 100.0
    readings = good_readings(now - age_periods * CONTRACT.timing.control_dt_s)
    assert Safety.of(CONTRACT, stale_after_periods=3).check(readings, now) is Reason.READING_STALE


def test_readings_of_this_moment_are_accepted() -> None:
    readings = good_readings(100.0)
    assert Safety.of(CONTRACT).check(readings, 100.0 + 2.5 * CONTRACT.timing.control_dt_s) is Reason.FOLLOWING


def test_unbelievable_encoder_is_refused() -> None:
    readings = good_readings()
    readings.joint_position[5] = 0.0
    assert Safety.of(CONTRACT).check(readings, 0.0) is Reason.READING_OUT_OF_RANGE


def test_every_reason_leads_to_its_state() -> None:
    safety = Safety.of(CONTRACT)
    safety.start(HOME)
    passing = [reason for reason in Reason if reason not in (Reason.STOPPED, Reason.ESTOP)]
    for reason in passing:
        safety.settle(reason)
        assert safety.state is reason.state
        assert safety.ticks_by_reason[reason] == 1
    assert safety.ticks == sum(safety.ticks_by_state) == len(passing)


def test_stop_outlasts_everything_but_a_start() -> None:
    safety = Safety.of(CONTRACT)
    safety.start(HOME)
    safety.stop()
    safety.settle(Reason.FOLLOWING)
    assert safety.state is State.STOPPED
    safety.start(HOME)
    safety.settle(Reason.FOLLOWING)
    assert safety.state is State.ACTIVE


def test_emergency_stop_latches_until_its_release() -> None:
    safety = Safety.of(CONTRACT)
    safety.start(HOME)
    safety.estop()
    safety.stop()
    safety.start(HOME)
    safety.settle(Reason.FOLLOWING)
    assert safety.state is State.ESTOP
    safety.release()
    safety.settle(Reason.FOLLOWING)
    assert safety.state is State.ACTIVE


def test_limits_are_the_contracts(contract: Contract) -> None:
    safety = Safety.of(contract)
    np.testing.assert_array_equal(safety.low, LOW)
    np.testing.assert_array_equal(safety.high, HIGH)
    np.testing.assert_allclose(safety.max_step, STEP)
