from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.robot.readings import Readings
from runtime.safety import Safety, SafetyConfig
from runtime.safety.limits import braking_distance, reach
from runtime.status import Reason, State
from sim2real.contract import Contract
from sim2real.tasks.task import load_task

CONTRACT = load_task("franka_pose").contract
JOINTS = CONTRACT.robot.joints
HOME = np.array([joint.home_position for joint in JOINTS])
LOW = np.array([joint.position_min for joint in JOINTS])
HIGH = np.array([joint.position_max for joint in JOINTS])
STEP = np.array([joint.velocity_max for joint in JOINTS]) * CONTRACT.timing.control_dt_s

GARBAGE = arrays(np.float64, 7, elements=st.floats(allow_nan=True, allow_infinity=True, width=64))
GARBAGE_32 = arrays(np.float32, 7, elements=st.floats(allow_nan=True, allow_infinity=True, width=32))


AT_ONCE = SafetyConfig(ramp_in_s=0)
PERIOD_S = CONTRACT.timing.control_dt_s


def good_readings(time_s: float = 0.0) -> Readings:
    readings = Readings.of(CONTRACT)
    readings.joint_position[:] = HOME
    readings.end_effector_orientation[0] = 1
    readings.time_s = time_s
    return readings


def started(config: SafetyConfig = AT_ONCE) -> Safety:
    safety = Safety(CONTRACT, config)
    safety.start(HOME)
    return safety


class Ticks:
    """Drives a `Safety` as the core does: readings, then the policy's command, then the end of the tick."""

    def __init__(self, config: SafetyConfig = AT_ONCE) -> None:
        self.safety, self.readings, self.now_s = started(config), good_readings(), 0.0

    def tick(self, command: np.ndarray | None = None, *, stamp_s: float | None = None) -> Reason:
        self.now_s += PERIOD_S
        self.readings.time_s = self.now_s if stamp_s is None else stamp_s
        reason = self.safety.check(self.readings, self.now_s)
        if reason is Reason.FOLLOWING and self.safety.may_follow:
            reason = self.safety.limit(self.safety.target if command is None else command)
        self.safety.settle(reason)
        return reason

    def follow(self, ticks: int, command: np.ndarray | None = None) -> None:
        """A servo that is where it was sent."""
        for _ in range(ticks):
            moved = self.safety.target - self.readings.joint_position
            self.readings.joint_velocity[:], self.readings.joint_position[:] = moved / PERIOD_S, self.safety.target
            self.tick(command)


def test_ordinary_command_passes_unchanged_and_uncounted() -> None:
    safety = started()
    wanted = HOME + 0.5 * STEP
    assert safety.limit(wanted) is Reason.FOLLOWING
    np.testing.assert_array_equal(safety.target, wanted)
    assert safety.clamped == 0


def test_too_fast_command_is_clamped_and_counted() -> None:
    safety = started()
    safety.limit(HOME + 3 * STEP)
    np.testing.assert_allclose(safety.target, HOME + STEP)
    assert safety.clamped == 1


def test_start_outside_the_limits_comes_back() -> None:
    safety = Safety(CONTRACT, AT_ONCE)
    safety.start(HIGH + 0.05)
    safety.limit(HIGH + 1)
    np.testing.assert_allclose(safety.target, HIGH)


