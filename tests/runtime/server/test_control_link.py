"""Whatever is asked for between two ticks, every goal that was accepted has its record, and its cause."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.control.goal_queue import GoalQueue
from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.gateway.gateway import Gateway
from runtime.goals.progress import GoalProgress
from runtime.inference.policy import Policy
from runtime.ipc.shared_memory import MAX_GOALS, SharedSlots
from runtime.protocol.address import Address
from runtime.protocol.messages import (
    Accepted,
    CancelRequest,
    EstopRequest,
    GoalRequest,
    Refused,
    ReleaseRequest,
    RequestMessage,
    StopRequest,
)
from runtime.protocol.stop_socket import stop_directly
from runtime.server.control_link import ServerExchange
from runtime.server.estop_sources import EstopSources, WatchedExchange
from runtime.status import GoalStatus
from tests.runtime.protocol.test_protocol import gateway_of

POSITION = [0.45, 0.1, 0.45]
BY_CLIENT, BY_STOP, BY_END = "a client cancelled it", "emergency stop", "the server was stopped"


class _NoSupervisor:
    def check(self) -> None:
        """No processes to look after."""


class Served:
    """Gateway, shared memory and control loop in one process, which ticks when it is told to."""

    def __init__(self, policy: Policy) -> None:
        self.slots = SharedSlots.create(policy.contract)
        self.core = PolicyController(policy)
        self.exchange = ServerExchange(self.slots, GoalQueue(self.core), _NoSupervisor())  # type: ignore[arg-type]
        self.loop = Loop(MujocoDriver(policy.contract, DriverOptions(speed=0)), self.core, self.exchange, warm=False)
        self.gateway = self.new_gateway()
        self.tick(2)

    def new_gateway(self) -> Gateway:
        """As after the death of the one before."""
        contract = self.core.contract
        return gateway_of(contract, SharedSlots(self.slots.descriptor, contract))

    def ask(self, request: RequestMessage) -> Accepted:
        reply = self.gateway.answer(request)
        assert isinstance(reply, Accepted), reply
        return reply

    def goal(self, name: str, **options: object) -> int:
        return self.ask(GoalRequest(goal={"position": POSITION, "id": name} | options)).number

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.loop.tick(0)

    @property
    def records(self) -> dict[str, GoalProgress]:
        return {progress.id: progress for progress in self.gateway.goals().goals}

    def fate(self, name: str) -> tuple[str, str]:
        record = self.records[name]
        return record.state, record.reason


@pytest.fixture
def served(policy: Policy) -> Iterator[Served]:
    served = Served(policy)
    yield served
    served.slots.close()


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ([CancelRequest()], BY_CLIENT),
        ([CancelRequest(id="goal")], BY_CLIENT),
        ([EstopRequest()], BY_STOP),
        ([EstopRequest(), ReleaseRequest()], BY_STOP),
        ([CancelRequest(), EstopRequest()], BY_CLIENT),
        ([EstopRequest(), CancelRequest()], BY_STOP),
    ],
)
@pytest.mark.parametrize("queue", [False, True])
@pytest.mark.parametrize("ticks", [0, 1, 3])
@pytest.mark.parametrize("killed", [False, True])
def test_a_goal_is_cancelled_with_its_cause_however_soon(
    served: Served, ends: list[RequestMessage], reason: str, queue: bool, ticks: int, killed: bool
) -> None:
    number = served.goal("goal", queue=queue)
    served.tick(ticks)
    for request in ends:
        if killed:
            served.gateway = served.new_gateway()
        served.ask(request)
    served.tick()
    assert served.fate("goal") == ("cancelled", reason)
    assert served.records["goal"].number == number
    assert not served.records["goal"].in_force
    assert served.core.goal is None
    stopped = EstopRequest() in ends and ReleaseRequest() not in ends
    assert served.gateway.status().state == ("estop" if stopped else "idle")


@pytest.mark.parametrize("ticks", [0, 1])
def test_a_stop_that_is_released_before_the_next_tick_has_ended_the_goal(served: Served, ticks: int) -> None:
    """As the control process's own socket, keys and files stop: after the tick's look at the requests."""
    served.goal("goal")
    served.tick(1 + ticks)
    served.core.estop()
    served.ask(ReleaseRequest())
    served.tick()
    assert served.fate("goal") == ("cancelled", BY_STOP)
    assert (served.gateway.status().state, served.core.goal) == ("idle", None)
    served.goal("next")
    served.tick()
    assert served.records["next"].state == "active"


def test_a_stop_of_the_listener_has_ended_what_came_in_the_same_tick(served: Served) -> None:
    served.goal("goal")
    SharedSlots(served.slots.descriptor, served.core.contract).ask_for_stop()
    served.tick()
    assert served.fate("goal") == ("cancelled", BY_STOP)


def test_the_end_of_the_server_is_the_cause_too(served: Served) -> None:
    served.goal("goal")
    served.ask(StopRequest())
    served.tick()
    assert served.exchange.stop_requested
    served.core.stop()
    served.tick()
    assert served.fate("goal") == ("cancelled", BY_END)


def test_who_asks_again_for_a_cancelled_goal_gets_a_new_one(served: Served) -> None:
    first = served.goal("goal")
    assert served.goal("goal") == first, "as somebody who got no answer"
    served.ask(CancelRequest())
    second = served.goal("goal")
    assert second > first
    served.tick()
    assert [(each.number, each.state) for each in served.gateway.goals().goals] == [
        (first, "cancelled"),
        (second, "active"),
    ]
    refused = served.gateway.answer(CancelRequest(id="none"))
    assert refused == Refused(reason="no goal 'none' is in force or waiting.")
    served.ask(CancelRequest(id="goal"))
    again = served.gateway.answer(CancelRequest(id="goal"))
    assert isinstance(again, Refused), "before the loop has seen it, too"


def test_cancelled_goals_take_nobodys_place_for_longer_than_a_tick(served: Served) -> None:
    for round_ in range(4):
        for number in range(MAX_GOALS):
            served.goal(f"{round_}-{number}", queue=True)
        served.ask(CancelRequest())
        served.tick()
    assert {record.state for record in served.gateway.goals().goals} == {"cancelled"}


def test_who_stops_directly_is_told_what_all_clients_are(served: Served, tmp_path: Path) -> None:
    sources = EstopSources(beside=Address(str(tmp_path / "s")))
    exchange = WatchedExchange(served.exchange, sources)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(stop_directly, tmp_path / "s", timeout_s=60)
        while not asked.done():
            exchange.before_tick(served.core, served.loop._driver)
            exchange.after_tick(served.core, missed_periods=7)
    told, seen = GoalStatus.model_validate_json(asked.result()), served.gateway.status()
    assert told == seen.model_copy(update={"age_s": told.age_s})
    assert (told.state, told.missed_periods) == ("estop", 7)
    assert told.line.endswith("missed 7")
    assert "missed" not in served.core.status().line, "which the core does not count"
    sources.close()
