"""The gateway process: sockets, validation and display, so that the control loop has none of them.

Started by `runtime.supervisor` as `python -m runtime.gateway`, with its configuration as one JSON line on
standard input. End of file there means that the control process is gone, and the gateway ends too. A restarted
gateway goes on from what it finds in shared memory, so goal numbers keep counting and a stop stays a stop.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any, Literal

import numpy as np

from runtime.display import run_display
from runtime.goals import GoalRefused, ResolvedGoal, parse_goal, validate_goal
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
    Request,
    StatusReply,
    StatusRequest,
    StopRequest,
    TelemetryReply,
    TelemetryRequest,
    encode,
    parse_request,
)
from runtime.shared_memory import SharedSlots
from runtime.status import GoalStatus, Reason, State
from runtime.supervisor import GatewayConfig
from runtime.telemetry import Ring
from runtime.watch import Watch
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_ESTOP = "the robot is in emergency stop; release it first (runtime release)."


class Gateway:
    """Answers requests; see `runtime.protocol` for the messages."""

    def __init__(
        self, contract: Contract, slots: SharedSlots, watch: Watch, *, facts: dict[str, str] | None = None
    ) -> None:
        self._contract, self._slots, self._watch, self._facts = contract, slots, watch, facts or {}
        self._slots.goal.read()
        self._slots.status.read()

    def answer(self, request: Request) -> Message:
        """The reply to one request."""
        match request:
            case GoalRequest():
                try:
                    goal = validate_goal(self._contract, parse_goal(request.goal), time.time())
                except GoalRefused as error:
                    return Refused(reason=str(error))
                if self._in_emergency():
                    return Refused(reason=_ESTOP)
                return Accepted(id=goal.id, number=self._publish(goal))
            case CancelRequest():
                return Accepted(number=self._publish(None))
            case StopRequest():
                return Accepted(number=self._publish(None, stop=True))
            case EstopRequest():
                return Accepted(number=self._publish(None, mark="estop"))
            case ReleaseRequest():
                return Accepted(number=self._publish(None, mark="release"))
            case StatusRequest():
                return StatusReply(status=self.status())
            case TelemetryRequest():
                return TelemetryReply(telemetry=self._watch.snapshot(self.status(), self._goal_pose()))
            case DescribeRequest():
                return DescriptionReply(contract=self._contract, facts=self._facts)

    def status(self) -> GoalStatus:
        """What the control loop wrote last."""
        slot = self._slots.status
        slot.read()
        record = slot.value[0]
        reachability = _known(record["reachability"])
        reason = Reason(int(record["reason"])) if record["written_ns"] else Reason.NO_GOAL
        return GoalStatus(
            state=State(int(record["state"])).label,
            reason=reason.sentence,
            goal_id=bytes(record["goal_id"]).decode(),
            goal_number=int(record["goal_number"]),
            distance_m=_known(record["distance_m"]),
            angle_deg=_known(record["angle_deg"]),
            reachability=reachability,
            reachable=None if reachability is None else reachability >= self._contract.reachability.threshold,
            within_tolerance=bool(record["within_tolerance"]),
            reached=bool(record["reached"]),
            ticks=int(record["ticks"]),
            holds=int(record["holds"]),
            clamped=int(record["clamped"]),
            missed_periods=int(record["missed_periods"]),
            age_s=max(0.0, (time.monotonic_ns() - int(record["written_ns"])) / 1e9) if record["written_ns"] else 0.0,
        )

    def _in_emergency(self) -> bool:
        record = self._slots.goal.value[0]
        return int(record["estop"]) > int(record["release"]) or self.status().state == "estop"

    def _goal_pose(self) -> tuple[np.ndarray, np.ndarray] | None:
        record = self._slots.goal.value[0]
        return (record["position"], record["orientation_wxyz"]) if record["active"] else None

    def _publish(
        self, goal: ResolvedGoal | None, *, stop: bool = False, mark: Literal["estop", "release"] | None = None
    ) -> int:
        slot = self._slots.goal
        record = slot.value[0]
        number = int(record["number"]) + 1
        record["number"], record["written_ns"] = number, time.monotonic_ns()
        record["active"] = goal is not None
        record["stop"] = bool(record["stop"]) or stop
        if mark is not None:
            record[mark] = number
        if goal is not None:
            record["id"] = goal.id.encode()
            for field in ("position", "orientation_wxyz", "position_tolerance_m", "angle_tolerance_deg", "valid_for_s"):
                record[field] = getattr(goal, field)
        slot.write()
        return number

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer line by line until the peer leaves or sends a line that is too long."""
        with suppress(ConnectionError):
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    writer.write(encode(ErrorReply(reason=f"a message may have at most {MAX_LINE_BYTES} bytes.")))
                    await writer.drain()
                    break
                if not line:
                    break
                writer.write(encode(self._answer_line(line)))
                await writer.drain()
        writer.close()

    def _answer_line(self, line: bytes) -> Message:
        try:
            return self.answer(parse_request(line))
        except ShoalError as error:
            return ErrorReply(reason=str(error)[:500])


async def run(config: GatewayConfig) -> None:
    """Listen on every address until standard input ends."""
    watch, metrics = _watch(config)
    gateway = Gateway(config.contract, SharedSlots(config.descriptor), watch, facts=config.facts)
    servers = [await _listen(gateway, Address(text)) for text in config.addresses]
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), _on_parent_input, finished)
    loop.add_signal_handler(signal.SIGTERM, finished.set)
    tasks = [asyncio.create_task(run_display(gateway.status, config.display)), asyncio.create_task(watch.run())]
    await finished.wait()
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for server in servers:
        server.close()
    if metrics is not None:
        metrics.shutdown()
    for text in config.addresses:
        path = Address(text).path
        if path is not None:
            path.unlink(missing_ok=True)


def _watch(config: GatewayConfig) -> tuple[Watch, Any]:
    """The telemetry's readers, and the server of the metrics if there is one."""
    ring = Ring(config.telemetry, len(config.contract.joint_names))
    recorder = metrics = server = None
    if config.record is not None:
        from runtime.recording.writer import Recorder

        recorder = Recorder(config.record, config.contract, config.facts)
    if config.metrics is not None:
        from runtime.metrics import Metrics

        metrics = Metrics()
        server = metrics.serve(config.metrics)
    return Watch(ring, config.contract, recorder=recorder, metrics=metrics), server


async def _listen(gateway: Gateway, address: Address) -> asyncio.Server:
    if address.path is None:
        return await asyncio.start_server(
            gateway.serve_connection, address.host, address.port, limit=MAX_LINE_BYTES, reuse_address=True
        )
    # A socket file that a killed gateway left behind; the control process made sure that nobody answers on it.
    address.path.unlink(missing_ok=True)
    mask = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(gateway.serve_connection, str(address.path), limit=MAX_LINE_BYTES)
    finally:
        os.umask(mask)


def _on_parent_input(finished: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        finished.set()


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def main() -> None:
    """Entry point of the process."""
    # Ctrl-C goes to the whole terminal group; the control process decides when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = GatewayConfig.model_validate_json(sys.stdin.buffer.readline())
    if config.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, config.cores)
    try:
        asyncio.run(run(config))
    except OSError as error:
        print(f"gateway: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
