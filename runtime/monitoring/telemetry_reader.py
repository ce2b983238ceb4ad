"""The gateway's view of the control loop's telemetry: the latest tick, latencies, recording and metrics."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.ipc.telemetry_ring import Kind, Ring
from runtime.monitoring.telemetry_sink import TelemetrySink
from runtime.protocol.snapshot import Latency, Numbers, Snapshot
from runtime.realtime.histogram import Histogram
from runtime.status import GoalStatus, known
from sim2real.contract import Contract

_DRAIN_S = 0.05
_SUMMARISE_S = 0.5
_TIMES = ("lateness", "step", "tick")


class TelemetryReader:
    """Drains the ring; every record goes to the `sinks`, a recording or metrics say."""

    def __init__(self, ring: Ring, contract: Contract, *, sinks: Sequence[TelemetrySink] = ()) -> None:
        self._ring, self._contract, self._sinks = ring, contract, sinks
        self._latest: np.void | None = None
        self._goals = self._goals_reached = 0
        self._was_reached = False
        self._times = {name: Histogram() for name in _TIMES}
        self._summaries: dict[str, Latency] = {}
        self._summarised_s = -math.inf

    async def run(self) -> None:
        """Drain until cancelled, then once more."""
        try:
            while True:
                self.drain()
                await asyncio.sleep(_DRAIN_S)
        finally:
            self.drain()
            for sink in self._sinks:
                sink.close()

    def drain(self) -> None:
        """Take all records that have come since the last call."""
        records = self._ring.drain()
        for sink in self._sinks:
            sink.put(records, self._ring.lost)
        for record in records:
            if record["kind"] == Kind.GOAL:
                self._goals += 1
                self._was_reached = False
            elif record["kind"] == Kind.TICK:
                self._latest = record
                self._goals_reached += bool(record["reached"]) and not self._was_reached
                self._was_reached = bool(record["reached"])
                for name, histogram in self._times.items():
                    histogram.record(int(record[f"{name}_ns"]))

    def snapshot(self, status: GoalStatus, goal: tuple[Any, Any] | None) -> Snapshot:
        """The latest tick; `goal` is the position `[3]` m and the orientation `[4]` wxyz of the goal in force."""
        self.drain()
        summaries = self._summarise()
        empty = Snapshot(
            status=status,
            frame=self._contract.goal.frame,
            joint_names=self._contract.joint_names,
            lateness=summaries["lateness"],
            step=summaries["step"],
            tick_time=summaries["tick"],
            goals=self._goals,
            goals_reached=self._goals_reached,
            telemetry_lost=self._ring.lost,
        )
        record, joints = self._latest, len(self._contract.joint_names)
        if record is None:
            return empty
        readings, efforts = record["readings"], _numbers(record["joint_effort"])
        return empty.model_copy(
            update={
                "tick": int(record["tick"]),
                "tick_us": int(record["tick_ns"]) / 1e3,
                "now_s": known(record["now_s"]),
                "stamp": int(record["wall_ns"]) / 1e9,
                "joint_position": _numbers(readings[:joints]),
                "joint_velocity": _numbers(readings[joints : 2 * joints]),
                "joint_effort": efforts if any(effort is not None for effort in efforts) else (),
                "joint_position_target": _numbers(record["command"]) if record["commanding"] else (),
                "end_effector_position": _numbers(readings[2 * joints : 2 * joints + 3]),
                "end_effector_orientation_wxyz": _numbers(readings[2 * joints + 3 : 2 * joints + 7]),
                "object_position": _numbers(readings[2 * joints + 7 :]),
                "goal_position": _numbers(goal[0]) if goal else (),
                "goal_orientation_wxyz": _numbers(goal[1]) if goal else (),
            }
        )

    def _summarise(self) -> dict[str, Latency]:
        # Sums over 50,000 bins, so not for each of many quick requests.
        now = time.monotonic()
        if now - self._summarised_s > _SUMMARISE_S:
            self._summaries = {name: Latency(**histogram.summary()) for name, histogram in self._times.items()}
            self._summarised_s = now
        return self._summaries


def _numbers(values: Any) -> Numbers:
    return tuple(known(value) for value in values)
