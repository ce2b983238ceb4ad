"""The policy server: one thread, many clients.

Every connection has a `Session` of its own; the policy's arrays are shared, which is safe because one request is
answered at a time. When one client alone asks, at a steady rate, an answer is warmed up and thrown away shortly before
its next request is due, so that the one that counts finds warm caches (see `runtime.control.warm_up`).
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from runtime.policy_server.greeting import Hello
from runtime.policy_server.packets import (
    EXPLAIN,
    HEADER,
    MAGIC,
    MAX_ERROR_BYTES,
    RESET,
    VERSION,
    WARM_UP,
    Kind,
    memory_of,
)
from runtime.policy_server.session import Session
from runtime.protocol.address import Address
from runtime.protocol.listening import Listening
from sim2real.errors import ShoalError, first_line

MAX_CLIENTS = 16
"""Of each listener."""
_WARM_LEAD_S = 1.5e-3
"""A late wake-up and a cold warm-up fit into it."""
_LONGEST_WAIT_S = 0.2
"""How soon `run` notices that it should end."""
_HANDSHAKE_S = 5.0
_SILENT_S = 10.0
_FAILURES_KEPT = 10


class Peer(Protocol):
    """One connection."""

    connection: socket.socket
    admitted: bool
    """False while it has yet to show that it may be here; it has `_HANDSHAKE_S` for that."""
    answered_s: float
    """When it last got a command, or connected, by `time.perf_counter`."""

    @property
    def waiting(self) -> bool:
        """Whether it holds a request that has been received and not answered."""

    def serve(self) -> bool:
        """Answer at most one request of what has arrived; False when the connection is over."""

    def warm_up(self) -> None:
        """Answer the last request once more, for nothing."""


class Listener(Protocol):
    """One socket on which clients connect."""

    listening: socket.socket
    local: bool
    """Only the server's own user can connect: these clients come first, whatever the others send."""

    def accept(self, connection: socket.socket) -> Peer:
        """The peer of a new connection; a `ConnectionError` or `BlockingIOError` turns it away."""

    def close(self) -> None:
        """Stop listening."""


class PacketPeer:
    """A client on the Unix socket; see `runtime.policy_server.packets`."""

    def __init__(self, connection: socket.socket, session: Session) -> None:
        self.connection, self._session = connection, session
        self.admitted, self.waiting, self.answered_s = True, False, time.perf_counter()
        self._contract = bytes.fromhex(session.contract.digest)[:8]
        self._size = session.request_record.nbytes
        # One byte more than a request has, so that a longer packet shows.
        self._received = bytearray(self._size + 1)
        self._request, self._reply = memory_of(session.request_record), memory_of(session.reply_record)
        self._time, self._age = session.request["time_s"], session.request["age_s"]
        connection.setblocking(False)
        connection.send(Hello.of(session.contract).model_dump_json().encode())

    def serve(self) -> bool:
        """Answer one packet."""
        try:
            size = self.connection.recv_into(self._received)
            if not size:
                return False
            self.connection.send(self._answer(size, time.perf_counter()))
        except OSError:  # also a client that does not read its replies
            return False
        return True

    def warm_up(self) -> None:
        """See `Peer.warm_up`."""
        self._session.warm_up()

    def _answer(self, size: int, started_s: float) -> bytes | memoryview:
        sequence = 0
        try:
            if size >= HEADER.size:
                sequence = self._check_header()
            if size != self._size:
                found = f"of {size}" if size < self._size else f"of more than {self._size}"
                raise ShoalError(f"request: a packet {found} bytes arrived, this policy takes {self._size}.")
            self._request[:] = self._received[: self._size]
            flags = int(self._session.request["flags"][0])
            if flags & EXPLAIN:
                return self._header(Kind.EXPLANATION, sequence) + _text(self._session.core.safety.sentence)
            if flags & WARM_UP:
                self._session.warm_up()
            else:
                self._session.answer(float(self._time[0]), float(self._age[0]), reset=bool(flags & RESET))
        except ShoalError as error:
            return self._header(Kind.ERROR, sequence) + _text(str(error))
        self.answered_s = time.perf_counter()
        self._reply[: HEADER.size] = self._header(Kind.COMMAND, sequence)
        self._session.reply["server_s"][0] = self.answered_s - started_s
        return self._reply

    def _check_header(self) -> int:
        magic, version, _, contract, sequence = HEADER.unpack_from(self._received)
        if magic != MAGIC or version != VERSION:
            raise ShoalError(f"request: begins with {magic:#x}, {version}; this server takes {MAGIC:#x}, {VERSION}.")
        if contract != self._contract:
            raise ShoalError(
                f"request.contract is {contract.hex()}, the served policy's is {self._contract.hex()}; "
                "build the client for the policy that is served."
            )
        return int(sequence)

    def _header(self, kind: Kind, sequence: int) -> bytes:
        return HEADER.pack(MAGIC, VERSION, kind, self._contract, sequence)


def _text(sentence: str) -> bytes:
    return sentence.encode(errors="replace")[:MAX_ERROR_BYTES]


