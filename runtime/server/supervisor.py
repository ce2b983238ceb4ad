"""Starts the gateway process, watches it between ticks, and starts it again when it dies or hangs."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from runtime.ipc.shared_memory import SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.status_line import DisplayKind
from runtime.page.config import PageConfig
from runtime.protocol.listening import Listening
from sim2real.child_process import python_module
from sim2real.contract import Contract

_CHECK_EVERY_S = 0.25
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 10.0
_STABLE_AFTER_S = 10.0
_END_S = 10.0
HEARTBEAT_S = 0.2
_HUNG_S = 4.0
"""Without a heartbeat; the first one may take as long as a start does on a busy machine."""
_LONGEST_START_S = 60.0


class GatewayConfig(BaseModel):
    """What the control process tells its gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contract: Contract
    descriptor: int
    """Of the shared memory, inherited."""
    listening: tuple[int, ...]
    """Descriptors of the sockets on which clients connect, inherited."""
    display: DisplayKind
    telemetry: int
    """Descriptor of the telemetry ring, inherited."""
    record: Path | None = None
    """MCAP file to write."""
    facts: dict[str, str] = {}
    """What is served: policy file and digests, driver, options; also kept in the recording."""
    metrics: int | None = None
    """Port of the Prometheus endpoint."""
    token: str = ""
    """Asked for on TCP; empty for none."""
    page: PageConfig | None = None
    """The page to keep alive."""
    mjcf: Path | None = None
    """For goals in joint positions; the MJCF that ships with Shoal if not given."""
    cores: tuple[int, ...] = ()
    """Where it may run; the control process may be pinned to one core."""


@dataclass(frozen=True)
class Watching:
    """What the gateway makes of the telemetry."""

    ring: Ring
    record: Path | None = None
    facts: dict[str, str] = field(default_factory=dict)
    metrics: int | None = None
    page: PageConfig | None = None


class GatewaySupervisor:
    """The gateway process of one server; it ends with this process, however that ends."""

    def __init__(
        self,
        contract: Contract,
        slots: SharedSlots,
        listening: list[Listening],
        *,
        display: DisplayKind,
        watching: Watching,
        token: str = "",
        mjcf: Path | None = None,
    ) -> None:
        # Taken before the control process pins itself.
        cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
        self._config = GatewayConfig(
            contract=contract,
            descriptor=slots.descriptor,
            listening=tuple(part.fileno() for address in listening for part in address.sockets),
            display=display,
            telemetry=watching.ring.descriptor,
            record=watching.record,
            facts=watching.facts,
            metrics=watching.metrics,
            page=watching.page,
            token=token,
            mjcf=mjcf,
            cores=cores,
        )
        self._slots = slots
        self.restarts = 0
        self._backoff_s = _FIRST_BACKOFF_S
        self._next_check_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0

    @property
    def pid(self) -> int:
        """Process id of the running gateway; 0 before the start."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the process; takes about a millisecond, the process itself is ready a little later."""
        self._started_s = time.monotonic()
        self._slots.heartbeat_ns = 0
        self._process = subprocess.Popen(
            python_module("runtime.server.gateway_process"),
            stdin=subprocess.PIPE,
            pass_fds=[self._config.descriptor, self._config.telemetry, *self._config.listening],
        )
        assert self._process.stdin is not None
        # Far below a pipe's buffer, so this never blocks.
        self._process.stdin.write(self._config.model_dump_json().encode() + b"\n")
        self._process.stdin.flush()

    def check(self) -> None:
        """Between two ticks: end a gateway that hangs, restart a dead one after a back-off time. Never raises."""
        now = time.monotonic()
        if now < self._next_check_s or self._process is None:
            return
        self._next_check_s = now + _CHECK_EVERY_S
        if self._process.poll() is None:
            if self._hangs(now):
                # The next check finds it dead.
                self._process.kill()
            elif now - self._started_s > _STABLE_AFTER_S:
                self._backoff_s = _FIRST_BACKOFF_S
            return
        if now - self._started_s < self._backoff_s:
            return
        self._backoff_s = min(2 * self._backoff_s, _LONGEST_BACKOFF_S)
        self.restarts += 1
        try:
            self._close_input()
            self.start()
        except OSError:
            # Out of processes or memory just now; the loop goes on, and the next check tries again.
            self._started_s = now

    def close(self) -> None:
        """End the gateway."""
        if self._process is None:
            return
        self._close_input()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _hangs(self, now: float) -> bool:
        beat_ns = self._slots.heartbeat_ns
        if beat_ns == 0:
            return now - self._started_s > _LONGEST_START_S
        return time.monotonic_ns() - beat_ns > 1e9 * _HUNG_S

    def _close_input(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                return
