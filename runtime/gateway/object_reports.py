"""The gateway's side of where the object is: one source's reports at a time, checked, into shared memory.

Another source is refused until the first has been silent for a second, so that two cameras can't make the object jump.
"""

from __future__ import annotations

import time

import numpy as np

from runtime.goals.messages import GoalRefused
from runtime.ipc.shared_memory import Slot, tracked_layout
from runtime.protocol.messages import Accepted, ObjectReport, Refused
from runtime.robot.layout import Layout
from runtime.robot.readings import Readings
from runtime.safety import SafetyConfig
from runtime.safety.rules.objects import ObjectNear
from sim2real.contract import Contract, Quaternion, Reading, Vector3

_SILENT_S = 1.0
_FUTURE_S = 0.1
_OLDEST_S = 3600.0


class Reports:
    """The gateway's side."""

    def __init__(self, contract: Contract, slot: Slot, config: SafetyConfig) -> None:
        self._contract, self._goal, self._slot = contract, contract.goal, slot
        self._tracked = tracked_layout(contract)
        self._near = ObjectNear(contract, config, Layout.of(contract)) if ObjectNear.applies(contract) else None
        slot.read()  # a gateway that takes the place of one that died

    def take(self, report: ObjectReport, number: int) -> Accepted | Refused:
        """Hand a report to the control loop; `number` is that of the latest command, for the reply."""
        try:
            values = self._values(report)
        except GoalRefused as error:
            return Refused(reason=str(error))
        if objection := self._objection(report, values):
            return Refused(reason=objection)
        age_s = 0.0 if report.stamp is None else max(0.0, time.time() - report.stamp)
        now = time.monotonic_ns()
        record = self._slot.value[0]
        record["source"], record["values"] = report.source.encode(), values
        record["received_ns"], record["seen_ns"] = now, now - round(1e9 * age_s)
        self._slot.write()
        return Accepted(number=number)

    def _values(self, report: ObjectReport) -> np.ndarray:
        """What is seen, `[T]` as `tracked_layout` says; raises `GoalRefused`."""
        readings = [self._contract.reading(name) for name in self._tracked.sizes]
        if not readings:
            raise GoalRefused("object: the goals of this policy are about the robot, so no object is looked for.")
        if len({reading.about for reading in readings}) != 1 or not all(r.axes or r.turned for r in readings):
            named = ", ".join(self._tracked.sizes)
            raise GoalRefused(
                f"object: this policy is told {named}, which is more than one pose; a driver must tell it."
            )
        turn = report.orientation_wxyz
        if turn is None and any(reading.turned for reading in readings):
            raise GoalRefused("object.orientation_wxyz is missing; this policy is told how the object is turned.")
        return np.concatenate([_value(reading, report.position, turn or (1.0, 0.0, 0.0, 0.0)) for reading in readings])

    def _far(self, values: np.ndarray) -> str:
        """What is wrong with the place, in words; empty when nothing is."""
        readings = Readings.of(self._contract)
        for name, value in self._tracked.split(values).items():
            readings[name][:] = value
        return "" if self._near is None else self._near.objection(readings.vector.tolist())

    def _objection(self, report: ObjectReport, values: np.ndarray) -> str:
        if report.frame != self._goal.frame:
            return f"object.frame is {report.frame!r}, but this policy takes places in {self._goal.frame!r}."
        if report.stamp is not None and report.stamp > time.time() + _FUTURE_S:
            late = report.stamp - time.time()
            return f"object.stamp is {late:.1f} s in the future; set the tracker's clock right, or leave it out."
        if report.stamp is not None and report.stamp < time.time() - _OLDEST_S:
            return f"object.stamp is {time.time() - report.stamp:.4g} s old; at most {_OLDEST_S:g} s are taken."
        if wrong := self._far(values):
            return f"object: {wrong}."
        record = self._slot.value[0]
        source, silent_s = bytes(record["source"]).decode(), (time.monotonic_ns() - int(record["received_ns"])) / 1e9
        if source and source != report.source and silent_s < _SILENT_S:
            return f"object.source: {source!r} reports already; {report.source!r} may once that one is silent."
        return ""


def _value(reading: Reading, position: Vector3, orientation: Quaternion) -> np.ndarray:
    """Value of a tracked pose; raises `GoalRefused`."""
    value = np.asarray(reading.of_pose(np, np.array(position), np.array(orientation)), np.float64)
    try:
        return np.array(reading.proper(value.tolist()))
    except ValueError as error:
        raise GoalRefused(f"object.orientation_wxyz {error}.") from error