class PacketListener:
    """A Unix socket, readable by its owner only."""

    local = True

    def __init__(self, path: Path, make_session: Callable[[], Session]) -> None:
        if not hasattr(socket, "SOCK_SEQPACKET"):
            raise ShoalError("--socket: this system has no SOCK_SEQPACKET for Unix sockets; use --websocket.")
        self._make_session = make_session
        self._listening = Listening(Address(str(path)), option="--socket", kind=socket.SOCK_SEQPACKET)
        self.listening = self._listening.sockets[0]

    def accept(self, connection: socket.socket) -> Peer:
        """Greets the client."""
        return PacketPeer(connection, self._make_session())

    def close(self) -> None:
        """Removes the socket."""
        self._listening.close()


class PolicyServer:
    """Serves the clients of its listeners until told to end.

    Each listener has `MAX_CLIENTS` places, so that whoever fills the websocket's leaves those of the Unix socket. Local
    clients are answered first and all of them, of the others one request in turn; what a client sends can end its own
    connection and no other. Where all places are taken, a newcomer gets that of the client which has asked for nothing
    for the longest time, if that is `_SILENT_S` or more.
    """

    def __init__(self, listeners: list[Listener]) -> None:
        self._listeners = listeners
        self._selector = selectors.DefaultSelector()
        self._peers: dict[Peer, Listener] = {}
        """In the order in which those that are not local had their turns, the latest last."""
        self._arrival_s, self._expected_s = 0.0, 0.0
        self._latest: Peer | None = None
        self._steady: Peer | None = None
        self._next_check_s = 0.0
        self.failures: list[str] = []
        """Errors of the server itself, each of which ended one connection; the first few."""
        for listener in listeners:
            listener.listening.setblocking(False)
            self._selector.register(listener.listening, selectors.EVENT_READ, listener)

    def run(self, should_end: Callable[[], bool]) -> None:
        """Answer requests until `should_end()`, which is asked several times a second."""
        # Readings beyond the policy's precision become infinite, which the safety layer refuses; nothing to print.
        with np.errstate(over="ignore"):
            while not should_end():
                self._turn()

    def _turn(self) -> None:
        """Wait for requests, and answer those whose turn it is."""
        wait_s = _LONGEST_WAIT_S
        if self._steady is not None:
            wait_s = self._expected_s - _WARM_LEAD_S - time.perf_counter()
        waiting = [peer for peer in self._peers if peer.waiting]
        ready = self._selector.select(0.0 if waiting else max(0.0, wait_s))
        if not ready and not waiting and self._steady is not None:
            self._steady.warm_up()
            self._steady = None
        arrived = {key.data for key, _ in ready}
        for listener in arrived.intersection(self._listeners):
            self._accept(listener)
        self._serve(arrived.union(waiting))
        self._end_overdue()

    def close(self) -> None:
        """End all connections and stop listening."""
        for peer in list(self._peers):
            self._drop(peer)
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def _serve(self, ready: set[Any]) -> None:
        others: Peer | None = None
        for peer, listener in list(self._peers.items()):
            if peer in ready and listener.local:
                self._answer(peer)
            elif peer in ready and others is None:
                others = peer
        if others is not None and others in self._peers:
            self._peers[others] = self._peers.pop(others)
            self._answer(others)

    def _answer(self, peer: Peer) -> None:
        before_s = peer.answered_s
        try:
            alive = peer.serve()
        except Exception as error:
            self._note(error)
            alive = False
        if not alive:
            self._drop(peer)
        elif peer.answered_s != before_s:
            self._expect_next(peer)

    def _accept(self, listener: Listener) -> None:
        try:
            connection, _ = listener.listening.accept()
        except OSError:  # it went away again
            return
        try:
            self._make_room(listener)
            peer = listener.accept(connection)
        except Exception as error:
            self._note(error)
            connection.close()
            return
        self._peers[peer] = listener
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _note(self, error: Exception) -> None:
        """Whatever it is, it is about one connection alone; the other robots go on."""
        # Not printed: a terminal that nobody reads would stop the server.
        if not isinstance(error, OSError) and len(self.failures) < _FAILURES_KEPT:
            self.failures.append(f"{type(error).__name__}: {first_line(error)}")

    def _make_room(self, listener: Listener) -> None:
        """Raise `ConnectionRefusedError` when all places of this listener are taken by clients that ask."""
        there = [peer for peer, through in self._peers.items() if through is listener]
        if len(there) < MAX_CLIENTS:
            return
        silent = min(there, key=lambda peer: peer.answered_s)
        if time.perf_counter() - silent.answered_s < _SILENT_S:
            raise ConnectionRefusedError
        self._drop(silent)

    def _end_overdue(self) -> None:
        """Strangers that do not show within `_HANDSHAKE_S` that they may be here."""
        now = time.perf_counter()
        if now < self._next_check_s:
            return
        self._next_check_s = now + _LONGEST_WAIT_S
        for peer in [peer for peer in self._peers if not peer.admitted and now - peer.answered_s > _HANDSHAKE_S]:
            self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        self._peers.pop(peer, None)
        if peer is self._steady:
            self._steady = None
        with suppress(KeyError, ValueError):
            self._selector.unregister(peer.connection)
        peer.connection.close()

    def _expect_next(self, peer: Peer) -> None:
        """Warm up before the next request of a client that asked twice in a row, however many others are silent."""
        period_s = peer.answered_s - self._arrival_s
        steady = peer is self._latest and 2 * _WARM_LEAD_S < period_s < _LONGEST_WAIT_S
        self._latest, self._arrival_s = peer, peer.answered_s
        self._steady, self._expected_s = peer if steady else None, peer.answered_s + period_s
