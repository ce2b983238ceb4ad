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
from runtime.drivers.base import DriverFailed, what_happened
from runtime.drivers.calls import DriverCalls
from runtime.options import ServeOptions
from runtime.process.exits import AbruptExit
from runtime.protocol.listening import Listening
from runtime.server.control_link import ServerExchange
from runtime.server.estop_sources import EstopSources
from runtime.server.safeguards import NOTICED_WITHIN_S, TICKS_WITHIN_S, Safeguards
from runtime.server.supervisor import GatewaySupervisor

_AT_REST, _LONGEST_BRAKING_S = 1e-5, 2.0
"""A target that moves less in a tick (rad or m) rests; an emergency stop's only comes ever closer to the joints."""
_LOOK_EVERY_S = 1.0
"""At what a driver's code has taken for itself."""


class Server(NamedTuple):
    """What one run is made of."""

    listening: list[Listening]
    sources: EstopSources
    driver: DriverCalls
    core: PolicyController
    supervisor: GatewaySupervisor
    exchange: ServerExchange
    loop: Loop
    safeguards: Safeguards


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

    def __init__(self, options: ServeOptions, server: Server) -> None:
        self._options, self._server = options, server
        self._started_s = self._next_look_s = 0.0
        self.reason = ""

    def begin(self) -> None:
        """The first tick comes next."""
        self._started_s = self._server.driver.now_s()

    def __call__(self) -> bool:
        server, duration = self._server, self._options.duration
        now_s = time.monotonic()
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + _LOOK_EVERY_S
            server.safeguards.look()
        if server.safeguards.signals():
            self.reason = server.safeguards.signals.received
        elif server.supervisor.failure:
            self.reason = "the gateway's failure"
        elif server.exchange.stop_requested:
            self.reason = "stop request"
        elif duration is not None and server.driver.now_s() - self._started_s >= duration:
            self.reason = "duration"
        elif self._options.exit_after_goals and server.exchange.finished:
            self.reason = "goals done"
        return bool(self.reason)


def run(options: ServeOptions, server: Server) -> Ended:
    """Tick until something ends the run, and brake; whatever a driver does, that is tried."""
    ending, safeguards = _Ending(options, server), server.safeguards
    ready = _Ready(server.core, server.supervisor)
    failures: list[str] = []

    def should_end() -> bool:
        ready.tell()
        return ending()

    try:
        with safeguards.patience.after(safeguards.signals, NOTICED_WITHIN_S + server.driver.period_s):
            server.exchange.after_tick(server.core, 0)  # so that others see for how long the first one lasts
            ending.begin()
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
    except AbruptExit as error:  # not in a call of the driver's, but in a handler of signals, say
        ending.reason = "the driver's failure"
        failures.append(f"driver {server.driver.name}: it {what_happened(error, '')}.")
    except BaseException:
        with suppress(DriverFailed):
            _brake(server)
        raise
    safeguards.last_resort.expect_end()
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


def _brake(server: Server) -> None:
    """Tick until the robot's target is at rest; the last target is what it holds from now on."""
    loop, core = server.loop, server.core
    if not loop.statistics.ticks:
        return  # it was never told anything
    patience_s = TICKS_WITHIN_S + server.driver.period_s
    server.safeguards.patience.allow(patience_s)
    core.stop()
    target, end_s = core.safety.target.copy(), time.monotonic() + _LONGEST_BRAKING_S
    judged = loop.statistics.ticks

    def at_rest() -> bool:
        nonlocal judged
        server.safeguards.patience.allow(patience_s)
        if loop.statistics.ticks == judged:
            return time.monotonic() > end_s  # that tick was left out
        judged = loop.statistics.ticks
        moved = float(np.abs(core.safety.target - target).max())
        np.copyto(target, core.safety.target)
        return moved < _AT_REST or time.monotonic() > end_s

    loop.run(at_rest)
    server.safeguards.patience.revoke()


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
