"""The gateway's view of the control loop's telemetry: the latest tick, latencies, recording and metrics."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runtime.goals.markers import markers
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
        self._told = "joint_position_target" if contract.robot.tells_positions else "joint_command"
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

    def snapshot(self, status: GoalStatus, request: Sequence[float] | None) -> Snapshot:
        """The latest tick; `request` `[K]` is what the goal in force asks for."""
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
        record = self._latest
        if record is None:
            return empty
        efforts = _numbers(record["joint_effort"])
        readings = {name: _numbers(value) for name, value in self._contract.measured.split(record["readings"]).items()}
        return empty.model_copy(
            update=_known_fields(readings)
            | self._goal(request)
            | {
                "readings": readings,
                "tick": int(record["tick"]),
                "tick_us": int(record["tick_ns"]) / 1e3,
                "now_s": known(record["now_s"]),
                "stamp": int(record["wall_ns"]) / 1e9,
                "joint_effort": efforts if any(effort is not None for effort in efforts) else (),
                self._told: _numbers(record["command"]) if record["commanding"] else (),
            }
        )

    def _goal(self, request: Sequence[float] | None) -> dict[str, Any]:
        if request is None:
            return {}
        contract = self._contract
        values = {name: _numbers(request[part]) for name, part in contract.goal.layout(contract).slices.items()}
        places = markers(contract, request)
        if not places:
            return {"goal": values}
        turn = places[0].orientation_wxyz or contract.default_orientation_wxyz
        return {"goal": values, "goal_position": places[0].position, "goal_orientation_wxyz": turn}

    def _summarise(self) -> dict[str, Latency]:
        # Sums over 50,000 bins, so not for each of many quick requests.
        now = time.monotonic()
        if now - self._summarised_s > _SUMMARISE_S:
            self._summaries = {name: Latency(**histogram.summary()) for name, histogram in self._times.items()}
            self._summarised_s = now
        return self._summaries


def _known_fields(readings: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Readings that a snapshot has a field of its own for."""
    units = {f"{name}_wxyz": values for name, values in readings.items()}
    return {name: values for name, values in {**readings, **units}.items() if name in Snapshot.model_fields}


def _numbers(values: Any) -> Numbers:
    return tuple(known(value) for value in values)
