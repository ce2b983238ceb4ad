"""Prometheus metrics of a running server, from the telemetry that the gateway drains: `serve --metrics 9100`."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from runtime.ipc.telemetry_ring import Kind
from runtime.status import Reason, State
from sim2real.errors import ShoalError

_BUCKETS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)


class Metric(NamedTuple):
    """One family of metrics; `runtime top` shows the same names."""

    name: str
    kind: Literal["Counter", "Gauge", "Histogram"]
    text: str
    labels: tuple[str, ...] = ()


METRICS = {
    metric.name: metric
    for metric in (
        Metric("shoal_ticks", "Counter", "Control ticks", ("state", "reason")),
        Metric("shoal_goals", "Counter", "Goals taken by the control loop"),
        Metric("shoal_goals_reached", "Counter", "Goals reached"),
        Metric("shoal_clamped", "Gauge", "Ticks in which the safety layer corrected the command"),
        Metric("shoal_missed_periods", "Gauge", "Control periods skipped"),
        Metric("shoal_distance_m", "Gauge", "Distance to the goal"),
        Metric("shoal_angle_deg", "Gauge", "Angle to the goal"),
        Metric("shoal_reachability", "Gauge", "P(goal reached)"),
        Metric("shoal_telemetry_lost", "Gauge", "Telemetry records overwritten before they were read"),
        Metric("shoal_lateness_seconds", "Histogram", "Wake-up after the deadline"),
        Metric("shoal_step_seconds", "Histogram", "Readings to command"),
        Metric("shoal_tick_seconds", "Histogram", "Whole tick"),
    )
}
"""Every metric there is, by name. Prometheus adds `_total` to counters, `_bucket` and the like to histograms."""


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
        self._of = {name: self._family(library, metric) for name, metric in METRICS.items()}
        self._was_reached = False

    def update(self, records: np.ndarray, lost: int) -> None:
        """Count telemetry records."""
        self._of["shoal_telemetry_lost"].set(lost)
        for record in records:
            if record["kind"] == Kind.GOAL:
                self._of["shoal_goals"].inc()
                self._was_reached = False
            elif record["kind"] == Kind.TICK:
                self._tick(record)

    def _tick(self, record: Any) -> None:
        state, reason = State(int(record["state"])).label, Reason(int(record["reason"])).name.lower()
        self._of["shoal_ticks"].labels(state, reason).inc()
        for name in ("lateness", "step", "tick"):
            self._of[f"shoal_{name}_seconds"].observe(record[f"{name}_ns"] / 1e9)
        for name in ("clamped", "missed_periods", "distance_m", "angle_deg", "reachability"):
            self._of[f"shoal_{name}"].set(record[name])
        if record["reached"] and not self._was_reached:
            self._of["shoal_goals_reached"].inc()
        self._was_reached = bool(record["reached"])

    def _family(self, library: Any, metric: Metric) -> Any:
        buckets = {"buckets": _BUCKETS} if metric.kind == "Histogram" else {}
        family = getattr(library, metric.kind)
        return family(metric.name, metric.text, metric.labels, registry=self.registry, **buckets)

    def serve(self, port: int) -> Any:
        """Answer on the loopback interface; returns the server, whose `shutdown()` ends it."""
        server, _ = require_prometheus().start_http_server(port, addr="127.0.0.1", registry=self.registry)
        return server
