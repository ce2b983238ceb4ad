"""Starts the listener process, watches it between ticks, and has another one take its place when it dies or hangs.

That one does the same for the gateway; see `runtime.server.listener`. The listening sockets stay open here: whoever
connects while a process is being replaced waits, and is not turned away. So that nobody waits for a program to start, a
second listener process has started already, and does nothing until it is told to.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from runtime.gateway.config import GatewayConfig
from runtime.ipc.shared_memory import SharedSlots
from runtime.ipc.telemetry_ring import Ring
from runtime.monitoring.status_line import DisplayKind
from runtime.process.child import ChildProcess, usable_cores
from runtime.process.watching import Backoff, Watchdog
from runtime.protocol.listening import Listening
from runtime.server.page_supervisor import PageSupervisor
from sim2real.child_process import is_suspended
from sim2real.contract import Contract

_CHECK_EVERY_S = 0.02
_END_S = 10.0
_HUNG_S, _SUSPENDED_S = 1.0, 0.1
"""Without a beat of the listener process, which never waits for anything but, on a busy machine, for a processor; one
that was suspended does not even do that.
"""
_RESERVE_AFTER_S = 2.0
"""After a listener process has begun: another one's start does not compete with the first moments of its gateway."""


@dataclass(frozen=True)
class Watching:
    """What the gateway makes of the telemetry."""

    ring: Ring
    record: Path | None = None
    facts: dict[str, str] = field(default_factory=dict)
    metrics: int | None = None


class GatewaySupervisor:
    """Listener process, gateway and page of one server; they end with this process, however that ends."""

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
        fifo_priority: int | None = None,
        page: PageSupervisor | None = None,
        descriptors_closed: str = "the file descriptors of this process were closed.",
    ) -> None:
        self._config = GatewayConfig(
            contract=contract,
            descriptor=slots.descriptor,
            listening=tuple(tuple(part.fileno() for part in address.sockets) for address in listening),
            display=display,
            telemetry=watching.ring.descriptor,
            record=watching.record,
            facts=watching.facts,
            metrics=watching.metrics,
            token=token,
            mjcf=mjcf,
            fifo_priority=fifo_priority,
        )
        self._slots, self._cores = slots, usable_cores()
        self._page, self._descriptors_closed = page, descriptors_closed
        self.failure = ""
        """Why no client is heard any more: no gateway ever came up, or its sockets are closed; empty for nothing."""
        self._process: ChildProcess | None = None
        self._reserve: ChildProcess | None = None
        self._used_s = self._next_check_s = 0.0
        self._backoff = Backoff()
        self._watchdog = Watchdog(_HUNG_S, every_s=_CHECK_EVERY_S)
        self._eager = Watchdog(_SUSPENDED_S, every_s=_CHECK_EVERY_S)

    @property
    def restarts(self) -> int:
        """How many gateways have taken the place of one that died or hung."""
        return max(0, self._slots.gateway_starts - 1)

    @property
    def answers(self) -> bool:
        """Whether a gateway has come up."""
        return self._slots.gateway_beats > 0

    @property
    def settled(self) -> bool:
        """Whether everything that was asked for is up, or `problem` says what is not."""
        return self.answers and (self._page is None or self._page.was_up or bool(self.problem))

    @property
    def problem(self) -> str:
        """What is not up, and need not be waited for; empty for nothing."""
        problem = self._page.problem if self._page else ""
        return problem and f"page       not up: {problem}"

    def start(self) -> None:
        """Start the listener process; takes about a millisecond, the process itself is ready a little later."""
        self._use(self._launch(time.monotonic()))

    def check(self) -> None:
        """Called between two ticks: end a process that hangs, replace a dead one, have one in reserve. Never raises."""
        now = time.monotonic()
        if now < self._next_check_s or self._process is None:
            return
        self._next_check_s = now + _CHECK_EVERY_S
        try:
            os.fstat(self._slots.descriptor)
        except OSError:
            self.failure = self._descriptors_closed
            return
        # Out of processes or memory just now: the loop goes on, and a later check tries again.
        with suppress(OSError):
            if self._process.status is not None:
                self._replace(self._process, now)
            elif self._hangs(self._process, now):
                # The next check finds it dead.
                self._process.kill()
            elif self._watchdog.seen and self.answers:
                self._backoff.came_up()
                self._have_reserve(now)
        if self._page is not None:
            self._page.check(answered=self.answers)

    def _hangs(self, process: ChildProcess, now: float) -> bool:
        beats = self._slots.listener_beats
        silent, for_long = self._eager.hangs(beats, now), self._watchdog.hangs(beats, now)
        return for_long or (silent and is_suspended(process.pid))

    def close(self) -> None:
        """End all processes."""
        self._slots.say_control_ends()
        if self._page is not None:
            self._page.end()
        processes = [process for process in (self._reserve, self._process) if process is not None]
        if self._reserve is not None:
            self._reserve.kill()  # it has done nothing yet, and may be busy with its start
        for process in processes:
            process.end()
        for process in processes:
            process.wait(_END_S)
        if self._page is not None:
            self._page.wait()

    def _replace(self, dead: ChildProcess, now: float) -> None:
        """Have the process in reserve take the dead one's place; without one, start another in due time."""
        if (dead.status or 0) > 0 and not self.answers:
            # Another attempt would end the same way; one that was killed says nothing about the next.
            self.failure = f"gateway: it ended with status {dead.status}; its own message is above."
        elif self._reserve is not None and self._reserve.status is None:
            dead.end()
            reserve, self._reserve = self._reserve, None
            self._use(reserve)
        elif self._backoff.over(now):
            dead.end()
            self._use(self._launch(now))

    def _have_reserve(self, now: float) -> None:
        missing = self._reserve is None or self._reserve.status is not None
        if missing and now - self._used_s > _RESERVE_AFTER_S and self._backoff.over(now):
            if self._reserve is not None:
                self._reserve.end()
            self._reserve = self._launch(now)

    def _launch(self, now: float) -> ChildProcess:
        self._backoff.started(now)
        memory = (self._config.descriptor, self._config.telemetry)
        config = self._config.model_dump_json().encode()
        return ChildProcess("runtime.server.listener", config, inherited=memory, cores=self._cores)

    def _use(self, process: ChildProcess) -> None:
        self._process, self._used_s = process, time.monotonic()
        for watchdog in (self._watchdog, self._eager):
            watchdog.restart(self._slots.listener_beats, self._used_s)
        process.go([descriptor for address in self._config.listening for descriptor in address])
