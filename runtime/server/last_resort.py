"""The end of a server whose driver does not return, and does not even hear that it must.

`runtime.process.signals.Patience` interrupts a call that waits in Python. One that waits in C, or catches whatever is
raised in it, goes on. A thread that sleeps until a signal asks for the end then waits a little longer, says which call
it is, and ends the process: the robot could not be told, and holds its last target.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from runtime.drivers.calls import CALLS, DriverCalls
from runtime.process.signals import ENDING

_LOOK_S = 0.05


class LastResort:
    """Within the block, a driver that is in one and the same call for `seconds` after such a signal ends the process,
    with status 2; `close` has `close_s`. Only the main thread may enter.
    """

    def __init__(self, driver: DriverCalls, *, seconds: float, close_s: float) -> None:
        self._driver, self._seconds, self._close_s = driver, seconds, close_s
        self._ended = False
        self.on_end: Callable[[], object] = _nothing
        """Called before the process ends."""

    def __enter__(self) -> Self:
        # Written by the interpreter's own handler, whatever Python code or C library the main thread is in.
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._writes, False)
        self._before = signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = True
        signal.set_wakeup_fd(self._before)
        with suppress(OSError):  # a driver may have closed it
            os.close(self._writes)

    def _watch(self) -> None:
        try:
            while received := os.read(self._reads, 64):
                if any(number in ENDING for number in received):
                    self._wait_for_end()
            os.close(self._reads)
        except OSError:
            return

    def _wait_for_end(self) -> None:
        since, began_s = (self._driver.call[0], self._driver.begun), time.monotonic()
        while not self._ended:
            time.sleep(_LOOK_S)
            now, now_s = (self._driver.call[0], self._driver.begun), time.monotonic()
            if now != since or not now[0]:
                since, began_s = now, now_s
            call = CALLS[now[0]]
            if now_s - began_s > (self._close_s if call == "close" else self._seconds):
                robot = "holds what it was told last" if call == "close" else "could not be told to stop"
                sys.stderr.write(
                    f"error: driver {self._driver.name}: {call} does not return, not even when it is interrupted; the "
                    f"robot {robot}.\n"
                )
                sys.stderr.flush()
                self.on_end()
                os._exit(2)


def _nothing() -> None:
    pass
