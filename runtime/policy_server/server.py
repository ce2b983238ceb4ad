"""The policy server: one thread, many clients.

Every connection has a `Session` of its own; the policy's arrays are shared, which is safe because one request is
answered at a time. When a single client asks at a steady rate, an answer is warmed up and thrown away shortly before
its next request is due, so that the one that counts finds warm caches (see `runtime.control.warm_up`).
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from runtime.policy_server.packets import (
    HEADER,
    MAGIC,
    MAX_ERROR_BYTES,
    REHEARSAL,
    RESET,
    VERSION,
    Hello,
    Kind,
    memory_of,
)
from runtime.policy_server.session import Session
from runtime.protocol.address import Address
from runtime.protocol.listening import Listening
from sim2real.errors import ShoalError

MAX_CLIENTS = 16
_WARM_LEAD_S = 1.5e-3
"""A late wake-up and a cold warm-up fit into it."""
_LONGEST_WAIT_S = 0.2
"""How soon `run` notices that it should end."""


class Peer(Protocol):
    """One connection."""

    connection: socket.socket
    session: Session

    def serve(self) -> bool:
        """Answer what has arrived; False when the connection is over."""


class Listener(Protocol):
    """One socket on which clients connect."""

    listening: socket.socket

    def accept(self, connection: socket.socket) -> Peer:
        """The peer of a new connection; a `ConnectionError` or `BlockingIOError` turns it away."""

    def close(self) -> None:
        """Stop listening."""


class PacketPeer:
    """A client on the Unix socket; see `runtime.policy_server.packets`."""

    def __init__(self, connection: socket.socket, session: Session) -> None:
        self.connection, self.session = connection, session
        self._contract = bytes.fromhex(session.contract.digest)[:8]
        self._size = session.request_record.nbytes
        # One byte more than a request has, so that a longer packet shows.
        self._received = bytearray(self._size + 1)
        self._request, self._reply = memory_of(session.request_record), memory_of(session.reply_record)
        self._time, self._age = session.request["time_s"], session.request["age_s"]
        connection.setblocking(False)
        connection.send(Hello.of(session.contract).model_dump_json().encode())

    def serve(self) -> bool:
        """One packet."""
        try:
            size = self.connection.recv_into(self._received)
            if not size:
                return False
            self.connection.send(self._answer(size, time.perf_counter()))
        except OSError:  # also a client that does not read its replies
            return False
        return True

    def _answer(self, size: int, started_s: float) -> bytes | memoryview:
        sequence = 0
        try:
            if size >= HEADER.size:
                sequence = self._check_header()
            if size != self._size:
                found = f"of {size}" if size < self._size else f"of more than {self._size}"
                raise ShoalError(f"request: a packet {found} bytes arrived, this policy takes {self._size}.")
            self._request[:] = self._received[: self._size]
            flags = int(self.session.request["flags"][0])
            if flags & REHEARSAL:
                self.session.warm_up()
            else:
                self.session.answer(float(self._time[0]), float(self._age[0]), reset=bool(flags & RESET))
        except ShoalError as error:
            return self._header(Kind.ERROR, sequence) + str(error).encode()[:MAX_ERROR_BYTES]
        self._reply[: HEADER.size] = self._header(Kind.COMMAND, sequence)
        self.session.reply["server_s"][0] = time.perf_counter() - started_s
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


class PacketListener:
    """A Unix socket, readable by its owner only."""

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
    """Serves the clients of its listeners until told to end."""

    def __init__(self, listeners: list[Listener]) -> None:
        self._listeners = listeners
        self._selector = selectors.DefaultSelector()
        self._peers: set[Peer] = set()
        self._arrival_s, self._expected_s = 0.0, 0.0
        self._steady: Peer | None = None
        for listener in listeners:
            listener.listening.setblocking(False)
            self._selector.register(listener.listening, selectors.EVENT_READ, listener)

    @property
    def clients(self) -> int:
        """Connections at this moment."""
        return len(self._peers)

    def run(self, should_end: Callable[[], bool]) -> None:
        """Answer requests until `should_end()`, which is asked several times a second."""
        while not should_end():
            wait_s = _LONGEST_WAIT_S
            if self._steady is not None:
                wait_s = self._expected_s - _WARM_LEAD_S - time.perf_counter()
            ready = self._selector.select(max(0.0, wait_s))
            if not ready and self._steady is not None:
                self._steady.session.warm_up()
                self._steady = None
            for key, _ in ready:
                if key.data in self._listeners:
                    self._accept(key.data)
                elif key.data.serve():
                    self._expect_next(key.data)
                else:
                    self._drop(key.data)

    def close(self) -> None:
        """End all connections and stop listening."""
        for peer in list(self._peers):
            self._drop(peer)
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def _accept(self, listener: Listener) -> None:
        try:
            connection, _ = listener.listening.accept()
        except OSError:  # it went away again
            return
        if len(self._peers) >= MAX_CLIENTS:
            connection.close()
            return
        try:
            peer = listener.accept(connection)
        except OSError:
            connection.close()
            return
        self._peers.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _drop(self, peer: Peer) -> None:
        self._peers.discard(peer)
        self._steady = None
        with suppress(KeyError, ValueError):
            self._selector.unregister(peer.connection)
        peer.connection.close()

    def _expect_next(self, peer: Peer) -> None:
        now = time.perf_counter()
        period_s = now - self._arrival_s
        self._arrival_s = now
        steady = len(self._peers) == 1 and 2 * _WARM_LEAD_S < period_s < _LONGEST_WAIT_S
        self._steady, self._expected_s = peer if steady else None, now + period_s
