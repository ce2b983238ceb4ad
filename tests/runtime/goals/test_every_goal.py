"""What is asked for comes through messages, shared memory and recordings as it is, whatever kind of goal it is."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.commands.goals import Goal as GoalCommand
from runtime.control.goal_queue import GoalQueue
from runtime.control.loop import Loop
from runtime.control.object_tracker import Tracker
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.gateway.gateway import Gateway
from runtime.goals.markers import markers
from runtime.goals.messages import GoalJoints, GoalPlanar, GoalPose, GoalRefused, parse_any_goal
from runtime.goals.resolve import example_arguments, middle_goal, validate_goal
from runtime.inference.policy import Policy
from runtime.ipc.goal_slots import read_goal
from runtime.ipc.shared_memory import SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.telemetry_reader import TelemetryReader
from runtime.monitoring.telemetry_sink import TelemetrySink
from runtime.protocol.messages import Accepted, GoalRequest, encode, parse_request
from runtime.recording.replay import replay
from runtime.recording.writer import Recorder
from runtime.server.control_link import ServerExchange
from runtime.status import Reason
from sim2real.contract import Contract
from sim2real.logs.recording import read_recording
from tests.runtime.any_policy import write_any_policy
from tests.runtime.every_goal import NAMES, contract_with

NOW = 1_800_000_000.0


def drawn(contract: Contract, seed: int) -> tuple[float, ...]:
    """A request that the contract allows, with unit quaternions."""
    rng, size = np.random.default_rng(seed), contract.goal.layout(contract).size
    draws = rng.uniform(size=(1, size)), rng.normal(size=(1, size))
    return tuple(contract.goal.between(np, contract, *draws, grown=0.999)[0].astype(float).tolist())


def values_of(contract: Contract, request: tuple[float, ...]) -> dict[str, list[float]]:
    return {name: list(request[part]) for name, part in contract.goal.layout(contract).slices.items()}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_values_are_the_request(name: str, seed: int) -> None:
    contract = contract_with(name)
    request = drawn(contract, seed)
    message = parse_any_goal({"values": values_of(contract, request), "id": "a"})
    goal = validate_goal(contract, message, NOW)
    assert goal.request == pytest.approx(request, abs=1e-6)
    assert len(goal.request) == contract.goal.layout(contract).size


@pytest.mark.parametrize("name", NAMES)
def test_a_request_goes_through_line_gateway_and_memory_as_it_is(name: str) -> None:
    contract = contract_with(name)
    slots = SharedSlots.create(contract)
    gateway = Gateway(contract, slots, TelemetryReader(Ring.create(contract), contract))
    message = parse_any_goal({"values": values_of(contract, drawn(contract, 3)), "id": "a"})
    line = encode(GoalRequest(goal=message.model_dump(mode="json", exclude_none=True)))
    request = parse_request(line)
    assert isinstance(gateway.answer(request), Accepted)
    taken = read_goal(slots.requests.value[0]["goals"][0]).goal
    assert taken.request == validate_goal(contract, message, NOW).request
    slots.close()


@pytest.mark.parametrize("name", ["tool_position", "tool_pose", "object_position", "object_pose", "base_pose"])
def test_a_pose_message_is_the_request_of_its_marker(name: str) -> None:
    contract = contract_with(name)
    request = drawn(contract, 5)
    (marker,) = markers(contract, request)
    assert not marker.flat
    given = GoalPose(position=marker.position, orientation_wxyz=marker.orientation_wxyz)
    assert validate_goal(contract, given, NOW).request == pytest.approx(request, abs=1e-6)


@pytest.mark.parametrize("name", ["planar_position", "planar_pose"])
def test_planar_and_pose_messages_are_places_on_the_ground(name: str) -> None:
    contract = contract_with(name)
    request = drawn(contract, 5)
    (marker,) = markers(contract, request)
    assert marker.flat
    assert marker.position[2] == 0
    given = GoalPose(position=marker.position, orientation_wxyz=marker.orientation_wxyz)
    assert validate_goal(contract, given, NOW).request == pytest.approx(request, abs=1e-6)
    assert validate_goal(contract, GoalPlanar(planar=request), NOW).request == pytest.approx(request, abs=1e-6)
    with pytest.raises(GoalRefused, match=r"z=0\.3 m was given, but this policy's goals are on the ground"):
        validate_goal(contract, GoalPose(position=(*request[:2], 0.3)), NOW)


def test_a_base_that_is_to_face_somewhere_is_told_where() -> None:
    with pytest.raises(GoalRefused, match="planar takes x y yaw"):
        validate_goal(contract_with("planar_pose"), GoalPlanar(planar=(1.0, 0.5)), NOW)
    with pytest.raises(GoalRefused, match=r"planar has a yaw, but this policy reaches positions only"):
        validate_goal(contract_with("planar_position"), GoalPlanar(planar=(1.0, 0.5, 0.1)), NOW)
    tilted = GoalPose(position=(0, 0, 0), rpy=(0.5, 0, 0))
    with pytest.raises(GoalRefused, match="about a horizontal axis"):
        validate_goal(contract_with("planar_pose"), tilted, NOW)


def test_joints_are_a_joint_configuration() -> None:
    contract = contract_with("joint_configuration")
    request = drawn(contract, 5)
    joints = GoalJoints(joints=dict(zip(reversed(contract.joint_names), reversed(request), strict=True)))
    assert validate_goal(contract, joints, NOW).request == pytest.approx(request)
    first = contract.joint_names[0]
    with pytest.raises(GoalRefused, match=rf"goal.joints {first}=99 rad is outside its limits"):
        validate_goal(contract, GoalJoints(joints=joints.joints | {first: 99.0}), NOW)
    assert markers(contract, request) == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"goal_fold": [0.5, 1.0]}, r"goal.values.goal_fold has 2 numbers, and must have 1"),
        ({"goal_fold": 9}, r"goal.values.goal_fold=9 rad is outside its limits \[0, 4\] rad"),
        ({"goal_bend": 1}, r"goal.values: no 'goal_bend'; the goals of this policy are goal_fold \[1\]"),
        ({}, r"goal.values.goal_fold is missing, 1 numbers"),
        ({"goal_fold": [math.nan]}, r"goal.values.goal_fold.0: input should be a finite number"),
    ],
)
def test_values_that_make_no_goal_are_refused_by_name(values: dict[str, object], message: str) -> None:
    with pytest.raises(GoalRefused, match=message):
        validate_goal(contract_with("outside"), parse_any_goal({"values": values}), NOW)


def test_a_pose_is_refused_where_goals_are_more_than_one_thing() -> None:
    with pytest.raises(GoalRefused, match="are not one pose; give values of goal_end_effector_position, goal_joint_po"):
        validate_goal(contract_with("together"), GoalPose(position=(0.4, 0, 0.3)), NOW)


class _NoSupervisor:
    def check(self) -> None:
        """No gateway to look after."""


class Served:
    """A served policy in this process: gateway, shared memory, loop, a simulated robot, a recorder."""

    def __init__(self, contract: Contract, policy: Path, record: Path) -> None:
        self.contract, self.slots, self.ring = contract, SharedSlots.create(contract), Ring.create(contract)
        self.core = PolicyController(Policy(policy))
        recorder = Recorder(record, contract, self.core.safety.facts | {"engine": self.core.policy.engine})
        reader = Ring(self.ring.descriptor, contract)
        self.recording = TelemetrySink("recording", recorder.follow(reader), recorder.close)
        self.telemetry = TelemetryReader(reader, contract, sinks=[self.recording])
        slots = SharedSlots(self.slots.descriptor, contract)
        self.gateway = Gateway(contract, slots, self.telemetry)
        self.driver = MujocoDriver(contract, DriverOptions(speed=0))
        exchange = ServerExchange(self.slots, GoalQueue(self.core), _NoSupervisor())  # type: ignore[arg-type]
        tracker = Tracker(contract, self.slots.object, 0.5)
        self.loop = Loop(
            self.driver, self.core, exchange, telemetry=Telemetry(self.ring, self.core), tracker=tracker, warm=False
        )

    def tick(self, count: int) -> None:
        for _ in range(count):
            self.loop.tick(0)

    def close(self) -> None:
        self.telemetry.drain()
        self.recording.close()
        self.driver.close()
        self.ring.close()
        self.slots.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_goal_is_served_reached_recorded_and_replayed(name: str, tmp_path: Path) -> None:
    contract = contract_with(name)
    policy = write_any_policy(tmp_path / "policy.onnx", contract)
    served = Served(contract, policy, tmp_path / "run.mcap")
    served.tick(2)
    request = middle_goal(contract, "any").request
    wide = {"position_tolerance_m": 100.0}
    if any(reading.turned or not reading.axes for reading in contract.goal.readings(contract)):
        wide["angle_tolerance_deg"] = 1e4
    message = {"values": values_of(contract, request), "id": "wide", **wide}
    assert isinstance(served.gateway.answer(GoalRequest(goal=message)), Accepted)
    served.tick(math.ceil(contract.goal.hold_s / contract.timing.control_dt_s) + 3)
    assert served.core.safety.reason is Reason.FOLLOWING
    (progress,) = served.gateway.goals().goals
    assert (progress.state, progress.in_force) == ("reached", True)
    assert {key: list(value) for key, value in progress.values.items()} == values_of(contract, request)
    narrow = {"values": values_of(contract, request), "id": "narrow", "position_tolerance_m": 1e-9}
    assert isinstance(served.gateway.answer(GoalRequest(goal=narrow)), Accepted)
    served.tick(5)
    snapshot = served.telemetry.snapshot(served.gateway.status(), request)
    assert {key: len(value) for key, value in snapshot.readings.items()} == dict(contract.measured.sizes)
    assert json.loads(snapshot.model_dump_json())["goal"] == values_of(contract, request)
    _require_errors(served, request)
    served.close()
    recording = read_recording(tmp_path / "run.mcap")
    assert recording.note == ""
    goals = [m["request"] for topic, m in recording.messages if topic == "/event" and m["kind"] == "goal"]
    assert goals == [list(request)] * 2
    result = replay(tmp_path / "run.mcap", policy)
    assert (result.compared, result.different) == (len(recording.ticks), 0)


def _require_errors(served: Served, request: tuple[float, ...]) -> None:
    """The control loop measures the way to a goal as training does."""
    contract, core = served.contract, served.core
    now = contract.goal.achieved(np, served.loop._readings.named)
    vectors = (contract.goal.vector(np, contract, np.asarray(value, np.float64)) for value in (now, request))
    length, angle = contract.goal.errors(contract, *vectors)
    assert (core.distance_m, core.angle_deg) == pytest.approx((float(length), float(angle)), abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_goal_is_taken_as_it_is_shown(name: str) -> None:
    contract = contract_with(name)
    shown = tyro.cli(GoalCommand, args=example_arguments(contract).split())
    validate_goal(contract, shown.message(), 0.0)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("mobile_base", {"planar": [1, 0]}, "--planar takes x y yaw"),
        ("mobile_base", {"position": [1, 0, 0]}, "give orientation or rpy"),
        ("two_arms", {"position": [1, 0, 0]}, "runtime goal --set goal_left_position=0.475,0.35,0.4 goal_right_pos"),
        ("two_arms", {"planar": [1, 0]}, "runtime goal --set goal_left_position="),
        ("two_arms", {"joints": {"a": 1}}, "runtime goal --set goal_left_position="),
    ],
)
def test_a_goal_of_another_kind_is_answered_with_what_to_give(name: str, data: dict[str, object], said: str) -> None:
    with pytest.raises(GoalRefused, match=said):
        validate_goal(contract_with(name), parse_any_goal(data), 0.0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"orientation": (0, 0, 0, 0)}, "goal: orientation_wxyz has the length 0 and must be a unit quaternion."),
        ({"orientation": (1, 0, 0, 0), "rpy": (0, 0, 0)}, "goal: give orientation_wxyz or rpy, not both."),
        ({"wait": True, "wait_s": -1}, "--wait-s -1: must be a positive time in s."),
        ({"wait": True, "wait_s": math.nan}, "--wait-s nan: must be a positive time in s."),
        ({"wait_s": 3}, "--wait-s 3 goes with --wait; add it, or leave --wait-s out."),
        ({"position": None, "joints": ("a",)}, "--joints: write NAME VALUE NAME VALUE ...; a has no value."),
        ({"position": None, "joints": ("a", "x")}, "--joints a x: must be a number of rad."),
        ({"position": None, "joints": ("a", "1", "a", "2")}, "--joints: a was given twice."),
    ],
)
def test_a_goal_that_cannot_be_is_refused_in_words_before_a_server_is_asked(
    arguments: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    command = GoalCommand(**{"position": (0.5, 0.0, 0.4), "address": str(tmp_path / "nobody"), **arguments})
    with pytest.raises(GoalRefused, match=re.escape(sentence)):
        command.run()
