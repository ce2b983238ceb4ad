"""The gateway process: conversations, validation, recording and display, so that the control loop has none of them.

A fork of the listener process, which hands connections over; see `runtime.server.listener`. When no more can come, the
gateway ends, too. A new one goes on from what it finds in shared memory: goals, numbers, lease and emergency stop stay
what they were.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from runtime.gateway.config import GatewayConfig
from runtime.gateway.connections import Connections
from runtime.gateway.gateway import Gateway
from runtime.ipc.shared_memory import SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.status_line import run_display
from runtime.monitoring.telemetry_reader import TelemetryReader
from runtime.monitoring.telemetry_sink import TelemetrySink, say_off
from runtime.protocol.messages import MAX_LINE_BYTES
from sim2real.errors import ShoalError, first_line

_BEAT_S = 0.1
_ADOPTED_AT_ONCE = 32
_LONGEST_HANDED_OVER = 2 * MAX_LINE_BYTES + 4096


def serve(config: GatewayConfig, handed_over: socket.socket) -> None:
    """Serve the connections that arrive at a socket, until that ends."""
    handed_over.setblocking(False)
    try:
        asyncio.run(_run(config, handed_over))
    except OSError as error:
        print(f"gateway: {error}", file=sys.stderr)
        raise SystemExit(1) from None


async def _run(config: GatewayConfig, handed_over: socket.socket) -> None:
    slots = SharedSlots(config.descriptor, config.contract)
    ring = Ring(config.telemetry, config.contract)
    telemetry = TelemetryReader(ring, config.contract, sinks=_sinks(config, ring))
    gateway = Gateway(config.contract, slots, telemetry, facts=config.facts, mjcf=config.mjcf)
    connections, finished = Connections(gateway), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handed_over, _adopt, handed_over, connections, finished)
    work = [_beat(slots), _optional("telemetry", telemetry.run())]
    work.append(_optional("display", run_display(gateway.status, config.display)))
    tasks = [asyncio.create_task(part) for part in work]
    await finished.wait()
    loop.remove_reader(handed_over)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _adopt(handed_over: socket.socket, connections: Connections, finished: asyncio.Event) -> None:
    """Take the connections that have come, or enough of them."""
    for _ in range(_ADOPTED_AT_ONCE):
        try:
            message, descriptors, _, _ = socket.recv_fds(handed_over, _LONGEST_HANDED_OVER, 1)
        except BlockingIOError:
            return
        if not message:
            finished.set()
            return
        for descriptor in descriptors:
            peer = socket.socket(fileno=descriptor)
            peer.setblocking(False)
            connections.adopt(peer, message[0], message[1:])


def _sinks(config: GatewayConfig, ring: Ring) -> list[TelemetrySink]:
    """The recording and the metrics, where they are asked for and can start: the control process has seen to that, but
    before a later gateway the recording's folder, say, may have vanished.
    """
    sinks = []
    for name, wanted, start in (("recording", config.record, _recording), ("metrics", config.metrics, _metrics)):
        try:
            if wanted is not None:
                sinks.append(start(config, ring))
        except (OSError, ShoalError, ValueError) as error:
            say_off(name, first_line(error))
    return sinks


def _recording(config: GatewayConfig, ring: Ring) -> TelemetrySink:
    from runtime.recording.writer import Recorder

    assert config.record is not None
    recorder = Recorder(config.record, config.contract, config.facts)
    return TelemetrySink("recording", recorder.follow(ring), recorder.close)


def _metrics(config: GatewayConfig, ring: Ring) -> TelemetrySink:
    from runtime.monitoring.metrics import Metrics

    assert config.metrics is not None
    metrics = Metrics()
    server = metrics.serve(config.metrics)
    return TelemetrySink("metrics", metrics.update, server.shutdown)


async def _optional(name: str, part: Coroutine[Any, Any, None]) -> None:
    """A part whose failure is said, and concerns nobody else."""
    try:
        await part
    except Exception as error:
        say_off(name, first_line(error))


async def _beat(slots: SharedSlots) -> None:
    """Show the listener process that this one is not stuck."""
    while True:
        slots.beat_as_gateway()
        await asyncio.sleep(_BEAT_S)
