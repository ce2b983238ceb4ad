"""Optional consumers of the telemetry, each on a thread of its own: a slow disk or a failure concerns nobody else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from queue import Full, Queue
from threading import Thread

import numpy as np

from sim2real.errors import first_line

_LONGEST_QUEUE = 1200
"""Batches, one every 50 ms: a disk may pause for a minute."""
_END_S = 4.0
"""Twice that is shorter than the supervisor's patience with a gateway that ends."""


class TelemetrySink:
    """Feeds one consumer: `update` takes records of a `runtime.ipc.telemetry_ring.Ring` and how many were overwritten
    before they were read, and after the last ones `close` is called. What they raise, or a consumer that falls too far
    behind, is said once under `name`, and switches it off.
    """

    def __init__(self, name: str, update: Callable[[np.ndarray, int], None], close: Callable[[], None]) -> None:
        self._name, self._update, self._close = name, update, close
        self._queue: Queue[tuple[np.ndarray, int] | None] = Queue(_LONGEST_QUEUE)
        self.off = False
        """Whether it was switched off."""
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, records: np.ndarray, lost: int) -> None:
        """Hand over records, at once."""
        if self.off or not len(records):
            return
        try:
            self._queue.put_nowait((records, lost))
        except Full:
            self._switch_off("it does not keep up")

    def close(self) -> None:
        """Wait for what was handed over, but not for ever."""
        try:
            self._queue.put(None, timeout=_END_S)
        except Full:
            return
        self._thread.join(_END_S)

    def _work(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                if not self.off:
                    self._update(*item)
        except Exception as error:
            self._switch_off(first_line(error))
        try:
            self._close()
        except Exception as error:
            self._switch_off(first_line(error))

    def _switch_off(self, why: str) -> None:
        if not self.off:
            self.off = True
            say_off(self._name, why)


def say_off(name: str, why: str) -> None:
    """One line about an optional part that does not go on."""
    print(f"{name:<10} off: {why}; the robot goes on", file=sys.stderr, flush=True)