@pytest.mark.parametrize(
    "field", ["joint_position", "joint_velocity", "end_effector_position", "end_effector_orientation"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_readings_that_are_not_finite_are_refused(field: str, value: float) -> None:
    readings = good_readings()
    getattr(readings, field)[-1] = value
    assert Safety(CONTRACT).check(readings, 0.0) is Reason.READING_NOT_FINITE


@pytest.mark.parametrize("age_periods", [3.5, math.inf, math.nan, -3.5])
def test_readings_from_another_time_are_refused(age_periods: float) -> None:
    now = 100.0
    readings = good_readings(now - age_periods * CONTRACT.timing.control_dt_s)
    assert Safety(CONTRACT).check(readings, now) is Reason.READING_STALE


@pytest.mark.parametrize(("now_s", "said"), [(103.0, "time_s is 3 s old"), (0.0, "time_s is 100 s ahead of now_s")])
def test_readings_of_another_moment_say_of_which(now_s: float, said: str) -> None:
    readings = Readings.of(CONTRACT)
    readings.time_s = 100.0
    safety = Safety(CONTRACT)
    safety.settle(safety.check(readings, now_s))
    assert safety.sentence == f"the readings are not of this moment: {said}, and may be 0.12 s"


def test_readings_of_this_moment_are_accepted() -> None:
    readings = good_readings(100.0)
    assert Safety(CONTRACT).check(readings, 100.0 + 2.5 * CONTRACT.timing.control_dt_s) is Reason.FOLLOWING


def test_unbelievable_encoder_is_refused() -> None:
    readings = good_readings()
    readings.joint_position[5] = 0.0
    assert Safety(CONTRACT).check(readings, 0.0) is Reason.READING_OUT_OF_RANGE


def test_readings_that_go_back_in_time_are_refused_one_by_one() -> None:
    ticks = Ticks()
    ticks.follow(3)
    assert ticks.tick(stamp_s=ticks.now_s - PERIOD_S) is Reason.READING_OUT_OF_ORDER
    assert ticks.tick() is Reason.FOLLOWING


@pytest.mark.parametrize("jump_s", [-100.0, 3600.0])
def test_clock_jump_holds_for_one_tick(jump_s: float) -> None:
    ticks = Ticks()
    ticks.follow(20)
    ticks.now_s += jump_s
    assert ticks.tick() is Reason.CLOCK_JUMPED
    assert ticks.safety.state is State.HOLD
    assert ticks.tick() is Reason.FOLLOWING


def test_frozen_readings_are_noticed_only_while_the_joints_are_sent_elsewhere() -> None:
    ticks = Ticks()
    reasons = [ticks.tick() for _ in range(50)]
    assert set(reasons) == {Reason.FOLLOWING}
    reasons = [ticks.tick(ticks.safety.target + 0.02) for _ in range(8)]
    assert reasons[-1] is Reason.READING_FROZEN
    assert np.abs(ticks.safety.target - HOME).max() < 8 * 0.02
    ticks.readings.joint_position[0] += 1e-9
    assert ticks.tick() is Reason.FOLLOWING


def test_effort_above_the_limit_makes_the_arm_yield_until_it_has_rested() -> None:
    ticks = Ticks(SafetyConfig(ramp_in_s=0, damp_for_s=0.2))
    ticks.readings.joint_effort[:] = 0
    ticks.follow(3)
    ticks.readings.joint_effort[1] = -1.01 * JOINTS[1].effort_max
    ticks.follow(5, HOME + 1)
    assert ticks.safety.state is State.DAMP
    ticks.readings.joint_effort[1] = 0
    ticks.follow(1, HOME + 1)
    assert (ticks.safety.state, ticks.safety.reason) == (State.DAMP, Reason.EFFORT_TOO_HIGH)
    ticks.follow(6)
    assert ticks.safety.state is State.ACTIVE


def test_effort_that_the_driver_does_not_give_is_no_fault_but_one_that_vanishes_is() -> None:
    ticks = Ticks()
    assert ticks.tick() is Reason.FOLLOWING
    ticks.readings.joint_effort[:] = 0
    assert ticks.tick() is Reason.FOLLOWING
    ticks.readings.joint_effort[2] = math.nan
    assert ticks.tick() is Reason.READING_NOT_FINITE


def test_blocked_arm_yields_where_it_is() -> None:
    ticks = Ticks(SafetyConfig(ramp_in_s=0, frozen_after_periods=None))
    for _ in range(20):
        ticks.tick(ticks.safety.target + STEP)
        if ticks.safety.state is State.DAMP:
            break
    assert ticks.safety.reason is Reason.NOT_TRACKING
    away = np.abs(ticks.safety.target - HOME).max()
    for _ in range(12):
        ticks.tick(ticks.safety.target + STEP)
    assert np.abs(ticks.safety.target - HOME).max() < 0.5 * away


def test_yielding_approaches_the_measured_joints_at_limited_speed() -> None:
    ticks = Ticks()
    ticks.safety.estop()
    ticks.readings.joint_position[0] = HOME[0] + 0.3
    before = HOME.copy()
    for _ in range(200):
        ticks.tick()
        step = ticks.safety.target - before
        assert np.abs(step[0]) <= 0.25 * STEP[0] * (1 + 1e-9)
        np.testing.assert_array_equal(step[1:], 0)
        before = ticks.safety.target.copy()
    assert ticks.safety.target[0] == pytest.approx(HOME[0] + 0.3, abs=1e-3)


def test_fault_that_lasts_becomes_damp_and_then_if_wanted_an_emergency_stop() -> None:
    ticks = Ticks(SafetyConfig(hold_to_damp_s=0.4, damp_to_estop_s=0.4))
    ticks.follow(20)
    ticks.readings.joint_velocity[0] = math.nan
    states = []
    for _ in range(30):
        ticks.tick()
        states.append(ticks.safety.state)
    assert states == sorted(states, key=[State.HOLD, State.DAMP, State.ESTOP].index)
    assert set(states) == {State.HOLD, State.DAMP, State.ESTOP}
    ticks.readings.joint_velocity[0] = 0
    ticks.tick()
    assert ticks.safety.state is State.ESTOP


def test_ramp_in_starts_slowly_and_grows() -> None:
    ticks = Ticks(SafetyConfig(ramp_in_s=0.4, ramp_in_share=0.1))
    steps = []
    for _ in range(12):
        before = ticks.safety.target.copy()
        ticks.follow(1, before + np.array([1, 0, 0, 0, 0, 0, 0]))
        steps.append((ticks.safety.target - before)[0] / STEP[0])
        assert (ticks.safety.state is State.ACTIVE) == (len(steps) > 10)
    np.testing.assert_allclose(steps[:11], np.linspace(0.1, 1, 11))
    assert ticks.safety.clamped == 2


def test_imposed_fault_holds_until_it_is_lifted() -> None:
    ticks = Ticks()
    ticks.safety.impose(Reason.OVERRUNS)
    for _ in range(200):
        assert ticks.tick() is Reason.OVERRUNS
        assert ticks.safety.state is State.HOLD
    ticks.safety.impose(None)
    assert ticks.tick() is Reason.FOLLOWING


def test_every_reason_leads_to_its_state() -> None:
    for reason in Reason:
        if reason not in (Reason.STOPPED, Reason.ESTOP):
            safety = started()
            safety.settle(reason)
            assert safety.state is reason.state
            assert safety.ticks_by_reason[reason] == safety.ticks_by_state[reason.state] == safety.ticks == 1
            assert reason.sentence


def test_stop_outlasts_everything_but_a_start() -> None:
    safety = started()
    safety.stop()
    safety.settle(Reason.FOLLOWING)
    assert safety.state is State.STOPPED
    safety.start(HOME)
    safety.settle(Reason.FOLLOWING)
    assert safety.state is State.ACTIVE


def test_emergency_stop_latches_until_its_release() -> None:
    safety = started()
    safety.estop()
    safety.stop()
    safety.start(HOME)
    safety.restart()
    for reason in Reason:
        safety.settle(reason)
        assert (safety.state, safety.reason) == (State.ESTOP, Reason.ESTOP)
    safety.release()
    safety.settle(Reason.FOLLOWING)
    assert safety.state is State.ACTIVE


def test_changes_of_reason_are_counted_once_each() -> None:
    ticks = Ticks()
    ticks.follow(3)
    ticks.safety.estop()
    ticks.follow(3)
    ticks.safety.release()
    ticks.follow(3)
    assert ticks.safety.transitions == 3


def test_limits_are_the_contracts(contract: Contract) -> None:
    safety = Safety(contract)
    np.testing.assert_array_equal(safety.low, LOW)
    np.testing.assert_array_equal(safety.high, HIGH)
    np.testing.assert_allclose(safety.max_step, STEP)


MOMENTS = st.fixed_dictionaries(
    {
        "command": GARBAGE | GARBAGE_32,
        "position": GARBAGE | st.just(HOME) | st.none(),
        "velocity": GARBAGE | st.just(np.zeros(7)),
        "effort": GARBAGE | st.just(np.full(7, np.nan)),
        "stamp_s": st.none() | st.floats(),
        "jump_s": st.just(0.0) | st.floats(-1e6, 1e6),
        "event": st.sampled_from(["", "", "", "stop", "estop", "release", "impose", "restart"]),
    }
)
CONFIGS = st.builds(
    SafetyConfig,
    velocity_share=st.floats(0.01, 1),
    acceleration_max_rad_s2=st.none() | st.floats(0.05, 200),
    ramp_in_s=st.floats(0, 1),
    hold_to_damp_s=st.none() | st.floats(0, 0.2),
    damp_to_estop_s=st.none() | st.floats(0, 0.2),
    damp_for_s=st.floats(0, 0.2),
)


@settings(max_examples=120, deadline=None)
@given(config=CONFIGS, moments=st.lists(MOMENTS, min_size=1, max_size=30))
def test_whatever_happens_the_target_keeps_its_bounds(config: SafetyConfig, moments: list[dict]) -> None:
    ticks = Ticks(config)
    safety, before, step_before, latched = ticks.safety, HOME.copy(), np.zeros(7), False
    for moment in moments:
        if moment["event"] == "impose":
            safety.impose(Reason.OVERRUNS)
        elif moment["event"]:
            getattr(safety, moment["event"])()
        # After a restart a core starts from readings that it trusts; here it goes on from the same target.
        safety.started = True
        latched = (latched or moment["event"] == "estop") and moment["event"] != "release"
        readings, position = ticks.readings, moment["position"]
        readings.joint_position[:] = safety.target if position is None else position
        readings.joint_velocity[:], readings.joint_effort[:] = moment["velocity"], moment["effort"]
        ticks.now_s += moment["jump_s"]
        ticks.tick(moment["command"], stamp_s=moment["stamp_s"])
        target, step = safety.target.copy(), safety.target - before
        assert np.isfinite(target).all()
        assert ((target >= LOW) & (target <= HIGH)).all()
        assert (np.abs(step) <= safety.max_step * (1 + 1e-9) + 1e-12).all()
        assert (np.abs(step - step_before) <= safety.max_step_change * (1 + 1e-9) + 1e-12).all()
        latched = latched or safety.state is State.ESTOP
        assert (safety.state is State.ESTOP) == latched
        before, step_before = target, step


@given(room=st.floats(1e-6, 10), change=st.floats(1e-4, 1))
def test_reach_is_the_inverse_of_the_braking_distance(room: float, change: float) -> None:
    assert braking_distance(reach(room, change), change) == pytest.approx(room, rel=1e-9)


@given(outside=arrays(np.float64, 7, elements=st.floats(-0.09, 0.09)), commands=st.lists(GARBAGE, max_size=5))
def test_start_outside_the_limits_never_goes_further_out(outside: np.ndarray, commands: list[np.ndarray]) -> None:
    safety = Safety(CONTRACT)
    start = np.where(outside < 0, LOW + outside, HIGH + outside)
    safety.start(start)
    for command in commands:
        before = safety.target.copy()
        safety.limit(command)
        assert (np.abs(safety.target - before) <= STEP * (1 + 1e-9)).all()
        excess = np.maximum(LOW - safety.target, safety.target - HIGH)
        assert (excess <= np.maximum(LOW - before, before - HIGH).clip(0) + 1e-12).all()
