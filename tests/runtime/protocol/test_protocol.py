from __future__ import annotations

import json
import os
import time
import unicodedata
from contextlib import suppress
from pathlib import Path

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.gateway.gateway import Gateway
from runtime.goals.messages import GoalPose
from runtime.ipc.goal_slots import live_goals
from runtime.ipc.shared_memory import MAX_GOALS, SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.telemetry_reader import TelemetryReader
from runtime.protocol.address import Address, default_address
from runtime.protocol.messages import (
    Accepted,
    CancelRequest,
    DescribeRequest,
    DescriptionReply,
    EstopRequest,
    GoalRequest,
    Refused,
    ReleaseRequest,
    StatusReply,
    StatusRequest,
    StopRequest,
    TelemetryReply,
    TelemetryRequest,
    encode,
    parse_reply,
    parse_request,
)
from runtime.robot.model import shipped_mjcf
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.robots.mjcf import load_mjcf
from sim2real.tasks.task import load_task


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "message"),
        (b"hello\n", "message"),
        (b"[1, 2]\n", "message"),
        (b'{"v":2}\n', "message"),
        (b'{"v":2,"type":"jump"}\n', "jump"),
        (b'{"v":1,"type":"status"}\n', "protocol version 1 is not supported, this side speaks 2"),
        (b'{"v":2,"type":"status","extra":1}\n', "extra"),
        (b'{"v":2,"type":"goal"}\n', "goal"),
        (b'\xff\xfe{"v":2}\n', "message"),
        (b'{"v":2,"type":"goal","goal":' + b"[" * 5000 + b"]" * 5000 + b"}\n", "message"),
    ],
)
def test_malformed_requests_are_answered_by_a_sentence(line: bytes, message: str) -> None:
    with pytest.raises(ShoalError, match=message):
        parse_request(line)


def test_messages_survive_the_wire() -> None:
    request = GoalRequest(goal=GoalPose(position=(0.5, 0.1, 0.4), id="a").model_dump(exclude_none=True))
    line = encode(request)
    assert line.count(b"\n") == 1
    assert json.loads(line)["v"] == 2
    assert parse_request(line) == request.model_copy(update=json.loads(line) and {"goal": json.loads(line)["goal"]})
    assert parse_reply(encode(Accepted(id="a", number=3))) == Accepted(id="a", number=3)


def gateway_of(contract: Contract, slots: SharedSlots) -> Gateway:
    return Gateway(contract, slots, TelemetryReader(Ring.create(contract), contract))


def test_gateway_publishes_goals_and_numbers_them(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    gateway = gateway_of(contract, slots)
    reply = gateway.answer(GoalRequest(goal={"position": [0.5, 0.1, 0.4], "id": "first", "timeout_s": 5}))
    assert reply == Accepted(id="first", number=1)
    written = slots.requests.value[0]["goals"][0]
    assert written["request"].tolist() == [0.5, 0.1, 0.4, *contract.default_orientation_wxyz]
    assert written["valid_for_s"] == 5
    refused = gateway.answer(GoalRequest(goal={"position": [0.5, 0.1, 9]}))
    assert isinstance(refused, Refused)
    assert "z=9" in refused.reason
    assert isinstance(gateway.answer(GoalRequest(goal={"position": "NaN"})), Refused)
    assert gateway.answer(StopRequest()) == Accepted(number=2)
    slots.close()


def test_restarted_gateway_keeps_counting_and_keeps_a_stop(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    gateway_of(contract, slots).answer(StopRequest())
    successor = SharedSlots(slots.descriptor, contract)
    reply = gateway_of(contract, successor).answer(GoalRequest(goal={"position": [0.5, 0.1, 0.4], "id": "x"}))
    assert reply == Accepted(id="x", number=2)
    assert successor.requests.value["stop"][0] == 1
    slots.close()


def test_joint_goals_become_tool_poses(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    gateway = gateway_of(contract, slots)
    home = {joint.name: joint.home_position for joint in contract.robot.joints}
    assert isinstance(gateway.answer(GoalRequest(goal={"joints": home})), Accepted)
    model = load_mjcf(shipped_mjcf(contract.robot.name))
    data = mujoco.MjData(model)
    for name, value in home.items():
        data.joint(name).qpos[0] = value
    mujoco.mj_forward(model, data)
    site = data.site(contract.robot.end_effector_frame)
    written = slots.requests.value[0]["goals"][0]
    np.testing.assert_allclose(written["request"][:3], site.xpos)
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, written["request"][3:])
    np.testing.assert_allclose(rotation, site.xmat, atol=1e-12)


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        ({"fr3_joint1": 0.0}, "must name exactly"),
        ({f"fr3_joint{i}": 9.0 for i in range(1, 8)}, "fr3_joint1=9 rad is outside the joint's limits"),
        ({f"fr3_joint{i}": "x" for i in range(1, 8)}, "goal.joints"),
    ],
)
def test_joint_goals_that_are_refused(contract: Contract, joints: dict, message: str) -> None:
    gateway = gateway_of(contract, SharedSlots.create(contract))
    reply = gateway.answer(GoalRequest(goal={"joints": joints}))
    assert isinstance(reply, Refused)
    assert message in reply.reason


