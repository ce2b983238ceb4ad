"""Drives that are told efforts: whatever is commanded, none pushes a joint too fast or too far, and faults end at 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.safety import Safety, SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.safety.rules.targets import Acceleration
from runtime.status import Reason, State
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from tests.runtime.effort_arm import effort_task
from tests.runtime.safety.arms import INERTIA, HeavyArm
from tests.runtime.safety.test_drive_limits import EVENTS, GARBAGE

COMMANDS = GARBAGE | st.tuples(*[st.sampled_from([-100.0, -8.0, 0.0, 8.0, 100.0])] * 2).map(np.array)
CONFIGS = st.builds(
    SafetyConfig,
    velocity_share=st.floats(0.05, 1),
    effort_share=st.none() | st.floats(0.1, 2),
    position_margin_rad=st.floats(0, 0.2),
    ramp_in_s=st.floats(0, 1),
    hold_to_damp_s=st.none() | st.floats(0, 0.2),
    damp_to_estop_s=st.none() | st.floats(0, 0.2),
)


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return effort_task(tmp_path_factory.mktemp("arm")).contract


@settings(max_examples=100, deadline=None)
@given(config=CONFIGS, commands=st.lists(st.tuples(COMMANDS, EVENTS, st.integers(1, 40)), min_size=1, max_size=20))
def test_whatever_is_commanded_nothing_pushes_a_joint_on(
    contract: Contract, config: SafetyConfig, commands: list[tuple]
) -> None:
    arm, joints = HeavyArm(contract, config), contract.robot.joints
    safety, margin = arm.safety, config.position_margin_rad
    most = np.array([joint.effort_max for joint in joints]) * min(1.0, config.effort_share or 1.0)
    fastest = np.array([joint.velocity_max for joint in joints]) * config.velocity_share
    for command, event, times in commands:
        if event == "impose":
            safety.impose(Reason.OVERRUNS)
        elif event == "start":
            safety.impose(None)
            safety.start(arm.position)
        elif event:
            getattr(safety, event)()
        for _ in range(times):
            position, velocity = arm.position, arm.velocity
            arm.tick(command)
            told, ahead = safety.target, position + velocity * arm.period_s
            assert (np.abs(told) <= most).all()
            assert (told[(velocity >= fastest) | (ahead >= arm.high - margin)] <= 0).all()
            assert (told[(velocity <= -fastest) | (ahead <= arm.low + margin)] >= 0).all()
            assert safety.state in {State.ACTIVE, State.RAMP_IN} or (told == 0).all()
            # A period later than the limit was passed, it pushes no more.
            assert (np.abs(arm.velocity) <= fastest + most / INERTIA * arm.period_s + 1e-9).all()


@pytest.mark.parametrize("event", ["stop", "estop", "impose", "not finite"])
def test_every_end_state_is_effort_zero_at_once(contract: Contract, event: str) -> None:
    arm = HeavyArm(contract, SafetyConfig(ramp_in_s=0))
    for _ in range(3):
        assert arm.tick(np.array([1.5, -1.5])) is Reason.FOLLOWING
        assert arm.safety.target == pytest.approx([1.5, -1.5])
    command = np.array([1.5, np.nan if event == "not finite" else -1.5])
    if event == "impose":
        arm.safety.impose(Reason.OVERRUNS)
    elif event != "not finite":
        getattr(arm.safety, event)()
    for _ in range(3):
        arm.tick(command)
        assert (arm.safety.target == 0).all()
    assert arm.safety.state in {State.STOPPED, State.ESTOP, State.HOLD}


def test_an_effort_may_always_slow_a_joint_down_and_lead_it_back(contract: Contract) -> None:
    arm = HeavyArm(contract, SafetyConfig(ramp_in_s=0))
    arm.velocity = np.array([3.5, -4.5])
    arm.tick(np.array([5.0, -5.0]))
    assert (arm.safety.target == 0).all()
    arm.velocity = np.array([3.5, -4.5])
    arm.tick(np.array([-5.0, 5.0]))
    assert arm.safety.target == pytest.approx([-5.0, 5.0])
    arm = HeavyArm(contract, SafetyConfig(ramp_in_s=0))
    arm.position = np.array([2.0, -2.5])
    arm.tick(np.array([-5.0, -5.0]))
    assert arm.safety.target == pytest.approx([-5.0, 0.0])


def test_a_goal_s_speed_and_the_ramp_in_bound_the_speed_and_not_the_effort(contract: Contract) -> None:
    arm = HeavyArm(contract, SafetyConfig(ramp_in_s=0))
    fastest = np.zeros(2)
    for _ in range(20):
        arm.tick(np.array([1.0, 0.0]), speed=0.2)
        fastest = np.maximum(fastest, np.abs(arm.velocity))
    assert 0.6 <= fastest[0] <= 0.2 * 3.0 + 1.0 / 0.1 * arm.period_s
    ramped = HeavyArm(contract, SafetyConfig(ramp_in_s=1.0, ramp_in_share=0.1))
    ramped.tick(np.array([5.0, 5.0]))
    assert ramped.safety.state is State.RAMP_IN
    assert ramped.safety.target == pytest.approx([5.0, 5.0])
    ramped.velocity = np.array([0.4, 0.0])
    ramped.tick(np.array([5.0, -5.0]))
    assert ramped.safety.target == pytest.approx([0.0, -5.0])


def test_the_policy_s_largest_step_bounds_how_an_effort_grows(contract: Contract) -> None:
    slow = contract.action.model_copy(update={"step_max": (0.5, 0.25)})
    arm = HeavyArm(contract.model_copy(update={"action": slow}), SafetyConfig(ramp_in_s=0))
    told = []
    for _ in range(3):
        arm.tick(np.array([5.0, -5.0]))
        told.append(arm.safety.target.tolist())
    assert told == [[0.5, -0.25], [1.0, -0.5], [1.5, -0.75]]


def test_frozen_readings_are_noticed_by_how_an_effort_changed(contract: Contract) -> None:
    arm, reasons = HeavyArm(contract, SafetyConfig(ramp_in_s=0)), []
    for tick in range(12):
        arm.position, arm.velocity = np.array([0.2, 0.5]), np.zeros(2)
        reasons.append(arm.tick(np.array([3.0, 0.0]) if tick > 1 else np.zeros(2)))
    assert Reason.READING_FROZEN in reasons
    quiet = HeavyArm(contract, SafetyConfig(ramp_in_s=0))
    for _ in range(12):
        quiet.position, quiet.velocity = np.array([0.2, 0.5]), np.zeros(2)
        assert quiet.tick(np.array([0.5, 0.0])) is Reason.FOLLOWING


def test_the_geometry_is_asked_where_the_joints_will_be(tmp_path: Path) -> None:
    task = effort_task(tmp_path)
    config = SafetyConfig(ramp_in_s=0, workspace_min_m=(-1, -1, -1), workspace_max_m=(1, 0.42, 1))
    arm = HeavyArm(task.contract, config)
    arm.safety.geometry_checker = geometry_checker_for(task.model, task.contract, config)
    reasons = [arm.tick(np.array([2.0, 0.0])) for _ in range(60)]
    assert Reason.TOOL_OUTSIDE in reasons
    assert (arm.safety.target == 0).all()


def test_efforts_without_measured_velocities_are_refused(contract: Contract) -> None:
    blind = tuple(reading for reading in contract.readings if reading.name != "joint_velocity")
    with pytest.raises(ShoalError, match="it commands efforts and has no reading joint_velocity"):
        Safety(contract.model_copy(update={"readings": blind}))


def test_the_rule_of_acceleration_does_not_concern_motors(contract: Contract) -> None:
    assert not Acceleration.applies(contract)
    position = contract.robot.joints[0].model_copy(update={"mode": "position", "stiffness": 100.0})
    robot = contract.robot.model_copy(update={"joints": (position, contract.robot.joints[1])})
    assert Acceleration.applies(contract.model_copy(update={"robot": robot}))
