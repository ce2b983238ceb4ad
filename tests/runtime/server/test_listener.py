"""The listener process by itself: no gateway answers, and the control loop is a thread that obeys."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.gateway.config import GatewayConfig
from runtime.ipc.shared_memory import SharedSlots
from runtime.protocol.address import Address
from runtime.protocol.client import Client
from runtime.protocol.listening import Listening
from runtime.protocol.messages import MAX_LINE_BYTES
from runtime.server import listener
from runtime.server.listener import MAX_SILENT, Listener
from runtime.status import Reason, State
from sim2real.child_process import free_port
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from tests.runtime.page.browsers import wait_until

PATIENCE_S = 60
TOKEN = "0123456789abcdef"
ESTOP, STATUS = b'{"v":2,"type":"estop"}\n', b'{"v":2,"type":"status"}\n'
HELLO = b'{"v":2,"type":"hello","token":"%s"}\n' % TOKEN.encode()


class NoGateway:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[tuple[int, bytes]] = []
        self._kept: list[socket.socket] = []

    def check(self, release: Callable[[], None]) -> None:
        pass

    def hand_over(self, connection: socket.socket, address: int, begun: bytes) -> None:
        self.given.append((address, begun))
        self._kept.append(connection.dup())

    def close(self) -> None:
        for connection in self._kept:
            connection.close()


class Obedient:
    """A control loop that does nothing but stop."""

    def __init__(self, slots: SharedSlots) -> None:
        self._slots = slots
        self.obeys = True
        self.stops = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        slot = self._slots.status
        while not self._ended.wait(0.001):
            if self.obeys:
                self.stops = self._slots.stops
            record = slot.value[0]
            record["stops"], record["written_ns"] = self.stops, time.monotonic_ns()
            record["state"], record["reason"] = (
                (State.ESTOP, Reason.ESTOP) if self.stops else (State.ACTIVE, Reason.FOLLOWING)
            )
            slot.write()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


class Rig:
    """A listener in a thread, on a Unix socket and on TCP with a token."""

    def __init__(self, contract: Contract, folder: Path) -> None:
        self.path, self.tcp = folder / "s", f"tcp://127.0.0.1:{free_port()}"
        self._listening = [Listening(Address(text), option="") for text in (str(self.path), self.tcp)]
        self._slots = SharedSlots.create(contract)
        config = GatewayConfig(
            contract=contract,
            descriptor=self._slots.descriptor,
            listening=tuple(tuple(os.dup(s.fileno()) for s in one.sockets) for one in self._listening),
            display="none",
            telemetry=-1,
            token=TOKEN,
        )
        self.loop, self.gateway = Obedient(SharedSlots(self._slots.descriptor, contract)), NoGateway()
        control, self._end = os.pipe()
        self._control = control
        self.listener = Listener(config, SharedSlots(self._slots.descriptor, contract), self.gateway, control)
        self._thread = threading.Thread(target=self.listener.run)
        self._thread.start()

    def connect(self, address: str | None = None) -> socket.socket:
        return Address(address or str(self.path)).connect(PATIENCE_S)

    def close(self) -> None:
        os.close(self._end)
        self._thread.join()
        self.listener.close()
        os.close(self._control)
        self.loop.end()
        for one in self._listening:
            one.close()
        self._slots.close()


@pytest.fixture
def rig(contract: Contract, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(contract, tmp_path)
    yield rig
    rig.close()


def lines(connection: socket.socket, number: int) -> list[dict]:
    with connection.makefile("rb") as stream:
        return [json.loads(stream.readline()) for _ in range(number)]


def closed(connection: socket.socket) -> bool:
    """Whether the other side ends the connection, sooner or later, without another word."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("remote", [False, True])
def test_stop_needs_no_gateway(rig: Rig, remote: bool) -> None:
    address = rig.tcp if remote else str(rig.path)
    with Client(address, token=TOKEN, timeout_s=PATIENCE_S) as client:
        assert client.estop().state == "estop"
    assert rig.loop.stops == 1
    assert rig.gateway.given == []


def test_stop_is_confirmed_once_it_is_in_force(rig: Rig) -> None:
    rig.loop.obeys = False
    with rig.connect() as connection:
        connection.sendall(ESTOP + STATUS)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(PATIENCE_S)
        rig.loop.obeys = True
        accepted, status = lines(connection, 2)
    assert (accepted["type"], status["status"]["state"]) == ("accepted", "estop")


def test_loop_that_does_not_obey_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_IN_FORCE_S", 0.05)
    rig.loop.obeys = False
    with rig.connect() as connection:
        connection.sendall(ESTOP)
        reason = lines(connection, 1)[0]["reason"]
        assert "the control loop has not taken the stop" in reason
        assert "in force with the loop's next tick" in reason
        assert closed(connection)
    # As it says.
    rig.loop.obeys = True
    wait_until(lambda: rig.loop.stops == 1, "the stop")


