from __future__ import annotations

import time

import pytest

from runtime.gateway.gateway import Gateway
from runtime.gateway.lease import Authority
from runtime.ipc.shared_memory import SharedSlots
from runtime.protocol.messages import (
    Accepted,
    CancelRequest,
    EstopRequest,
    GoalRequest,
    LeaseReply,
    LeaseRequest,
    Message,
    Refused,
    ReleaseRequest,
    StatusReply,
    StatusRequest,
    StopRequest,
)
from sim2real.contract import Contract
from tests.runtime.protocol.test_protocol import gateway_of

GOAL = {"position": [0.5, 0.1, 0.4]}


@pytest.fixture
def gateway(contract: Contract) -> Gateway:
    return gateway_of(contract, SharedSlots.create(contract))


def acquire(gateway: Gateway, name: str, duration_s: float = 30.0) -> str:
    reply = gateway.answer(LeaseRequest(action="acquire", name=name, duration_s=duration_s))
    assert isinstance(reply, LeaseReply)
    return reply.lease


def refusal(reply: Message) -> str:
    assert isinstance(reply, Refused)
    return reply.reason


def test_without_a_lease_anyone_may_command(gateway: Gateway) -> None:
    assert isinstance(gateway.answer(GoalRequest(goal=GOAL)), Accepted)


@pytest.mark.parametrize("request_", [GoalRequest(goal=GOAL), CancelRequest(), ReleaseRequest(), StopRequest()])
def test_others_are_refused_and_told_whose_lease_it_is(gateway: Gateway, request_: GoalRequest) -> None:
    lease = acquire(gateway, "page")
    for stranger in (None, "0" * 32):
        reply = gateway.answer(request_.model_copy(update={"lease": stranger}))
        assert "'page' holds the lease for another" in refusal(reply)
    assert isinstance(gateway.answer(request_.model_copy(update={"lease": lease})), Accepted)


def test_observers_may_look_and_stop(gateway: Gateway) -> None:
    acquire(gateway, "page")
    status = gateway.answer(StatusRequest())
    assert isinstance(status, StatusReply)
    assert (status.lease_holder, status.lease_remaining_s > 25) == ("page", True)
    assert isinstance(gateway.answer(EstopRequest()), Accepted)


def test_second_client_gets_the_lease_after_the_end_of_the_first(gateway: Gateway) -> None:
    first = acquire(gateway, "first")
    assert "'first' holds" in refusal(gateway.answer(LeaseRequest(action="acquire", name="second")))
    gateway.answer(LeaseRequest(action="end", lease=first))
    second = acquire(gateway, "second")
    assert second != first
    assert "'second' holds" in refusal(gateway.answer(GoalRequest(goal=GOAL, lease=first)))


def test_lease_runs_out_unless_messages_carry_it(gateway: Gateway) -> None:
    lease = acquire(gateway, "page", 0.4)
    until = time.monotonic() + 0.8
    while time.monotonic() < until:
        assert gateway.answer(StatusRequest(lease=lease)).lease_holder == "page"  # type: ignore[union-attr]
        time.sleep(0.05)
    time.sleep(0.5)
    assert "run out" in refusal(gateway.answer(GoalRequest(goal=GOAL, lease=lease)))
    assert "there is no lease" in refusal(gateway.answer(LeaseRequest(action="renew")))
    assert isinstance(gateway.answer(GoalRequest(goal=GOAL)), Accepted)


def test_lease_outlasts_a_restart_of_the_gateway(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    lease = acquire(gateway_of(contract, slots), "page")
    successor = gateway_of(contract, SharedSlots(slots.descriptor, contract))
    assert isinstance(successor.answer(GoalRequest(goal=GOAL, lease=lease)), Accepted)
    assert "'page' holds" in refusal(successor.answer(GoalRequest(goal=GOAL)))


def test_goals_remember_whether_they_were_given_under_a_lease(contract: Contract) -> None:
    slots = SharedSlots.create(contract)
    gateway = gateway_of(contract, slots)
    gateway.answer(GoalRequest(goal=GOAL))
    gateway.answer(GoalRequest(goal=GOAL, lease=acquire(gateway, "page")))
    assert slots.requests.value["goals"]["leased"][0][:2].tolist() == [0, 1]


def test_fast_clients_do_not_write_the_slot_at_every_message(contract: Contract) -> None:
    requests = SharedSlots.create(contract).requests.value[0]
    authority = Authority(requests)
    lease = authority.acquire("page", 30.0)
    assert not authority.renew(lease)
    requests["lease_expires_ns"] -= 20_000_000_000
    assert authority.renew(lease)
    assert authority.remaining_s > 29
