"""A server of one robot that does nothing, and can be made slow; the page cannot tell it from a real one."""

from __future__ import annotations

import socketserver
import threading
from pathlib import Path
from typing import Any

from runtime.protocol.messages import (
    Accepted,
    CancelRequest,
    DescribeRequest,
    DescriptionReply,
    EstopRequest,
    GoalRequest,
    GoalsReply,
    LeaseReply,
    LeaseRequest,
    Message,
    Refused,
    ReleaseRequest,
    StatusReply,
    TelemetryReply,
    encode,
    parse_request,
)
from runtime.protocol.snapshot import Latency, Snapshot
from runtime.status import GoalStatus
from sim2real.contract import Contract

NOTHING = Latency(count=0, p50_us=0.0, p99_us=0.0, p999_us=0.0, max_us=0.0)


class FakeServer:
    """Answers on `address`. Requests of the types in `slow` wait until `go_on` is set."""

    def __init__(self, contract: Contract, folder: Path) -> None:
        self.contract = contract
        self.address = f"unix://{folder}/robot"
        self.state, self.number, self.estops = "idle", 0, 0
        self.received: list[str] = []
        self.goals: list[dict[str, Any]] = []
        self.slow: set[type] = set()
        self.go_on = threading.Event()
        self.waiting = 0
        """Requests that do."""
        self.refusing = False
        """Refuse emergency stops and leases."""
        self.lease = ""
        self._lock = threading.Lock()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    try:
                        self.wfile.write(encode(outer.answer(parse_request(line))))
                    except OSError:
                        return

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(f"{folder}/robot", Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """As at the start, but for the number of requests."""
        self.slow.clear()
        self.go_on.clear()
        self.received.clear()
        self.state, self.lease, self.refusing = "idle", "", False

    def answer(self, request: Any) -> Message:
        if type(request) in self.slow:
            self.waiting += 1
            self.go_on.wait(60)
            self.waiting -= 1
        with self._lock:
            return self._answer(request)

    def _answer(self, request: Any) -> Message:
        match request:
            case DescribeRequest():
                return DescriptionReply(contract=self.contract, facts={"policy": "none"})
            case EstopRequest() | LeaseRequest() if self.refusing:
                return Refused(reason="not now")
            case EstopRequest():
                self.estops += 1
                return self._accept(request, "estop")
            case ReleaseRequest():
                return self._accept(request, "idle" if request.estops == self.estops else self.state)
            case GoalRequest() | CancelRequest():
                if self.state == "estop":
                    return Refused(reason="the robot is in emergency stop")
                return self._accept(request, self.state)
            case LeaseRequest():
                self.lease = {"acquire": request.name, "renew": self.lease, "end": ""}[request.action]
                return LeaseReply(lease=self.lease, expires_in_s=3.0)
        if request.type == "telemetry":
            return TelemetryReply(telemetry=self._snapshot())
        if request.type == "goals":
            return GoalsReply(number=self.number, goals=())
        return StatusReply(status=self._status(), lease_holder=self.lease)

    def _accept(self, request: Any, state: str) -> Message:
        self.received.append(request.type)
        if isinstance(request, GoalRequest):
            self.goals.append(request.goal)
        self.state, self.number = state, self.number + 1
        return Accepted(number=self.number)

    def _status(self) -> GoalStatus:
        return GoalStatus(state=self.state, reason="fake", goal_number=self.number, estops=self.estops)

    def _snapshot(self) -> Snapshot:
        joints = self.contract.robot.joints
        return Snapshot(
            status=self._status(),
            frame="world",
            joint_names=tuple(joint.name for joint in joints),
            joint_position=tuple(joint.home_position for joint in joints),
            lateness=NOTHING,
            step=NOTHING,
            tick_time=NOTHING,
        )