def test_silent_connections_keep_no_stop_out(rig: Rig) -> None:
    # Ends of both sides are in this process, which an ordinary user lets have 1,024 descriptors.
    many = MAX_SILENT + 32
    silent = [rig.connect() for _ in range(many)]
    earlier = rig.connect()
    silent += [rig.connect(rig.tcp) for _ in range(many)]
    for address in (None, rig.tcp):
        with rig.connect(address) as connection:
            connection.sendall((HELLO if address else b"") + ESTOP)
            assert [reply["type"] for reply in lines(connection, 2 if address else 1)][-1] == "accepted"
    assert closed(silent[0])
    assert closed(silent[many])
    # Strangers on TCP take no place of this machine's own clients.
    earlier.sendall(ESTOP)
    assert lines(earlier, 1)[0]["type"] == "accepted"
    for connection in (*silent, earlier):
        connection.close()


def test_connections_that_ask_for_nothing_have_a_deadline(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_FIRST_REQUEST_S", 0.1)
    monkeypatch.setattr(listener, "_HELLO_S", 0.1)
    for address, said in ((None, b""), (None, b'{"v":2,'), (rig.tcp, b""), (rig.tcp, HELLO), (None, ESTOP)):
        with rig.connect(address) as connection:
            connection.sendall(said)
            if said.endswith(b"\n"):
                lines(connection, 1)
            assert closed(connection)


def test_everything_else_goes_to_the_gateway_with_all_that_was_said(rig: Rig) -> None:
    said = b'{"v":2,"type":"goals"}\n' + ESTOP + b'{"v":2,'
    for address, hello in ((None, b""), (rig.tcp, HELLO)):
        with rig.connect(address) as connection:
            connection.sendall(hello)
            if hello:
                assert lines(connection, 1)[0]["type"] == "welcome"
            connection.sendall(said)
            until(lambda: any(begun.startswith(said[:20]) for _, begun in rig.gateway.given))
        ((address_number, begun),) = rig.gateway.given
        assert address_number == (1 if address else 0)
        # What follows the first line may come later, with the connection.
        assert said.startswith(begun)
        rig.gateway.given.clear()
    assert rig.loop.stops == 0


@pytest.mark.parametrize(
    "line", [b"rubbish\n", STATUS, b'{"v":1,"type":"estop"}\n', b'{"v":2,"type":"estop","a":1}\n', b"\n"]
)
def test_what_is_no_stop_is_the_gateways_to_judge(rig: Rig, line: bytes) -> None:
    with rig.connect() as connection:
        connection.sendall(line)
        until(lambda: rig.gateway.given == [(0, line)])
    assert rig.loop.stops == 0


def test_nothing_is_served_before_the_right_token(rig: Rig) -> None:
    wrong = b'{"v":2,"type":"hello","token":"fedcba9876543210"}\n'
    for said in (ESTOP, wrong + ESTOP, STATUS, b"rubbish\n"):
        with rig.connect(rig.tcp) as connection:
            connection.sendall(said)
            assert "wants the right token first" in lines(connection, 1)[0]["reason"]
            assert closed(connection)
    assert rig.loop.stops == 0
    assert rig.gateway.given == []
    with pytest.raises(ShoalError, match="wants the right token first"):
        Client(rig.tcp, timeout_s=PATIENCE_S).estop()


def test_line_without_an_end_is_refused(rig: Rig) -> None:
    with rig.connect() as connection:
        try:
            connection.sendall(b"x" * (4 * MAX_LINE_BYTES))
        except ConnectionError:
            return
        assert "at most 65536 bytes" in lines(connection, 1)[0]["reason"]


def test_client_that_has_said_all_hears_that_its_stop_is_in_force(rig: Rig) -> None:
    rig.loop.obeys = False
    with rig.connect() as connection:
        connection.sendall(ESTOP)
        connection.shutdown(socket.SHUT_WR)
        until(lambda: rig.loop._slots.stops == 1)
        rig.loop.obeys = True
        assert lines(connection, 1)[0]["type"] == "accepted"
        assert closed(connection)


def test_flood_after_a_stop_is_cut_off(rig: Rig) -> None:
    rig.loop.obeys = False
    with rig.connect() as connection:
        connection.sendall(ESTOP)
        connection.settimeout(0.3)
        with pytest.raises(OSError, match=r"timed out|Broken pipe|reset"):
            connection.sendall(b"x" * (100 * MAX_LINE_BYTES))
    rig.loop.obeys = True
    with rig.connect() as connection:
        connection.sendall(ESTOP)
        assert lines(connection, 1)[0]["type"] == "accepted"
    assert rig.loop.stops == 2


def test_one_who_only_asks_for_the_status_goes_to_the_gateway_in_the_end(rig: Rig) -> None:
    with rig.connect() as connection:
        connection.sendall(ESTOP + STATUS * 100)
        until(lambda: len(rig.gateway.given) == 1)
        assert lines(connection, 10)[-1]["status"]["state"] == "estop"


def test_without_descriptors_the_oldest_silent_one_gives_way(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = [rig.connect() for _ in range(5)]
    until(lambda: len(rig.listener._callers[0]) == 5)
    accept, failures = socket.socket.accept, iter([1, 1, 1])

    def out_of_descriptors(listening: socket.socket) -> object:
        if next(failures, 0):
            raise OSError(24, "Too many open files")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", out_of_descriptors)
    with rig.connect() as connection:
        connection.sendall(ESTOP)
        assert lines(connection, 1)[0]["type"] == "accepted"
    assert all(closed(one) for one in silent[:3])
    for one in silent[3:]:
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.recv(1)
    for one in silent:
        one.close()
