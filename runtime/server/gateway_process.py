"""The gateway process: sockets, validation, recording and display, so that the control loop has none of them.

Started by `runtime.server.supervisor` as `python -m runtime.server.gateway_process`, with its configuration as one JSON
line on standard input. End of file there means that the control process is gone, and the gateway ends too. A restarted
gateway goes on from what it finds in shared memory: goals, numbers, lease and emergency stop stay what they were.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from runtime.ipc.shared_memory import SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.status_line import run_display
from runtime.monitoring.telemetry_reader import TelemetryReader
from runtime.page.supervisor import keep_page
from runtime.server.gateway import Gateway
from runtime.server.listener import Listener
from runtime.server.supervisor import HEARTBEAT_S, GatewayConfig


async def run(config: GatewayConfig) -> None:
    """Listen on every address until standard input ends."""
    slots = SharedSlots(config.descriptor)
    watch, metrics = _watch(config)
    gateway = Gateway(config.contract, slots, watch, facts=config.facts, mjcf=config.mjcf)
    servers = [await _listen(gateway, descriptor, config.token) for descriptor in config.listening]
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), _on_parent_input, finished)
    loop.add_signal_handler(signal.SIGTERM, finished.set)
    work = (_beat(slots), run_display(gateway.status, config.display), watch.run())
    tasks = [asyncio.create_task(part) for part in work]
    if config.page is not None:
        tasks.append(asyncio.create_task(keep_page(config.page)))
    await finished.wait()
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for server in servers:
        server.close()
    if metrics is not None:
        metrics.shutdown()


async def _listen(gateway: Gateway, descriptor: int, token: str) -> asyncio.Server:
    """Serve a socket that the control process has bound, so that clients who come before a new gateway can wait."""
    listening = socket.socket(fileno=descriptor)
    # Only the user's own processes reach the Unix socket.
    asked = "" if listening.family == socket.AF_UNIX else token
    return await Listener(gateway, token=asked).listen(listening)


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
    """Show the supervisor that this process is not stuck."""
    while True:
        slots.heartbeat_ns = time.monotonic_ns()
        await asyncio.sleep(HEARTBEAT_S)


def _on_parent_input(finished: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        finished.set()


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
