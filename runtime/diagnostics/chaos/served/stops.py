"""Emergency stops of a served robot, on this machine and from another one, while everything else fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from runtime.diagnostics.chaos.scenario import Scenario, Subject
from runtime.diagnostics.chaos.served.attackers import attack
from runtime.diagnostics.chaos.served.server import Served, Server, goal_within
from runtime.protocol.client import Client
from runtime.status import State
from sim2real.child_process import free_port
from sim2real.errors import ShoalError

_PATIENCE_S = 60.0

Disturbance = Callable[[Server, str], AbstractContextManager[None]]
"""What is under way while the robot is stopped; with the address on TCP."""


def stop_scenarios() -> Iterator[Scenario]:
    """Scenarios with a served robot in processes of its own."""
    for name, fault, disturbance, survives in (
        ("stop among the silent", "200 clients connect and say nothing", _crowds("silent"), True),
        ("stop in a flood", "clients send goals as fast as they are taken", _crowds("pipelined goals"), True),
        ("stop among the deaf", "200 clients ask over and over and read nothing", _crowds("busy crowd"), True),
        ("stop without a gateway", "the gateway is suspended", _struck(signal.SIGSTOP, gateway=True), False),
        ("stop without a listener", "the listener is killed", _struck(signal.SIGKILL, listener=True), False),
        ("stop with a stuck listener", "the listener is suspended", _struck(signal.SIGSTOP, listener=True), False),
        (
            "stop without any process",
            "gateway and listener are suspended",
            _struck(signal.SIGSTOP, gateway=True, listener=True),
            False,
        ),
    ):
        yield Scenario(
            name,
            f"{fault}; one client on this machine and one on TCP stop the robot",
            "estop" if survives else "estop; what does not answer is replaced",
            frozenset({State.ESTOP}),
            run_served=_stopped_during(disturbance, survives=survives),
        )


def _stopped_during(disturbance: Disturbance, *, survives: bool) -> Callable[[Subject, Path], Served]:
    """`survives` says that listener and gateway must do so."""

    def run(robot: Subject, folder: Path) -> Served:
        place = f"127.0.0.1:{free_port()}"
        problems: list[str] = []
        with Server(robot, folder, "--listen", place) as server, server.client() as client:
            client.send_goal(goal_within(robot, 0.8))
            before = server.listener(), server.gateway()
            ways = (str(server.socket), f"tcp://{place}")
            with disturbance(server, ways[1]):
                for way in ways:
                    problems += _stop(way, client)
            after = server.listener(), server.gateway()
            if survives and after != before:
                problems.append("listener or gateway had to be replaced")
            return State.ESTOP if client.status().state == "estop" else State.ACTIVE, problems

    return run


def _stop(address: str, steward: Client) -> list[str]:
    """Release what was stopped before, and stop anew."""
    try:
        if steward.status().state == "estop":
            steward.release()
        with Client(address, timeout_s=_PATIENCE_S) as client:
            state = client.estop().state
    except ShoalError as error:
        return [f"{address}: {error}"]
    return [] if state == "estop" else [f"{address}: {state} after the stop"]


def _crowds(name: str) -> Disturbance:
    @contextmanager
    def under_attack(server: Server, remote: str) -> Iterator[None]:
        with ExitStack() as stack:
            for address in (str(server.socket), remote):
                stack.enter_context(attack(name, address))
            yield

    return under_attack


def _struck(number: signal.Signals, *, gateway: bool = False, listener: bool = False) -> Disturbance:
    @contextmanager
    def struck(server: Server, remote: str) -> Iterator[None]:
        pids = [pid for pid, wanted in ((server.gateway(), gateway), (server.listener(), listener)) if wanted]
        for pid in pids:
            os.kill(pid, number)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    return struck
