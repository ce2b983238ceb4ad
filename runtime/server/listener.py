"""The listener process: lets clients in, stops the robot for those who ask, and hands all others to the gateway.

    control process ── sockets ──► listener ──accepted connections──► gateway (its fork)
          ▲──────────── stops, in shared memory ──┘

Nothing here waits for a client, a disk or a display, and the gateway can be busy, hang or die without delaying a stop:
an `estop` that opens a connection, after the `hello` where a token is asked for, is answered here, and so is `status`
after it. With the first other request a connection goes to the gateway. Those that ask for nothing have a deadline, and
places of their own, which the newest takes from the oldest.

Started as a `runtime.process.child.ChildProcess`. A gateway is forked,
with all that it needs imported already, so that the next one is there in milliseconds.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from runtime.gateway.config import GatewayConfig
from runtime.gateway.fork import GatewayFork
from runtime.gateway.gateway import status_of, status_reply
from runtime.gateway.lease import Authority
from runtime.ipc.shared_memory import SharedSlots
from runtime.process.child import ParentEnd
from runtime.process.output import share_relayed_output
from runtime.process.signals import leave_ending_to_parent
from runtime.protocol.messages import (
    MAX_LINE_BYTES,
    Accepted,
    ErrorReply,
    EstopRequest,
    HelloRequest,
    Message,
    Request,
    StatusRequest,
    Welcome,
    encode,
    parse_request,
)
from runtime.protocol.token import same_token
from runtime.realtime import measures
from sim2real.errors import ShoalError

MAX_SILENT = 128
"""At each address: connections that have not asked for anything yet."""
_HELLO_S = 5.0
"""For the token."""
_FIRST_REQUEST_S = 30.0
_WRONG_TOKEN_S = 0.5
_IN_FORCE_S = 2.0
"""How long the control loop may take to obey."""
_LOOK_S = 0.02
_SHORT_LOOK_S = 0.001
"""While somebody waits for the control loop to obey."""
_ACCEPTS_AT_ONCE = 64
_CHUNK_BYTES = 65536
_MOST_RECEIVED = MAX_LINE_BYTES + _CHUNK_BYTES
_OWN_LINES = 32
"""Answered here on one connection; whoever has more to say talks to the gateway."""
_LONGEST_OWN_LINE = 4096


@dataclass(eq=False)
class Caller:
    """A connection that has not been handed over."""

    connection: socket.socket
    address: int
    deadline_s: float
    admitted: bool
    """No token is asked for, or it was right."""
    received: bytearray = field(default_factory=bytearray)
    own_lines: int = 0
    stop: int | None = None
    """The emergency stop that it waits for; see `SharedSlots.stops`."""
    stopped: bool = False
    """Has had an emergency stop."""
    refused: bool = False
    """Hears at `deadline_s` that its token was wrong."""
    ended: bool = False
    """Says nothing more, but still hears that its stop is in force."""


class Gateways(Protocol):
    """Where connections go that want more than a stop; see `runtime.gateway.fork`."""

    def check(self, release: Callable[[], None]) -> None:
        """Have a gateway."""

    def hand_over(self, connection: socket.socket, address: int, begun: bytes) -> None:
        """Give it a connection."""

    def close(self) -> None:
        """End the gateway."""


class Listener:
    """All listening sockets of one server; it ends with `control`, an open file whose end says that nobody needs it."""

    def __init__(self, config: GatewayConfig, slots: SharedSlots, gateways: Gateways, control: int) -> None:
        self._config, self._slots, self._gateways, self._control = config, slots, gateways, control
        self._selector = selectors.DefaultSelector()
        self._callers: list[dict[Caller, None]] = [{} for _ in config.listening]
        """At each address, the oldest first."""
        self._waiting: list[Caller] = []
        """For the control loop to obey."""
        self._listening: list[socket.socket] = []
        for address, descriptors in enumerate(config.listening):
            for descriptor in descriptors:
                listening = socket.socket(fileno=descriptor)
                listening.setblocking(False)
                self._listening.append(listening)
                self._selector.register(listening, selectors.EVENT_READ, address)
        self._selector.register(control, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the control process ends."""
        while True:
            self._slots.beat_as_listener()
            self._gateways.check(self._abandon)
            for key, _ in self._selector.select(_SHORT_LOOK_S if self._waiting else _LOOK_S):
                if isinstance(key.data, Caller):
                    self._hear(key.data)
                elif isinstance(key.fileobj, socket.socket):
                    self._accept(key.fileobj, key.data)
                elif not os.read(self._control, 4096):
                    return
            self._confirm_stops()
            self._expire()

    def close(self) -> None:
        """End the gateway."""
        self._gateways.close()
        self._abandon()

    def _abandon(self) -> None:
        """Close every descriptor of this process's own, in its child."""
        self._selector.close()
        for listening in self._listening:
            listening.close()
        for callers in self._callers:
            for caller in callers:
                caller.connection.close()

    def _accept(self, listening: socket.socket, address: int) -> None:
        callers, local = self._callers[address], listening.family == socket.AF_UNIX
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                connection, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError:
                # Out of descriptors, say: the oldest goes, and the next look tries again.
                self._drop_oldest(max(self._callers, key=len))
                return
            if len(callers) >= MAX_SILENT:
                self._drop_oldest(callers)
            connection.setblocking(False)
            if not local:
                with suppress(OSError):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Only the user's own processes reach a Unix socket.
            admitted = local or not self._config.token
            patience_s = _FIRST_REQUEST_S if admitted else _HELLO_S
            caller = Caller(connection, address, time.monotonic() + patience_s, admitted)
            callers[caller] = None
            self._selector.register(connection, selectors.EVENT_READ, caller)
            self._hear(caller)

    def _hear(self, caller: Caller) -> None:
        try:
            chunk = caller.connection.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk and len(caller.received) <= _MOST_RECEIVED:
            caller.received += chunk
            self._converse(caller)
        elif caller.stop is not None:
            self._selector.unregister(caller.connection)
            caller.ended = True
        else:
            self._drop(caller)

    def _converse(self, caller: Caller) -> None:
        """Take the whole lines that have arrived, until one is not for here."""
        while caller.stop is None and not caller.refused and caller in self._callers[caller.address]:
            line, newline, rest = caller.received.partition(b"\n")
            if not newline:
                if len(line) > MAX_LINE_BYTES:
                    self._end(caller, f"a message may have at most {MAX_LINE_BYTES} bytes.")
                return
            request = _own_request(bytes(line)) if caller.own_lines < _OWN_LINES else None
            caller.own_lines += 1
            if not caller.admitted:
                self._admit(caller, request)
            elif isinstance(request, EstopRequest):
                caller.stop, caller.deadline_s = self._slots.ask_for_stop(), time.monotonic() + _IN_FORCE_S
                self._waiting.append(caller)
            elif caller.stopped and isinstance(request, StatusRequest):
                self._tell_status(caller)
            elif isinstance(request, HelloRequest):
                self._tell(caller, Welcome())
            else:
                self._hand_over(caller)
                return
            caller.received = rest

    def _admit(self, caller: Caller, request: Request | None) -> None:
        now = time.monotonic()
        if isinstance(request, HelloRequest) and same_token(request.token, self._config.token):
            caller.admitted, caller.deadline_s = True, now + _FIRST_REQUEST_S
            self._tell(caller, Welcome())
        else:
            # Slows down whoever tries many.
            caller.refused, caller.deadline_s = True, now + _WRONG_TOKEN_S

    def _confirm_stops(self) -> None:
        if not self._waiting:
            return
        slot = self._slots.status
        slot.read()
        record = slot.value[0]
        for caller in [*self._waiting]:
            if caller.stop is not None and int(record["stops"]) >= caller.stop:
                self._waiting.remove(caller)
                caller.stop, caller.stopped = None, True
                caller.deadline_s = time.monotonic() + _FIRST_REQUEST_S
                self._tell(caller, Accepted(number=int(record["goal_number"])))
                self._converse(caller)
                if caller.ended:
                    self._drop(caller)

    def _tell_status(self, caller: Caller) -> None:
        for slot in (self._slots.status, self._slots.requests):
            slot.read()
        status = status_of(self._slots.status.value[0], self._config.contract)
        self._tell(caller, status_reply(status, Authority(self._slots.requests.value[0])))

    def _hand_over(self, caller: Caller) -> None:
        """Hand a connection to the gateway; when that takes no more, the client is turned away and may try again."""
        self._gateways.hand_over(caller.connection, caller.address, bytes(caller.received))
        self._drop(caller)

    def _tell(self, caller: Caller, message: Message) -> None:
        # These few lines fit into the buffer of a connection that has had no others; where they do not, nobody reads.
        line = encode(message)
        with suppress(OSError):
            if caller.connection.send(line) == len(line):
                return
        self._drop(caller)

    def _end(self, caller: Caller, reason: str) -> None:
        self._tell(caller, ErrorReply(reason=reason))
        self._drop(caller)

    def _expire(self) -> None:
        now = time.monotonic()
        for callers in self._callers:
            for caller in [caller for caller in callers if caller.deadline_s < now]:
                if caller.refused:
                    self._end(caller, "this server wants the right token first (hello, --token-file).")
                elif caller.stop is not None:
                    waited = f"the control loop has not taken the stop for {_IN_FORCE_S:g} s"
                    self._end(caller, f"{waited}; it stays asked for, and will be in force with the loop's next tick.")
                else:
                    self._drop(caller)

    def _drop_oldest(self, callers: dict[Caller, None]) -> None:
        oldest = next((caller for caller in callers if caller.stop is None), next(iter(callers), None))
        if oldest is not None:
            self._drop(oldest)

    def _drop(self, caller: Caller) -> None:
        callers = self._callers[caller.address]
        if caller not in callers:
            return
        del callers[caller]
        if not caller.ended:
            self._selector.unregister(caller.connection)
        caller.connection.close()
        if caller.stop is not None:
            self._waiting.remove(caller)


