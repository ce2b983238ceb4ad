"""A served run from its first tick to rest: what ends it, and what of a driver's failure."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import DriverFailed
from runtime.drivers.calls import DriverCalls
from runtime.options import ServeOptions
from runtime.process.signals import EndingSignals, Patience
from runtime.protocol.listening import Listening
from runtime.server.control_link import ServerExchange
from runtime.server.estop_sources import EstopSources
from runtime.server.supervisor import GatewaySupervisor

_AT_REST, _LONGEST_BRAKING_S = 1e-5, 2.0
"""A target that moves less in a tick (rad or m) rests; an emergency stop's only comes ever closer to the joints."""
NOTICED_WITHIN_S, CLOSED_WITHIN_S = 1.0, 10.0
"""After a signal that asks for the end, a driver that lets nothing go on is interrupted; one that never closes, too."""
_TICKS_WITHIN_S = 0.5
"""For each tick that brakes; and for the end of a driver that had to be interrupted before."""
LAST_RESORT_S = 2.0
"""When a driver that hears no interruption is left to itself."""


class Server(NamedTuple):
    """What one run is made of."""

    listening: list[Listening]
    sources: EstopSources
    driver: DriverCalls
    core: PolicyController
    supervisor: GatewaySupervisor
    exchange: ServerExchange
    loop: Loop
    signals: EndingSignals
    patience: Patience


class Ended(NamedTuple):
    """How a run ended."""

    reason: str
    """In words."""
    braked: bool
    """Whether the driver took the commands that bring the robot to rest."""
    failures: list[str]
    """What the driver did wrong, a sentence each."""


class _Ending:
    """Why and when the loop ends."""

    def __init__(
        self,
        options: ServeOptions,
        driver: DriverCalls,
        exchange: ServerExchange,
        signals: EndingSignals,
        supervisor: GatewaySupervisor,
    ) -> None:
        self._options, self._driver, self._exchange = options, driver, exchange
        self._signals, self._supervisor = signals, supervisor
        self._started_s = driver.now_s()
        self.reason = ""

    def __call__(self) -> bool:
        duration = self._options.duration
        if self._signals():
            self.reason = self._signals.received
        elif self._supervisor.failure:
            self.reason = "the gateway's failure"
        elif self._exchange.stop_requested:
            self.reason = "stop request"
        elif duration is not None and self._driver.now_s() - self._started_s >= duration:
            self.reason = "duration"
        elif self._options.exit_after_goals and self._exchange.finished:
            self.reason = "goals done"
        return bool(self.reason)


def run(options: ServeOptions, server: Server) -> Ended:
    """Tick until something ends the run, and brake; whatever a driver does, that is tried."""
    ending = _Ending(options, server.driver, server.exchange, server.signals, server.supervisor)
    ready = _Ready(server.core, server.supervisor)
    failures: list[str] = []

    def should_end() -> bool:
        ready.tell()
        return ending()

    try:
        with server.patience.after(server.signals, NOTICED_WITHIN_S + server.driver.period_s):
            server.loop.run(should_end, on_first_tick=ready.ticked)
    except DriverFailed as failed:
        ending.reason = "the driver's failure"
        failures.append(str(failed))
    except OSError as error:
        if error.errno != errno.EBADF:
            with suppress(DriverFailed):
                _brake(server)
            raise
        ending.reason = "the driver's failure"
        failures.append(descriptors_closed(server.driver.name))
    except KeyboardInterrupt:  # a library of the driver's has taken Ctrl-C for itself
        ending.reason = "SIGINT"
    except BaseException:
        with suppress(DriverFailed):
            _brake(server)
        raise
    if server.driver.overdue == "write":
        return Ended(ending.reason, False, failures)  # another one would not return either
    try:
        _brake(server)
    except DriverFailed as failed:
        failures += [] if str(failed) in failures else [str(failed)]
        return Ended(ending.reason, False, failures)
    return Ended(ending.reason, True, failures)


def descriptors_closed(driver: str) -> str:
    """For nothing else in this process closes what is not its own."""
    return f"driver {driver}: it closed file descriptors that are the server's own."


def close_driver(driver: DriverCalls, patience: Patience, failures: list[str]) -> None:
    """Whatever it does, what comes after it has its turn; what it did wrong is added to `failures`."""
    patience.allow(_TICKS_WITHIN_S if driver.overdue else CLOSED_WITHIN_S)
    try:
        driver.close()
    except DriverFailed as failed:
        failures.append(str(failed))
    patience.revoke()


def _brake(server: Server) -> None:
    """Tick until the robot's target is at rest; the last target is what it holds from now on."""
    loop, core = server.loop, server.core
    if not loop.statistics.ticks:
        return  # it was never told anything
    patience_s = _TICKS_WITHIN_S + server.driver.period_s
    server.patience.allow(patience_s)
    core.stop()
    target, end_s = core.safety.target.copy(), time.monotonic() + _LONGEST_BRAKING_S
    judged = loop.statistics.ticks

    def at_rest() -> bool:
        nonlocal judged
        server.patience.allow(patience_s)
        if loop.statistics.ticks == judged:
            return time.monotonic() > end_s  # that tick was left out
        judged = loop.statistics.ticks
        moved = float(np.abs(core.safety.target - target).max())
        np.copyto(target, core.safety.target)
        return moved < _AT_REST or time.monotonic() > end_s

    loop.run(at_rest)
    server.patience.revoke()


class _Ready:
    """Says that the server is ready once it is: the first command is out, which takes a good reading, the gateway
    answers clients, and browsers can open the page, if there is one; or says that they cannot.
    """

    def __init__(self, core: PolicyController, supervisor: GatewaySupervisor) -> None:
        self._core, self._supervisor = core, supervisor
        self._first_s = 0.0
        self._told = self._waits = False

    def ticked(self) -> None:
        """The first tick is over."""
        if self._core.safety.started:
            self._first_s = _age_s()

    def tell(self) -> None:
        """Report readiness, once; called after every tick."""
        if self._told or not self._supervisor.settled:
            return
        if not self._core.safety.started:
            if not self._waits:
                self._waits = True
                print(f"waiting    no reading can be followed yet: {self._core.safety.sentence}", flush=True)
            return
        self._told = True
        self._first_s = self._first_s or _age_s()
        if self._core.safety.config.effort_share is not None and not self._core.safety.measures_effort:
            print("safety off effort: the driver gives no effort", flush=True)
        if problem := self._supervisor.problem:
            print(problem, flush=True)
        print(f"ready      first command {self._first_s:.2f} s after the start", flush=True)


def _age_s() -> float:
    """Since the process was started, the interpreter's own start included where the system tells."""
    try:
        started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return time.process_time()
