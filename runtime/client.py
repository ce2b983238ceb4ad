"""Send goals to a running `runtime serve`.

client = Client()                                   # the default socket of this user
client.send_goal(GoalPose(position=(0.5, 0.1, 0.4)))
status = client.wait_until_reached(timeout_s=10)
"""

from __future__ import annotations

import socket
import time
from types import TracebackType
from typing import Self

from runtime.goals import GoalPose, GoalRefused
from runtime.protocol import (
    MAX_LINE_BYTES,
    Accepted,
    Address,
    CancelRequest,
    DescribeRequest,
    DescriptionReply,
    ErrorReply,
    EstopRequest,
    GoalRequest,
    Message,
    Refused,
    ReleaseRequest,
    Reply,
    StatusReply,
    StatusRequest,
    StopRequest,
    TelemetryReply,
    TelemetryRequest,
    default_address,
    encode,
    parse_reply,
)
from runtime.snapshot import Snapshot
from runtime.status import GoalStatus, Reason
from sim2real.errors import ShoalError

_POLL_S = 0.02
_EXPIRED = Reason.GOAL_EXPIRED.sentence


class Client:
    """A connection to one server; not for use by several threads at once.

    `address` is a socket path, `unix:///path` or `tcp://127.0.0.1:PORT`; the user's default socket if not
    given. `timeout_s` bounds every exchange, including the wait for a server that is just starting.
    Every method raises `ShoalError` when the server cannot be reached or does not answer in time.
    """

    def __init__(self, address: str | None = None, *, timeout_s: float = 2.0) -> None:
        self._address = Address(address) if address else default_address()
        self._timeout_s = timeout_s
        self._connection: socket.socket | None = None
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the goal stays in force."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._received = None, b""

    def send_goal(self, goal: GoalPose) -> GoalStatus:
        """Go there; returns the first status after the loop has taken the goal. Raises `GoalRefused`."""
        return self._status_after(GoalRequest(goal=goal.model_dump(exclude_none=True)))

    def cancel_goal(self) -> GoalStatus:
        """Forget the goal and hold position."""
        return self._status_after(CancelRequest())

    def estop(self) -> GoalStatus:
        """Emergency stop: drop the goal and follow none until `release`."""
        return self._status_after(EstopRequest())

    def release(self) -> GoalStatus:
        """End an emergency stop; the robot stays where it is until the next goal."""
        return self._status_after(ReleaseRequest())

    def stop(self) -> None:
        """Hold position and end the server."""
        reply = self._exchange(StopRequest())
        if not isinstance(reply, Accepted):
            raise ShoalError(f"client: the server answered {reply.type} to stop.")

    def status(self) -> GoalStatus:
        """Where robot and goal stand now."""
        reply = self._exchange(StatusRequest())
        if not isinstance(reply, StatusReply):
            raise ShoalError(f"client: the server answered {reply.type} to status.")
        return reply.status

    def telemetry(self) -> Snapshot:
        """Readings, targets, poses and latencies of the latest control tick."""
        reply = self._exchange(TelemetryRequest())
        if not isinstance(reply, TelemetryReply):
            raise ShoalError(f"client: the server answered {reply.type} to telemetry.")
        return reply.telemetry

    def describe(self) -> DescriptionReply:
        """The contract and what is served."""
        reply = self._exchange(DescribeRequest())
        if not isinstance(reply, DescriptionReply):
            raise ShoalError(f"client: the server answered {reply.type} to describe.")
        return reply

    def wait_until_reached(self, timeout_s: float) -> GoalStatus:
        """Poll until the goal is reached, replaced or expired, or `timeout_s` is over; `reached` says which.

        Raises `ShoalError` when there is no goal to wait for.
        """
        first = self.status()
        if not first.goal_id:
            raise ShoalError("client: there is no goal to wait for; send one first.")
        deadline, status = time.monotonic() + timeout_s, first
        while not status.reached and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            status = self.status()
            replaced = (status.goal_number, status.goal_id) != (first.goal_number, first.goal_id)
            if replaced or status.reason == _EXPIRED or status.state == "stopped":
                break
        return status

    def _status_after(self, request: Message) -> GoalStatus:
        reply = self._exchange(request)
        if isinstance(reply, Refused):
            raise GoalRefused(reply.reason)
        if not isinstance(reply, Accepted):
            raise ShoalError(f"client: the server answered {reply.type}.")
        deadline = time.monotonic() + self._timeout_s
        while (status := self.status()).goal_number < reply.number:
            if time.monotonic() > deadline:
                raise ShoalError(
                    f"client: the gateway accepted the request, but the control loop has not taken it for "
                    f"{self._timeout_s:g} s (its status is {status.age_s:.1f} s old)."
                )
            time.sleep(0.002)
        return status

    def _exchange(self, request: Message) -> Reply:
        deadline = time.monotonic() + self._timeout_s
        line = encode(request)
        if len(line) > MAX_LINE_BYTES:
            raise ShoalError(f"client: a message of {len(line)} bytes is above the limit of {MAX_LINE_BYTES}.")
        while True:
            try:
                reply = parse_reply(self._send_and_receive(line, deadline))
                break
            except OSError as error:
                # Also the short time in which a gateway starts or is restarted; requests may safely be repeated.
                self.close()
                if time.monotonic() > deadline:
                    reason = error.strerror or str(error) or type(error).__name__
                    raise ShoalError(
                        f"client: no answer from {self._address} within {self._timeout_s:g} s ({reason}); "
                        "is `runtime serve` running?"
                    ) from error
                time.sleep(_POLL_S)
        if isinstance(reply, ErrorReply):
            raise ShoalError(f"client: the server did not understand: {reply.reason}")
        return reply

    def _send_and_receive(self, line: bytes, deadline: float) -> bytes:
        if self._connection is None:
            self._connection = self._address.connect(max(0.01, deadline - time.monotonic()))
        connection = self._connection
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        connection.sendall(line)
        while b"\n" not in self._received:
            chunk = connection.recv(65536)
            if not chunk:
                raise ConnectionResetError(0, "the server closed the connection")
            self._received += chunk
            if len(self._received) > MAX_LINE_BYTES:
                raise ShoalError("client: the server's reply is too long.")
        reply, _, self._received = self._received.partition(b"\n")
        return reply
