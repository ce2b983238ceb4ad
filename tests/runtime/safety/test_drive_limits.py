"""Drives that are told velocities: whatever is commanded, joints keep their limits, and faults end at rest."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from runtime.safety import SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.status import Reason, State
from sim2real.contract import Contract
from tests.runtime.safety.arms import Arm
from tests.runtime.velocity_arm import mixed, velocity_task

GARBAGE = arrays(np.float64, 2, elements=st.floats(allow_nan=True, allow_infinity=True, width=64))
STRONG = st.sampled_from([-9.0, -3.0, 0.0, 3.0, 9.0])
COMMANDS = GARBAGE | arrays(np.float64, 2, elements=STRONG)
EVENTS = st.sampled_from(["", "", "", "", "stop", "estop", "release", "impose", "start"])
CONFIGS = st.builds(
    SafetyConfig,
    velocity_share=st.floats(0.01, 1),
    acceleration_max_rad_s2=st.none() | st.floats(0.5, 200),
    position_margin_rad=st.floats(0, 0.2),
    ramp_in_s=st.floats(0, 1),
    hold_to_damp_s=st.none() | st.floats(0, 0.2),
    damp_to_estop_s=st.none() | st.floats(0, 0.2),
)


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    return velocity_task(tmp_path_factory.mktemp("arm")).contract


@settings(max_examples=100, deadline=None)
@given(
    config=CONFIGS,
    commands=st.lists(st.tuples(COMMANDS, EVENTS, st.integers(1, 40)), min_size=1, max_size=20),
    first_is_told_positions=st.booleans(),
)
def test_whatever_is_commanded_joints_keep_their_limits(
    contract: Contract, config: SafetyConfig, commands: list[tuple], first_is_told_positions: bool
) -> None:
    contract = mixed(contract) if first_is_told_positions else contract
    arm, margin = Arm(contract, config), config.position_margin_rad
    safety, joints = arm.safety, contract.robot.joints
    low, high = (np.array([joint.position_range[end] for joint in joints]) for end in (0, 1))
    fastest = np.array([joint.velocity_max for joint in joints]) * config.velocity_share
    acceleration = np.array(config.accelerations_rad_s2(contract)) * arm.period_s
    speed = np.zeros(2)
    for command, event, times in commands:
        if event == "impose":
            safety.impose(Reason.OVERRUNS)
        elif event == "start":
            safety.impose(None)
            safety.start(arm.position)
            speed = np.where(arm.speeds, 0.0, 0.0)
        elif event:
            getattr(safety, event)()
        for _ in range(times):
            position = arm.position
            arm.tick(command)
            told = np.where(arm.speeds, safety.target, (arm.position - position) / arm.period_s)
            assert np.isfinite(safety.target).all()
            assert (np.abs(told) <= fastest * (1 + 1e-9) + 1e-9).all()
            assert (np.abs(told - speed) <= acceleration * (1 + 1e-9) + 1e-9).all()
            assert (arm.position >= low + margin - 1e-9).all()
            assert (arm.position <= high - margin + 1e-9).all()
            speed = told


@pytest.mark.parametrize("event", ["stop", "estop", "impose"])
def test_every_end_state_is_velocity_zero(contract: Contract, event: str) -> None:
    arm = Arm(contract, SafetyConfig(ramp_in_s=0, acceleration_max_rad_s2=20.0))
    for _ in range(10):
        assert arm.tick(np.array([1.5, -1.5])) is Reason.FOLLOWING
    assert arm.safety.target == pytest.approx([1.5, -1.5])
    arm.safety.impose(Reason.OVERRUNS) if event == "impose" else getattr(arm.safety, event)()
    told = []
    for _ in range(6):
        arm.tick(np.array([1.5, -1.5]))
        told.append(arm.safety.target[0])
    # 20 rad/s2 for 0.02 s each.
    assert told == pytest.approx([1.1, 0.7, 0.3, 0.0, 0.0, 0.0], abs=1e-12)
    assert arm.safety.state in {State.STOPPED, State.ESTOP, State.HOLD}


def test_a_joint_found_outside_is_led_back_and_never_further_out(contract: Contract) -> None:
    arm = Arm(contract, SafetyConfig(ramp_in_s=0))
    arm.position = np.array([2.05, -2.53])
    arm.safety.start(arm.position)
    arm.tick(np.array([3.0, -4.0]))
    assert arm.safety.target[0] < 0 < arm.safety.target[1]
    for _ in range(100):
        arm.tick(np.array([3.0, -4.0]))
    assert arm.position == pytest.approx([2.0, -2.5], abs=1e-3)


def test_the_policy_s_own_steps_are_no_corrections(contract: Contract) -> None:
    arm = Arm(contract, SafetyConfig(ramp_in_s=0))
    steps = np.array(contract.action.step_max)
    for count in range(1, 8):
        arm.tick(count * steps)
    assert arm.safety.clamped == 0
    assert arm.safety.target == pytest.approx(7 * steps)


def test_frozen_readings_are_noticed_by_what_a_velocity_would_have_covered(contract: Contract) -> None:
    arm = Arm(contract, SafetyConfig(ramp_in_s=0))
    reasons = []
    for _ in range(12):
        arm.position = np.array([joint.home_position for joint in contract.robot.joints])
        arm.speeds, speeds = np.zeros(2, bool), arm.speeds
        reasons.append(arm.tick(np.array([2.0, 0.0])))
        arm.speeds = speeds
    assert Reason.READING_FROZEN in reasons


def test_the_geometry_is_asked_where_velocities_lead(tmp_path: Path) -> None:
    task = velocity_task(tmp_path)
    config = SafetyConfig(
        ramp_in_s=0, workspace_min_m=(-1, -1, -1), workspace_max_m=(1, 0.42, 1), acceleration_max_rad_s2=10.0
    )
    checker = geometry_checker_for(task.model, task.contract, config)
    arm = Arm(task.contract, config)
    arm.safety.geometry_checker = checker
    tool, data = [], mujoco.MjData(task.model)
    for _ in range(60):
        arm.tick(np.array([2.0, 0.0]))
        data.qpos[:] = arm.position
        mujoco.mj_kinematics(task.model, data)
        tool.append(float(data.site("tool").xpos[1]))
    assert 0.35 < max(tool) <= 0.42 + 1e-9
    assert arm.safety.reason is Reason.TOOL_OUTSIDE
    assert arm.safety.target == pytest.approx([0, 0])
