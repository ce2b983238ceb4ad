"""Where the object is, from whoever sees it: reports of a camera's program, through the gateway, into the readings.

    tracker ── {"type":"object",...} ──► gateway: Reports ── shared memory ──► loop: Tracker ── readings

A simulated robot knows where its object is; on a real one no driver does. One source at a time is listened to: another
one is refused until the first has been silent for a second, so that two cameras can't make the object jump.
"""

from __future__ import annotations

import math
import time

import numpy as np

from runtime.protocol import Accepted, ObjectReport, Refused
from runtime.safety import Float64
from runtime.shared_memory import Slot
from sim2real.contract import Contract

_SILENT_S = 1.0
_FUTURE_S = 0.1


class Reports:
    """The gateway's side."""

    def __init__(self, contract: Contract, slot: Slot) -> None:
        self._goal, self._slot = contract.goal, slot
        slot.read()  # a gateway that takes the place of one that died

    def take(self, report: ObjectReport, number: int) -> Accepted | Refused:
        """Hand a report to the control loop; `number` is that of the latest command, for the reply."""
        objection = self._objection(report)
        if objection:
            return Refused(reason=objection)
        age_s = 0.0 if report.stamp is None else max(0.0, time.time() - report.stamp)
        now = time.monotonic_ns()
        record = self._slot.value[0]
        record["source"], record["position"] = report.source.encode(), report.position
        record["received_ns"], record["seen_ns"] = now, now - round(1e9 * age_s)
        self._slot.write()
        return Accepted(number=number)

    def _objection(self, report: ObjectReport) -> str:
        if self._goal.object_body is None:
            return "object: the goals of this policy are about the tool, so no object is looked for."
        if report.frame != self._goal.frame:
            return f"object.frame is {report.frame!r}, but this policy takes places in {self._goal.frame!r}."
        if report.stamp is not None and report.stamp > time.time() + _FUTURE_S:
            late = report.stamp - time.time()
            return f"object.stamp is {late:.1f} s in the future; set the tracker's clock right, or leave it out."
        record = self._slot.value[0]
        source, silent_s = bytes(record["source"]).decode(), (time.monotonic_ns() - int(record["received_ns"])) / 1e9
        if source and source != report.source and silent_s < _SILENT_S:
            return f"object.source: {source!r} reports already; {report.source!r} may once that one is silent."
        return ""


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
