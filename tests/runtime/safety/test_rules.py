"""Every rule by the fault that it names: in the controller, in the policy server, and in a driver's check."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.policy_server.packets import input_names
from runtime.policy_server.session import Session
from runtime.robot.layout import Kind, Layout
from runtime.robot.readings import Readings
from runtime.safety import SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.safety.rules import READING_RULES, RULES
from runtime.safety.rules.base import Fault, ReadingRule
from runtime.safety.watch import ReadingWatch
from runtime.status import Reason, State
from sim2real.contract import Contract
from sim2real.tasks.task import load_task
from tests.runtime.small_policy import write_policy

TASK = load_task("franka_pose")
CHECKER = geometry_checker_for(TASK.model, TASK.contract, SafetyConfig())
BEFORE, AFTER = 15, 60
ARM = load_task("franka_push").contract
CASES = [
    pytest.param(rule, fault, id=fault.name) for rule in READING_RULES if rule.applies(ARM) for fault in rule.faults
]
"""Of arms; what only a base that moves can meet is in `rules.test_odometry`."""
NAMED = {
    "degrees": r"joint_position fr3_joint\d is -?\d+\.?\d* rad, and must be .* degrees",
    "millimetres": r"end_effector_position . is .* m, and must be .* millimetres",
    "too fast": r"joint_velocity fr3_joint7 is 1e\+30 rad/s",
    "zero quaternion": r"end_effector_orientation is \(0, 0, 0, 0\), of length 0, and must be a unit quaternion",
    "unnormalised quaternion": r"of length 2, and must be a unit quaternion wxyz",
    "tool stuck": r"end_effector_position is \(0, 0, 0\), .* m from \(.*\), where the joints put it",
    "tool elsewhere": r"end_effector_position is .*, 0\.3 m from",
    "xyzw": r"end_effector_orientation is .* deg from .* is it wxyz",
    "reversed velocity": r"joint_velocity fr3_joint\d is .* sign, unit and joint, and that time_s counts seconds",
    "no velocity": r"joint_velocity fr3_joint\d is 0 rad/s; its velocities lead .* away",
    "object far away": r"object_position x is \d+ m, and must be .* millimetres",
    "object jumps": r"object_position is .* 0\.5 m from where it was",
    "effort": r"joint_effort fr3_joint7 is 1e\+04, and may be 12",
}


class Robot:
    """A simulated robot on its way to a goal, in whose readings something can be spoilt."""

    def __init__(self, policy: Policy) -> None:
        self.contract = contract = policy.contract
        self.driver = MujocoDriver(contract, DriverOptions(speed=0))
        checker = geometry_checker_for(self.driver.model, contract, SafetyConfig())
        self.core = PolicyController(policy, geometry_checker=checker)
        self.readings, self.command = Readings.of(contract), np.zeros(len(contract.joint_names))
        goal = validate_goal(contract, far_goal(contract), 0.0)
        self.core.set_goal(goal, number=1, now_s=0.0)

    def ticks(self, count: int, fault: Fault | None = None) -> Iterator[Reason]:
        spoil = fault.make() if fault is not None else lambda out: None
        for _ in range(count):
            self.driver.read(self.readings)
            spoil(self.readings)
            if self.core.step(self.readings, self.driver.now_s(), self.command):
                self.driver.write(self.command)
            yield self.core.safety.reason


def far_goal(contract: Contract) -> GoalPose:
    low, high = contract.goal.position_min_m, contract.goal.position_max_m
    x, y, z = (a + share * (b - a) for a, b, share in zip(low, high, (0.5, 0.95, 0.5), strict=True))
    return GoalPose(position=(x, y, z))


@pytest.fixture(scope="module")
def shipped() -> dict[bool, Policy]:
    """By whether it moves an object."""
    models = Path(__file__).parents[3] / "models"
    return {False: Policy(models / "franka_pose.onnx"), True: Policy(models / "franka_push.onnx")}


@pytest.mark.parametrize(("rule", "fault"), CASES)
def test_a_fault_is_noticed_named_and_gone_when_it_is_over(
    rule: type[ReadingRule], fault: Fault, shipped: dict[bool, Policy]
) -> None:
    robot = Robot(shipped[rule.about_object])
    assert set(robot.ticks(BEFORE)) == {Reason.FOLLOWING}
    for reason in robot.ticks(fault.ticks, fault):
        if reason is not Reason.FOLLOWING:
            break
    assert robot.core.safety.state is rule.reasons[0].state
    sentence = robot.core.status().reason
    assert sentence.startswith(reason.sentence)
    assert sentence != reason.sentence or fault.name == "object lost"
    if fault.name in NAMED:
        assert re.search(NAMED[fault.name], sentence), sentence
    assert list(robot.ticks(AFTER))[-1] is Reason.FOLLOWING
    assert robot.core.status().reason == Reason.FOLLOWING.sentence


@pytest.mark.parametrize(("rule", "fault"), CASES)
def test_the_policy_server_holds_and_explains(
    rule: type[ReadingRule], fault: Fault, shipped: dict[bool, Policy]
) -> None:
    policy = shipped[rule.about_object]
    robot = Robot(policy)
    session = Session(policy, geometry_checker=robot.core.safety.geometry_checker)
    session.request["goal_position"][:] = far_goal(policy.contract).position
    session.request["goal_orientation"][:] = math.nan
    readings, spoil, states = robot.readings, fault.make(), []
    for tick in range(BEFORE + fault.ticks):
        robot.driver.read(readings)
        if tick >= BEFORE:
            spoil(readings)
        for name in input_names(session.request_record.dtype):
            if not name.startswith("goal"):
                session.request[name][:] = getattr(readings, name)
        session.answer(readings.time_s, 0.0, reset=False)
        states.append(State(int(session.reply["state"][0])))
        robot.driver.write(session.reply["command"])
    assert set(states[:BEFORE]) <= {State.RAMP_IN, State.ACTIVE}
    assert rule.reasons[0].state in states[BEFORE:]


def test_every_rule_that_judges_readings_shows_that_it_does() -> None:
    by_chaos_alone = {"clock jumps", "stale readings", "order of readings", "frozen readings", "tracking"}
    about_what_chaos_cannot_break = {"upright", "base's height"}
    assert {rule.name for rule in READING_RULES if not rule.faults} == by_chaos_alone | about_what_chaos_cannot_break


def test_every_reason_of_a_reading_belongs_to_one_rule() -> None:
    given = [reason for rule in RULES for reason in rule.reasons if reason is not Reason.READING_NOT_FINITE]
    assert len(set(given)) == len(given)
    others = {reason for reason in Reason if reason.name.startswith(("READING", "OBJECT", "ODOMETRY", "VELOCITY"))}
    assert others - set(given) == {Reason.READING_NOT_FINITE}


@pytest.mark.parametrize("task", ["franka_pose", "franka_push"])
def test_the_layout_is_that_of_the_readings(task: str) -> None:
    contract = load_task(task).contract
    readings, layout = Readings.of(contract), Layout.of(contract)
    readings.vector[:] = np.arange(readings.vector.size)
    seen = []
    for part in layout.parts:
        np.testing.assert_array_equal(getattr(readings, part.name), readings.vector[part.entries])
        assert len(part.labels) == len(part.units) == readings.vector[part.entries].size
        seen += readings.vector[part.entries].tolist()
    assert seen == readings.vector.tolist()
    assert [part.name for part in layout.of_kind(Kind.ROTATION)] == ["end_effector_orientation"]
    assert bool(layout.of_kind(Kind.POSITION, tracked=True)) == (contract.tracked is not None)


@settings(max_examples=25, deadline=None)
@given(
    late=st.integers(-2, 2),
    tool_late=st.integers(-2, 1),
    bias=st.floats(-0.03, 0.03),
    calibration=st.floats(-0.05, 0.05),
    share=st.floats(0.05, 1),
    rate=st.floats(6, 10),
)
@example(late=1, tool_late=1, bias=0.0, calibration=0.0, share=1.0, rate=6.0)
@example(late=2, tool_late=1, bias=-0.03, calibration=0.05, share=1.0, rate=6.0)
@example(late=2, tool_late=-2, bias=0.03, calibration=-0.05, share=1.0, rate=10.0)
@example(late=-2, tool_late=-2, bias=0.03, calibration=0.05, share=1.0, rate=6.0)
def test_what_real_robots_do_is_no_fault(
    late: int, tool_late: int, bias: float, calibration: float, share: float, rate: float
) -> None:
    """Velocities two periods older or newer than the positions, a tool two older or one newer, a velocity bias, a
    camera that is off, while the joints turn round at full speed.
    """
    contract, checker = TASK.contract, CHECKER
    assert checker is not None
    watch, period = ReadingWatch(contract, SafetyConfig()), contract.timing.control_dt_s
    home = np.array([joint.home_position for joint in contract.robot.joints])
    fastest = share * np.array([joint.velocity_max for joint in contract.robot.joints])
    readings = Readings.of(contract)

    def position(tick: int) -> np.ndarray:
        return home + fastest / rate * (1 - np.cos(rate * tick * period)) * np.array([1, 0.2, 1, 0.1, 1, 0.1, 1])

    for tick in range(80):
        there = tick + late
        readings.joint_position[:] = position(tick)
        readings.joint_velocity[:] = (position(there + 1) - position(there - 1)) / (2 * period) + bias
        pose = checker.tool_pose(position(tick + tool_late).tolist())
        place, turn = pose[:3], pose[3:]
        readings.end_effector_position[:] = np.add(place, (calibration, 0.0, 0.0))
        readings.end_effector_orientation[:] = turn
        readings.time_s = tick * period
        reason = watch.check(
            readings, readings.time_s, readings.joint_position, started=True, yielding=False, checker=checker
        )
        assert (tick, reason, watch.detail) == (tick, Reason.FOLLOWING, "")


def test_a_clock_that_jumps_back_beside_old_readings_is_over_with_the_next_good_ones(tmp_path: Path) -> None:
    """They must not be taken for older than those of the time before, for ever."""
    contract = TASK.contract
    policy = Policy(write_policy(tmp_path / "student.onnx", contract))
    robot = Robot(policy)
    set(robot.ticks(BEFORE))
    jumped_s, old_s = -100.0, robot.readings.time_s
    reasons = []
    for tick in range(4):
        robot.driver.read(robot.readings)
        now_s = robot.driver.now_s() + jumped_s
        robot.readings.time_s = old_s if tick == 0 else now_s
        robot.core.step(robot.readings, now_s, robot.command)
        reasons.append(robot.core.safety.reason)
    assert reasons == [Reason.CLOCK_JUMPED, *[Reason.FOLLOWING] * 3]
