"""Where the object is, from whoever sees it: reports of a camera's program, through the gateway, into the readings.

    tracker ── {"type":"object",...} ──► gateway: Reports ── shared memory ──► loop: Tracker ── readings

A simulated robot knows where its object is; on a real one no driver does. One source at a time is listened to: another
one is refused until the first has been silent for a second, so that two cameras can't make the object jump.
"""

from __future__ import annotations

import math
import time

import numpy as np

from runtime.ipc.shared_memory import Slot
from runtime.robot.readings import Float64


class Tracker:
    """The control loop's side; what was seen longer ago than `stale_s` is not known any more."""

    def __init__(self, slot: Slot, stale_s: float) -> None:
        self._slot, self._stale_ns = slot, round(1e9 * stale_s)
        self._position: Float64 = np.full(3, math.nan)
        self._seen_ns = 0

    def fill(self, out: Float64) -> None:
        """The object's position `[3]` m, or NaN."""
        if self._slot.read():
            record = self._slot.value[0]
            self._position[:] = record["position"]
            self._seen_ns = int(record["seen_ns"])
        known = self._seen_ns > 0 and time.monotonic_ns() - self._seen_ns <= self._stale_ns
        out[:] = self._position if known else math.nan
