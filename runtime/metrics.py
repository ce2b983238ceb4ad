"""Prometheus metrics of a running server, from the telemetry that the gateway drains: `serve --metrics 9100`."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.status import Reason, State
from runtime.telemetry import Kind
from sim2real.errors import ShoalError

_BUCKETS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)


def require_prometheus() -> Any:
    """The client library, or one sentence."""
    try:
        import prometheus_client
    except ImportError as error:
        raise ShoalError(f"--metrics needs prometheus-client: pip install 'shoal[metrics]' ({error}).") from error
    return prometheus_client


class Metrics:
    """Counters and histograms in a registry of their own."""

    def __init__(self) -> None:
        library = require_prometheus()
        self.registry = library.CollectorRegistry()
        kept: dict[str, Any] = {"registry": self.registry}
        self._ticks = library.Counter("shoal_ticks", "Control ticks", ["state", "reason"], **kept)
        self._goals = library.Counter("shoal_goals", "Goals taken by the control loop", **kept)
        self._reached = library.Counter("shoal_goals_reached", "Goals reached", **kept)
        self._clamped = library.Gauge("shoal_clamped", "Ticks in which the safety layer corrected the command", **kept)
        self._missed = library.Gauge("shoal_missed_periods", "Control periods skipped", **kept)
        self._distance = library.Gauge("shoal_distance_m", "Tool to goal", **kept)
        self._angle = library.Gauge("shoal_angle_deg", "Tool to goal orientation", **kept)
        self._reachability = library.Gauge("shoal_reachability", "P(goal reached)", **kept)
        self._lost = library.Gauge(
            "shoal_telemetry_lost", "Telemetry records overwritten before they were read", **kept
        )
        self._times = {
            name: library.Histogram(f"shoal_{name}_seconds", text, buckets=_BUCKETS, **kept)
            for name, text in (
                ("lateness", "Wake-up after the deadline"), ("step", "Readings to command"), ("tick", "Whole tick"),
            )
        }  # fmt: skip
        self._was_reached = False

    def update(self, records: np.ndarray, lost: int) -> None:
        """Count telemetry records."""
        self._lost.set(lost)
        for record in records:
            if record["kind"] == Kind.GOAL:
                self._goals.inc()
                self._was_reached = False
            elif record["kind"] == Kind.TICK:
                self._tick(record)

    def _tick(self, record: Any) -> None:
        state, reason = State(int(record["state"])).label, Reason(int(record["reason"])).name.lower()
        self._ticks.labels(state, reason).inc()
        for name, histogram in self._times.items():
            histogram.observe(record[f"{name}_ns"] / 1e9)
        self._clamped.set(record["clamped"])
        self._missed.set(record["missed_periods"])
        self._distance.set(record["distance_m"])
        self._angle.set(record["angle_deg"])
        self._reachability.set(record["reachability"])
        if record["reached"] and not self._was_reached:
            self._reached.inc()
        self._was_reached = bool(record["reached"])

    def serve(self, port: int) -> Any:
        """Answer on the loopback interface; returns the server, whose `shutdown()` ends it."""
        server, _ = require_prometheus().start_http_server(port, addr="127.0.0.1", registry=self.registry)
        return server
