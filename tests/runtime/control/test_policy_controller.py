"""What the controller tells a policy by itself: the phase of a clock, which no driver delivers."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from runtime.control.policy_controller import PolicyController
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.robot.readings import Readings
from sim2real.contract import Contract
from sim2real.tasks.task import load_task
from sim2real.terms.motion import PhaseClock
from tests.runtime.small_policy import write_policy


def test_a_clock_runs_with_the_controllers_time_and_no_driver_has_to_tell_it(tmp_path: Path) -> None:
    plain = load_task("franka_reach").contract
    clock = PhaseClock(name="beat", size=2, unit="1", frame="clock", period_s=0.5)
    contract = Contract.model_validate(
        plain.model_dump() | {"readings": [*plain.model_dump()["readings"], clock.model_dump()]}
    )
    policy = Policy(write_policy(tmp_path / "clocked.onnx", contract))
    core, readings = PolicyController(policy), Readings(contract)
    assert "beat" not in readings.named
    readings.joint_position[:] = [joint.home_position for joint in contract.robot.joints]
    readings.end_effector_position[:] = [0.4, 0.0, 0.4]
    readings.end_effector_orientation[:] = [0, 1, 0, 0]
    goal = GoalPose(position=(0.5, 0.0, 0.4))
    core.set_goal(validate_goal(contract, goal, time.time()), number=1, now_s=10.0)
    out = np.zeros(7)
    for now_s in (10.0, 10.04, 10.4, 11.05):
        readings.time_s = now_s
        assert core.step(readings, now_s, out)
        phase = 2 * np.pi * now_s / 0.5
        assert policy.inputs["beat"] == pytest.approx([np.sin(phase), np.cos(phase)], abs=1e-4)
