from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.gateway import Gateway
from runtime.goals import GoalPose
from runtime.protocol import (
    Accepted,
    Address,
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
    default_address,
    encode,
    parse_reply,
    parse_request,
)
from runtime.shared_memory import SharedSlots
from runtime.telemetry import Ring
from runtime.watch import Watch
from sim2real.contract import Contract
from sim2real.errors import ShoalError


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
    return Gateway(contract, slots, Watch(Ring.create(len(contract.joint_names)), contract))


def test_gateway_publishes_goals_and_numbers_them(contract: Contract) -> None:
    slots = SharedSlots.create()
    gateway = gateway_of(contract, slots)
    reply = gateway.answer(GoalRequest(goal={"position": [0.5, 0.1, 0.4], "id": "first", "timeout_s": 5}))
    assert reply == Accepted(id="first", number=1)
    assert slots.goal.value["position"][0].tolist() == [0.5, 0.1, 0.4]
    assert slots.goal.value["valid_for_s"][0] == 5
    refused = gateway.answer(GoalRequest(goal={"position": [0.5, 0.1, 9]}))
    assert isinstance(refused, Refused)
    assert "z=9" in refused.reason
    assert isinstance(gateway.answer(GoalRequest(goal={"position": "NaN"})), Refused)
    assert gateway.answer(StopRequest()) == Accepted(number=2)
    slots.close()


def test_restarted_gateway_keeps_counting_and_keeps_a_stop(contract: Contract) -> None:
    slots = SharedSlots.create()
    gateway_of(contract, slots).answer(StopRequest())
    successor = SharedSlots(slots.descriptor)
    reply = gateway_of(contract, successor).answer(GoalRequest(goal={"position": [0.5, 0.1, 0.4], "id": "x"}))
    assert reply == Accepted(id="x", number=2)
    assert successor.goal.value["stop"][0] == 1
    slots.close()


def test_emergency_stop_refuses_goals_until_the_release_also_after_a_restart(contract: Contract) -> None:
    slots = SharedSlots.create()
    goal = GoalRequest(goal={"position": [0.5, 0.1, 0.4], "id": "x"})
    gateway_of(contract, slots).answer(EstopRequest())
    successor = gateway_of(contract, SharedSlots(slots.descriptor))
    refused = successor.answer(goal)
    assert isinstance(refused, Refused)
    assert "release it first" in refused.reason
    assert successor.answer(ReleaseRequest()) == Accepted(number=2)
    assert successor.answer(goal) == Accepted(id="x", number=3)
    slots.close()


def test_telemetry_before_the_first_tick_is_empty_and_the_description_whole(contract: Contract) -> None:
    slots = SharedSlots.create()
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
    slots = SharedSlots.create()
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
