"""Send goals to a running `runtime serve`.

    client = Client()                                   # the default socket of this user
    client.send_goal(GoalPose(position=(0.5, 0.1, 0.4)))
    status = client.wait_until_reached(timeout_s=10)

Several goals, and the authority that keeps other clients from sending theirs meanwhile:

    with client.lease("inspection"):
        for goal in goals:
            client.send_goal(goal.model_copy(update={"queue": True}))
        for goal in goals:
            print(client.wait_for_goal(goal.id, timeout_s=30).line)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

from pydantic import ValidationError

from runtime.goals.messages import AnyGoal, GoalRefused
from runtime.goals.progress import GoalProgress
from runtime.protocol.address import Address, default_address
from runtime.protocol.connection import Connection
from runtime.protocol.messages import (
    Accepted,
    CancelRequest,
    DescribeRequest,
    DescriptionReply,
    EstopRequest,
    GoalRequest,
    GoalsReply,
    GoalsRequest,
    LeaseReply,
    LeaseRequest,
    ObjectReport,
    Refused,
    ReleaseRequest,
    RequestMessage,
    StatusReply,
    StatusRequest,
    StopRequest,
    SubscribeRequest,
    TelemetryReply,
    TelemetryRequest,
)
from runtime.protocol.snapshot import Snapshot
from runtime.protocol.stop_socket import stop_directly
from runtime.status import GoalStatus, Reason
from sim2real.contract import Quaternion, Vector3
from sim2real.errors import ShoalError

_Kind = TypeVar("_Kind")
_POLL_S = 0.02
_SHORT_POLL_S = 0.002
_DIRECT_S = 0.5
"""For a control loop to tick."""
PRESSED_AGAIN = "the emergency stop was pressed again; look, and then release that one."
_EXPIRED = Reason.GOAL_EXPIRED.sentence


class Client:
    """A connection to one server; not for use by several threads at once.

    `address` is a socket path, `unix:///path` or `tcp://127.0.0.1:PORT`; the user's default socket if not
    given. `token` is what a server with `--token-file` asks for. `timeout_s` bounds every exchange, including the
    wait for a server that is just starting. Every method raises `ShoalError` when the server cannot be reached or
    does not answer in time, and `GoalRefused` when it refuses, for want of the lease say.
    """

    def __init__(self, address: str | None = None, *, token: str = "", timeout_s: float = 2.0) -> None:
        self._address = Address(address, with_token=bool(token)) if address else default_address()
        self._token, self._timeout_s = token, timeout_s
        self._lease: str | None = None
        self._connection = Connection(self._address, token=token, timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the goal stays in force."""
        self._connection.close()

    def send_goal(self, goal: AnyGoal) -> GoalStatus:
        """Go there; returns the first status after the loop has begun with the goal, or put it into the queue.

        Raises `GoalRefused`, also when the loop's first look at the goal refuses it.
        """
        accepted = self._command(GoalRequest(goal=goal.model_dump(exclude_none=True)))
        status = self._status_after(accepted.number)
        deadline = time.monotonic() + self._timeout_s
        while (progress := self._progress(accepted.number)) is not None and progress.state == "accepted":
            # A gate decides with the next good readings, which a robot on hold may not have.
            if goal.queue or status.state in ("hold", "damp") or time.monotonic() > deadline:
                return status
            time.sleep(_SHORT_POLL_S)
            status = self.status()
        if progress is not None and progress.state == "refused":
            known = "" if progress.reachability is None else f" (reachability {progress.reachability:.2f})"
            raise GoalRefused(f"goal {progress.id!r}: {progress.reason}{known}.")
        return self.status()

    def cancel_goal(self, goal_id: str | None = None) -> GoalStatus:
        """Forget all goals, or those with one id, and hold position if the one in force was among them."""
        return self._status_after(self._command(CancelRequest(id=goal_id)).number)

    def goals(self) -> tuple[GoalProgress, ...]:
        """The goals that wait, the one in force, and the latest ones that are done with, oldest first."""
        return self._ask(GoalsRequest(), GoalsReply).goals

    def goal_changes(self) -> Iterator[tuple[GoalProgress, ...]]:
        """Yields the goals now and at every change, for as long as the server runs; over a connection of its own."""
        with self._beside() as other:
            yield other._ask(SubscribeRequest(), GoalsReply).goals
            with suppress(OSError):
                while True:
                    reply = other._connection.next_reply()
                    if isinstance(reply, GoalsReply):
                        yield reply.goals

    def wait_for_goal(self, goal_id: str, timeout_s: float) -> GoalProgress:
        """Poll until the newest goal of this id is reached or done with otherwise, or `timeout_s` is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = [progress for progress in self.goals() if progress.id == goal_id]
            if not found:
                raise ShoalError(f"client: the server knows no goal {goal_id!r}.")
            if found[-1].final or time.monotonic() > deadline:
                return found[-1]
            time.sleep(_POLL_S)

    def report_object(
        self,
        position: Vector3,
        *,
        orientation_wxyz: Quaternion | None = None,
        stamp: float | None = None,
        source: str = "tracker",
        frame: str = "world",
    ) -> None:
        """Say where the object is, m, and how it is turned where a policy is told that; as often as it is seen, at
        least every `object_stale_s` of the safety settings.

        `stamp` is when it was seen, seconds of Unix time. Raises `GoalRefused` where no object is looked for, or
        another source reports already.
        """
        self._command(
            ObjectReport(position=position, orientation_wxyz=orientation_wxyz, stamp=stamp, source=source, frame=frame)
        )

    def acquire_lease(self, name: str = "client", *, duration_s: float = 5.0) -> None:
        """Become the only client that may command; every call from now on renews it. It runs out `duration_s` after the
        last one, and then the server does with this client's goals what `--on-lease-lost` says.
        """
        request = LeaseRequest(action="acquire", name=name, duration_s=duration_s)
        self._lease = self._ask(request, LeaseReply).lease

    def renew_lease(self) -> None:
        """Keep the lease; any other call does so too."""
        self._ask(LeaseRequest(action="renew"), LeaseReply)

    def end_lease(self) -> None:
        """Let others command; the goals stay."""
        self._ask(LeaseRequest(action="end"), LeaseReply)
        self._lease = None

    @contextmanager
    def lease(self, name: str = "client", *, duration_s: float = 5.0) -> Iterator[None]:
        """`acquire_lease` and, at the end, `end_lease`."""
        self.acquire_lease(name, duration_s=duration_s)
        try:
            yield
        finally:
            self.end_lease()

    def lease_holder(self) -> str:
        """Name of the client that alone may command; empty when anybody may."""
        return self._ask(StatusRequest(), StatusReply).lease_holder

    def estop(self) -> GoalStatus:
        """Emergency stop: drop the goal and follow none until `release`.

        On this machine the control process is asked directly. Everywhere else, or where that does not answer, a new
        connection is opened, which the server serves before it has a place for it. So this waits for nothing that other
        clients, the gateway or this client's own connection do, and may be called from any thread.
        """
        if self._address.path is not None:
            with suppress(OSError):
                return self._stopped_directly(self._address.path)
        with self._beside() as other:
            return other._stopped_at_once()

    def release(self, *, estops: int | None = None) -> GoalStatus:
        """End an emergency stop; the robot stays where it is until the next goal.

        With `GoalStatus.estops` of a status that somebody looked at, only the stop that it showed is released: raises
        `GoalRefused` when the stop was pressed again since, by anybody.
        """
        status = self._status_after(self._command(ReleaseRequest(estops=estops)).number)
        if estops is not None and status.estops != estops:
            raise GoalRefused(PRESSED_AGAIN)
        return status

    def stop(self) -> None:
        """Hold position and end the server; returns when the control loop has taken it, or has ended already."""
        number, deadline = self._command(StopRequest()).number, time.monotonic() + self._timeout_s
        while True:
            try:
                (reply,) = self._connection.exchange_once(StatusRequest(), deadline=deadline)
            except (FileNotFoundError, ConnectionRefusedError):
                return
            except OSError:  # it is about to end
                self.close()
            else:
                if isinstance(reply, StatusReply) and reply.status.goal_number >= number:
                    return
                if time.monotonic() > deadline and isinstance(reply, StatusReply):
                    raise _not_taken(reply.status, self._timeout_s)
            if time.monotonic() > deadline + self._timeout_s:
                raise ShoalError(f"client: {self._address} has taken the stop, and does not say that it is in force.")
            time.sleep(_SHORT_POLL_S)

    def status(self) -> GoalStatus:
        """Where robot and goal stand now."""
        return self._ask(StatusRequest(), StatusReply).status

    def telemetry(self) -> Snapshot:
        """Readings, targets, poses and latencies of the latest control tick."""
        return self._ask(TelemetryRequest(), TelemetryReply).telemetry

    def describe(self) -> DescriptionReply:
        """The contract and what is served."""
        return self._ask(DescribeRequest(), DescriptionReply)

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

    def _beside(self) -> Client:
        """A client of the same server with a connection of its own, and without the lease."""
        return Client(str(self._address), token=self._token, timeout_s=self._timeout_s)

    def _stopped_directly(self, path: Path) -> GoalStatus:
        line = stop_directly(path, timeout_s=min(_DIRECT_S, self._timeout_s))
        try:
            return GoalStatus.model_validate_json(line)
        except ValidationError as error:
            raise OSError(0, "the answer is no status") from error

    def _stopped_at_once(self) -> GoalStatus:
        """Stop without waiting for one answer before the next request is sent."""
        accepted, reply = self._connection.exchange(EstopRequest(), StatusRequest())
        if not isinstance(accepted, Accepted) or not isinstance(reply, StatusReply):
            raise ShoalError(f"client: the server answered {accepted.type} and {reply.type}.")
        return reply.status if reply.status.state == "estop" else self._status_after(accepted.number)

    def _progress(self, number: int) -> GoalProgress | None:
        return next((progress for progress in self.goals() if progress.number == number), None)

    def _command(self, request: RequestMessage) -> Accepted:
        return self._ask(request, Accepted)

    def _ask(self, request: RequestMessage, kind: type[_Kind]) -> _Kind:
        (reply,) = self._connection.exchange(request.model_copy(update={"lease": self._lease}))
        if isinstance(reply, Refused):
            raise GoalRefused(reply.reason)
        if not isinstance(reply, kind):
            raise ShoalError(f"client: the server answered {reply.type}.")
        return reply

    def _status_after(self, number: int) -> GoalStatus:
        deadline = time.monotonic() + self._timeout_s
        while (status := self.status()).goal_number < number:
            if time.monotonic() > deadline:
                raise _not_taken(status, self._timeout_s)
            time.sleep(_SHORT_POLL_S)
        return status


def _not_taken(status: GoalStatus, timeout_s: float) -> ShoalError:
    return ShoalError(
        f"client: the gateway accepted the request, but the control loop has not taken it for {timeout_s:g} s: "
        f"{status.reason} (its status is {status.age_s:.1f} s old)."
    )
