"""The gateway's side of where the object is: one source's reports at a time, checked, into shared memory.

Another source is refused until the first has been silent for a second, so that two cameras can't make the object jump.
"""

from __future__ import annotations

import time

from runtime.ipc.shared_memory import Slot
from runtime.protocol.messages import Accepted, ObjectReport, Refused
from runtime.robot.layout import Layout
from runtime.safety import SafetyConfig
from runtime.safety.rules.objects import ObjectNear
from sim2real.contract import Contract

_SILENT_S = 1.0
_FUTURE_S = 0.1
_OLDEST_S = 3600.0


class Reports:
    """The gateway's side."""

    def __init__(self, contract: Contract, slot: Slot, config: SafetyConfig) -> None:
        self._goal, self._slot = contract.goal, slot
        self._near = ObjectNear(contract, config, Layout.of(contract)) if ObjectNear.applies(contract) else None
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
        if self._near is None:
            return "object: the goals of this policy are about the tool, so no object is looked for."
        if report.frame != self._goal.frame:
            return f"object.frame is {report.frame!r}, but this policy takes places in {self._goal.frame!r}."
        if report.stamp is not None and report.stamp > time.time() + _FUTURE_S:
            late = report.stamp - time.time()
            return f"object.stamp is {late:.1f} s in the future; set the tracker's clock right, or leave it out."
        if report.stamp is not None and report.stamp < time.time() - _OLDEST_S:
            return f"object.stamp is {time.time() - report.stamp:.4g} s old; at most {_OLDEST_S:g} s are taken."
        if wrong := self._near.objection(report.position):
            return f"object: {wrong}."
        record = self._slot.value[0]
        source, silent_s = bytes(record["source"]).decode(), (time.monotonic_ns() - int(record["received_ns"])) / 1e9
        if source and source != report.source and silent_s < _SILENT_S:
            return f"object.source: {source!r} reports already; {report.source!r} may once that one is silent."
        return ""