def test_joint_goals_are_refused_by_a_position_policy() -> None:
    contract = load_task("franka_reach").contract
    home = {joint.name: joint.home_position for joint in contract.robot.joints}
    reply = gateway_of(contract, SharedSlots.create(contract)).answer(GoalRequest(goal={"joints": home}))
    assert isinstance(reply, Refused)
    assert "positions only" in reply.reason


def test_cancelling_by_id_and_unknown_ids(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    gateway = gateway_of(contract, slots)
    for name in ("a", "b"):
        gateway.answer(GoalRequest(goal={"position": [0.5, 0.1, 0.4], "id": name, "queue": True}))
    assert gateway.answer(CancelRequest(id="a")) == Accepted(number=3)
    requests = slots.requests.value[0]
    assert requests["goals"]["number"][live_goals(requests)].tolist() == [2]
    reply = gateway.answer(CancelRequest(id="a"))
    assert isinstance(reply, Refused)
    assert "no goal 'a'" in reply.reason


def test_goal_that_is_asked_for_again_is_taken_once(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    goal = {"position": [0.5, 0.1, 0.4], "id": "a", "queue": True}
    assert gateway_of(contract, slots).answer(GoalRequest(goal=goal)) == Accepted(id="a", number=1)
    # The answer was lost with the gateway; the client asks its successor.
    successor = gateway_of(contract, SharedSlots(slots.descriptor, contract))
    assert successor.answer(GoalRequest(goal=goal)) == Accepted(id="a", number=1)
    assert successor.answer(GoalRequest(goal=goal | {"speed": 0.5})) == Accepted(id="a", number=2)


def test_full_queue_is_refused(contract: Contract) -> None:
    gateway = gateway_of(contract, SharedSlots.create(contract))
    goal = {"position": [0.5, 0.1, 0.4], "queue": True}
    for number in range(MAX_GOALS):
        assert isinstance(gateway.answer(GoalRequest(goal=goal | {"id": f"g{number}"})), Accepted)
    reply = gateway.answer(GoalRequest(goal=goal))
    assert isinstance(reply, Refused)
    assert f"{MAX_GOALS} goals" in reply.reason


def test_silent_control_loop_is_told_instead_of_a_goal_lost(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    slots.status.value["written_ns"] = time.monotonic_ns() - 5_000_000_000
    slots.status.write()
    successor = gateway_of(contract, SharedSlots(slots.descriptor, contract))
    reply = successor.answer(GoalRequest(goal={"position": [0.5, 0.1, 0.4]}))
    assert isinstance(reply, Refused)
    assert "has not ticked for 5.0 s" in reply.reason


@settings(max_examples=100)
@given(text=st.text(max_size=40))
def test_a_reply_holds_nothing_that_a_terminal_would_obey(text: str) -> None:
    reply = parse_reply(encode(Refused(reason=text)))
    assert isinstance(reply, Refused)
    assert not any(unicodedata.category(character) == "Cc" for character in reply.reason)
    expected = "".join("\ufffd" if unicodedata.category(c) == "Cc" else c for c in text)
    assert reply.reason == expected


@settings(max_examples=100)
@given(line=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_request_or_a_sentence(line: bytes) -> None:
    with suppress(ShoalError):
        assert parse_request(line).v == 2


CONTRACT = load_task("franka_pose").contract
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=60)
@given(goal=st.dictionaries(st.sampled_from([*GoalPose.model_fields, "joints", "values", "x"]), VALUES, max_size=6))
def test_any_goal_is_answered(goal: dict) -> None:
    slots = SharedSlots.create(CONTRACT)
    reply = gateway_of(CONTRACT, slots).answer(GoalRequest(goal=goal))
    assert isinstance(reply, Accepted | Refused)
    assert np.isfinite(slots.requests.value[0]["goals"]["request"]).all()
    slots.close()


def test_emergency_stop_refuses_goals_until_the_release_also_after_a_restart(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    goal = GoalRequest(goal={"position": [0.5, 0.1, 0.4], "id": "x"})
    gateway_of(contract, slots).answer(EstopRequest())
    successor = gateway_of(contract, SharedSlots(slots.descriptor, contract))
    refused = successor.answer(goal)
    assert isinstance(refused, Refused)
    assert "release it first" in refused.reason
    assert successor.answer(ReleaseRequest()) == Accepted(number=2)
    assert successor.answer(goal) == Accepted(id="x", number=3)
    slots.close()


def test_telemetry_before_the_first_tick_is_empty_and_the_description_whole(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    gateway = gateway_of(contract, slots)
    reply = parse_reply(encode(gateway.answer(TelemetryRequest())))
    assert isinstance(reply, TelemetryReply)
    assert reply.telemetry.joint_position == ()
    assert reply.telemetry.joint_names == contract.joint_names
    description = parse_reply(encode(gateway.answer(DescribeRequest())))
    assert isinstance(description, DescriptionReply)
    assert description.contract == contract
    slots.close()


def test_status_before_the_first_tick_is_json(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    slots.status.value["distance_m"] = float("nan")
    reply = parse_reply(encode(gateway_of(contract, slots).answer(StatusRequest())))
    assert isinstance(reply, StatusReply)
    assert (reply.status.state, reply.status.ticks) == ("idle", 0)
    slots.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tcp://0.0.0.0:5000", "not the loopback interface"),
        ("tcp://robot.local:5000", "not the loopback interface"),
        ("tcp://127.0.0.1", "not HOST:PORT"),
        ("tcp://127.0.0.1:99999", "not HOST:PORT"),
        ("/tmp/" + "x" * 120, "too long"),
    ],
)
def test_addresses_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(ShoalError, match=message):
        Address(text)


def test_addresses() -> None:
    assert str(Address("tcp://127.0.0.1:5000")) == "tcp://127.0.0.1:5000"
    assert str(Address("tcp://[::1]:5000")) == "tcp://[::1]:5000"
    assert Address("unix:///run/a.sock").path == Path("/run/a.sock")


def test_default_address_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = default_address().path
    assert path == tmp_path / "shoal" / "runtime.sock"
    assert (tmp_path / "shoal").stat().st_mode & 0o077 == 0
    (tmp_path / "shoal").chmod(0o777)
    with pytest.raises(ShoalError, match="open to other users"):
        default_address()


def test_default_address_where_the_runtime_folder_is_not_this_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    others = tmp_path / "others"
    others.mkdir()
    if os.getuid() == 0:
        os.chown(others, 12345, 12345)
    for elsewhere in (tmp_path / "missing", others if os.getuid() == 0 else Path("/")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(elsewhere))
        assert default_address().path == tmp_path / f"shoal-{os.getuid()}" / "runtime.sock"
