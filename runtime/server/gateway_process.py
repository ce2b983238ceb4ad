"""The gateway process: conversations, validation, recording and display, so that the control loop has none of them.

A fork of the listener process, which hands connections over; see `runtime.server.listener`. When no more can come, the
gateway ends, too. A new one goes on from what it finds in shared memory: goals, numbers, lease and emergency stop stay
what they were.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Any

from runtime.ipc.shared_memory import SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.status_line import run_display
from runtime.monitoring.telemetry_reader import TelemetryReader
from runtime.page.supervisor import keep_page
from runtime.protocol.messages import MAX_LINE_BYTES
from runtime.server.connections import Connections
from runtime.server.gateway import Gateway
from runtime.server.supervisor import GatewayConfig

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
    slots = SharedSlots(config.descriptor)
    watch, metrics = _watch(config)
    gateway = Gateway(config.contract, slots, watch, facts=config.facts, mjcf=config.mjcf)
    connections, finished = Connections(gateway), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handed_over, _adopt, handed_over, connections, finished)
    work = (_beat(slots), run_display(gateway.status, config.display), watch.run())
    tasks = [asyncio.create_task(part) for part in work]
    if config.page is not None:
        tasks.append(asyncio.create_task(keep_page(config.page)))
    await finished.wait()
    loop.remove_reader(handed_over)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    if metrics is not None:
        metrics.shutdown()


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


def _watch(config: GatewayConfig) -> tuple[TelemetryReader, Any]:
    """The telemetry's readers, and the server of the metrics if there is one."""
    ring = Ring.of(config.contract, config.telemetry)
    recorder = metrics = server = None
    if config.record is not None:
        from runtime.recording.writer import Recorder

        recorder = Recorder(config.record, config.contract, config.facts)
    if config.metrics is not None:
        from runtime.monitoring.metrics import Metrics

        metrics = Metrics()
        server = metrics.serve(config.metrics)
    return TelemetryReader(ring, config.contract, recorder=recorder, metrics=metrics), server


async def _beat(slots: SharedSlots) -> None:
    """Show the listener process that this one is not stuck."""
    while True:
        slots.beat_as_gateway()
        await asyncio.sleep(_BEAT_S)