def _own_request(line: bytes) -> Request | None:
    """A request that may be answered here; None for all others, which the gateway judges."""
    if len(line) > _LONGEST_OWN_LINE or not any(word in line for word in (b"estop", b"status", b"hello")):
        return None
    try:
        request = parse_request(line)
    except ShoalError:
        return None
    return request if isinstance(request, EstopRequest | StatusRequest | HelloRequest) else None


def main() -> None:
    """Entry point of the process."""
    # The whole group of a terminal or a service is told to end; stops work until the control process has ended.
    leave_ending_to_parent()
    share_relayed_output()
    control = ParentEnd()
    given = control.config()
    if not given:
        return
    config = GatewayConfig.model_validate_json(given)
    # Between a client and the stop there is nothing but this process; what is forked does not inherit its priority.
    measures.apply(measures.RealtimeOptions(fifo_priority=config.fifo_priority, lock_memory=False, no_deep_sleep=False))
    slots = SharedSlots(config.descriptor, config.contract)
    sockets = control.listening()
    if not sockets:
        return
    received = iter(sockets)
    listening = tuple(tuple(next(received) for _ in address) for address in config.listening)
    config = config.model_copy(update={"listening": listening})
    listener = Listener(config, slots, GatewayFork(config, slots), control.fileno())
    listener.run()
    listener.close()


if __name__ == "__main__":
    main()
