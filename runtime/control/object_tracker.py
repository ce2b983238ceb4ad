"""Where the object is, from whoever sees it: reports of a camera's program, through the gateway, into the readings.

    tracker ── {"type":"object",...} ──► gateway: Reports ── shared memory ──► loop: Tracker ── readings

A simulated robot knows where its object is; on a real one no driver does. One source at a time is listened to: another
one is refused until the first has been silent for a second, so that two cameras can't make the object jump.
"""

from __future__ import annotations

import math
import time

import numpy as np

from runtime.ipc.shared_memory import Slot, tracked_layout
from runtime.robot.readings import Float64, Readings, is_finite
from sim2real.contract import Contract


class Tracker:
    """The control loop's side; what was seen longer ago than `stale_s` is not known any more."""

    def __init__(self, contract: Contract, slot: Slot, stale_s: float) -> None:
        self._slot, self._stale_ns = slot, round(1e9 * stale_s)
        layout = tracked_layout(contract)
        self._vector: Float64 = np.full(layout.size, math.nan)
        self._named = layout.split(self._vector)
        self._seen_ns = 0

    @property
    def wanted(self) -> bool:
        """Whether policies of the contract are told of an object at all."""
        return bool(self._named)

    def sees(self, readings: Readings) -> bool:
        """Whether somebody else has told already."""
        return all(is_finite(readings[name]) for name in self._named)

    def fill(self, out: Readings) -> None:
        """What was reported last, or NaN."""
        if self._slot.read():
            record = self._slot.value[0]
            self._vector[:] = record["values"]
            self._seen_ns = int(record["seen_ns"])
        known = self._seen_ns > 0 and time.monotonic_ns() - self._seen_ns <= self._stale_ns
        for name, value in self._named.items():
            out[name][:] = value if known else math.nan
