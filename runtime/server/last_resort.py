"""The end of a server whose driver does not return, and does not even hear that it must.

`runtime.process.signals.Patience` interrupts a call that waits in Python. One that waits in C, or catches whatever is
raised in it, goes on. A thread that sleeps until a signal asks for the end then waits a little longer, says which call
it is, and ends the process: the robot could not be told, and holds its last target.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from os import _exit as end_process
from typing import Self

from runtime.drivers.calls import CALLS, DriverCalls
from runtime.process.signals import ENDING

_LOOK_S, _START_LOOK_S = 0.05, 0.2
_SAID_AFTER_S = 1.0
_START, _END = "its start", bytes(1)


class LastResort:
    """Within the block, a driver that is in one and the same call for `seconds` and its period after such a signal ends
    the process, with status 2; `close` has `close_s`, and is said to be waited for. Only the main thread may enter.

    As long as there is no `driver`, the one called `name` is being made, and `look` is called every now and then.
    """

    def __init__(self, name: str, *, seconds: float, close_s: float, look: Callable[[], object]) -> None:
        self._name, self._seconds, self._close_s, self._look = name, seconds, close_s, look
        self._ended = False
        self.driver: DriverCalls | None = None
        """The one that was made."""
        self.heard = ""
        """Name of the first such signal that the interpreter has heard, whatever its handler made of it."""
        self.on_end: Callable[[], object] = _nothing
        """Called before the process ends."""

    def __enter__(self) -> Self:
        # Written by the interpreter's own handler, whatever Python code or C library the main thread is in.
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._writes, False)
        self._before = self.listen()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended = True
        signal.set_wakeup_fd(self._before)
        with suppress(OSError):  # a driver may have closed it
            os.close(self._writes)

    def listen(self) -> int:
        """Have the interpreter tell this one of signals; gives who was told before."""
        return signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)

    def expect_end(self) -> None:
        """The end has come, be it without a signal."""
        with suppress(OSError):
            os.write(self._writes, _END)

    def _watch(self) -> None:
        try:
            while True:
                ready, _, _ = select.select([self._reads], [], [], _START_LOOK_S if self.driver is None else None)
                if not ready:
                    self._look()
                    continue
                received = os.read(self._reads, 64)
                if not received:
                    break
                names = [signal.Signals(number).name for number in received if number in ENDING]
                self.heard = self.heard or "".join(names[:1])
                if names or _END in received:
                    self._wait_for_end()
            os.close(self._reads)
        except (OSError, ValueError):
            return

    @property
    def _period_s(self) -> float:
        return 0.0 if self.driver is None else self.driver.period_s

    def _under_way(self) -> tuple[str, int]:
        """The call and its number; no name between two calls."""
        driver = self.driver
        return (_START, 0) if driver is None else (CALLS[driver.call[0]], driver.begun)

    def _wait_for_end(self) -> None:
        since, began_s, said = self._under_way(), time.monotonic(), False
        while not self._ended:
            time.sleep(_LOOK_S)
            now, now_s = self._under_way(), time.monotonic()
            call = now[0]
            if now != since or not call:
                since, began_s = now, now_s
            passed_s = now_s - began_s
            if call == "close" and passed_s > _SAID_AFTER_S and not said:
                said = True
                self._say(f"waiting    for the driver {self._name} to close, {self._close_s:g} s at most")
            if passed_s > (self._close_s if call == "close" else self._seconds + self._period_s):
                self._end(call)

    def _end(self, call: str) -> None:
        robot = {_START: "was told nothing", "close": "holds what it was told last"}
        told = robot.get(call, "could not be told to stop")
        self._say(
            f"error: driver {self._name}: {call} does not return, not even when it is interrupted; the robot {told}."
        )
        self.on_end()
        end_process(2)

    def _say(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _nothing() -> None:
    pass
