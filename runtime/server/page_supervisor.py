"""Starts the page's process once a gateway answers, watches it between ticks, and starts another when it ends.

It belongs to the control process, as the listener process does, so that the page and its stop outlast every gateway.
The page's port stays open here: whoever connects while a page takes another one's place waits, and is not turned away.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress

from runtime.page.config import PageConfig, listening_socket
from runtime.process.child import ChildProcess, usable_cores
from runtime.process.watching import Backoff
from sim2real.child_process import is_suspended

_CHECK_EVERY_S = 0.1
_SUSPENDED_LOOKS = 5
"""After which a page that a signal has suspended is ended."""
_LONGEST_START_S = 60.0
_STABLE_AFTER_S, _LONGEST_BACKOFF_S = 15.0, 30.0
"""A start takes seconds of a processor, so a page that ends again and again is started more and more slowly."""
_END_S = 5.0
_NICENESS = -15
"""Whoever presses the stop does not wait for ordinary processes, and these still have their turn."""


class PageSupervisor:
    """The page of one server; `hurried` asks for a priority above that of ordinary processes. Raises `ShoalError` when
    its port is taken.
    """

    def __init__(self, config: PageConfig, *, hurried: bool = False) -> None:
        self._config, self._cores, self._niceness = config, usable_cores(), _NICENESS if hurried else 0
        self._listening = listening_socket(config)
        self._listening.listen()
        self._process: ChildProcess | None = None
        self._backoff = Backoff(_LONGEST_BACKOFF_S)
        self._next_check_s = self._first_started_s = self._started_s = 0.0
        self._looks = self._ended = 0
        self.was_up = False
        """Whether a page has ever let browsers in."""

    @property
    def problem(self) -> str:
        """Why it is no use to wait for the page, in words; empty as long as it may come up, and once it was up."""
        if self.was_up or not self._first_started_s:
            return ""
        if self._ended:
            return "it ended while it started, as it says above, and is started again"
        if time.monotonic() - self._first_started_s > _LONGEST_START_S:
            return f"it has been starting for {_LONGEST_START_S:g} s"
        return ""

    def check(self, *, answered: bool) -> None:
        """Called between two ticks, with whether a gateway has answered; never waits, never raises."""
        now = time.monotonic()
        if now < self._next_check_s:
            return
        self._next_check_s = now + _CHECK_EVERY_S
        # Out of processes or memory just now: the loop goes on, and a later check tries again.
        with suppress(OSError):
            if self._process is not None:
                self._look_at(self._process)
            elif answered and self._backoff.over(now):
                self._start(now)

    def end(self) -> None:
        """Ask the page to end, without waiting, and close its port."""
        if self._process is not None:
            self._process.end()
        self._listening.close()

    def wait(self) -> None:
        """Wait until it has ended, or had to be killed."""
        if self._process is not None:
            self._process.wait(_END_S)

    def _start(self, now: float) -> None:
        self._backoff.started(now)
        self._started_s, self._first_started_s = now, self._first_started_s or now
        config = self._config.model_dump_json().encode()
        self._process = ChildProcess("runtime.page", config, cores=self._cores, niceness=self._niceness)
        self._process.go([self._listening.fileno()])

    def _look_at(self, process: ChildProcess) -> None:
        if process.status is not None:
            print(f"page       ended with status {process.status}, starts again", file=sys.stderr, flush=True)
            self._ended += 1
            process.end()
            self._process = None
            return
        if process.is_up:
            self.was_up = True
            if time.monotonic() - self._started_s > _STABLE_AFTER_S:
                self._backoff.came_up()
        self._looks = self._looks + 1 if is_suspended(process.pid) else 0
        if self._looks >= _SUSPENDED_LOOKS:
            # The next check finds it dead.
            process.kill()
