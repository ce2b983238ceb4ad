"""Latencies counted into preallocated bins, so that recording one allocates nothing that lives on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict  # pydantic reads typing's own only from Python 3.12 on

_BIN_NS = 1_000
_BINS = 50_000


class LatencySummary(TypedDict):
    """Microseconds (of a `Histogram`, rounded up to the bin); `count` is the number of samples."""

    count: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


class Histogram:
    """Bins of 1 µs up to 50 ms; longer times are kept as the maximum only."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS + 1, np.int64)
        self._max_ns = 0

    def record(self, duration_ns: int) -> None:
        """Count one duration; negative ones count as zero."""
        duration_ns = max(duration_ns, 0)
        self._counts[min(duration_ns // _BIN_NS, _BINS)] += 1
        if duration_ns > self._max_ns:
            self._max_ns = duration_ns

    def percentile_us(self, share: float) -> float:
        """Upper edge of the bin that holds the given share (0 to 1) of the samples; 0 without samples."""
        total = int(self._counts.sum())
        if total == 0:
            return 0.0
        index = int(np.searchsorted(np.cumsum(self._counts), max(1, share * total)))
        return self._max_ns / 1e3 if index >= _BINS else min((index + 1) * _BIN_NS, self._max_ns) / 1e3

    def summary(self) -> LatencySummary:
        """Median, tail and maximum."""
        return {
            "count": int(self._counts.sum()),
            "p50_us": self.percentile_us(0.5),
            "p99_us": self.percentile_us(0.99),
            "p999_us": self.percentile_us(0.999),
            "max_us": self._max_ns / 1e3,
        }


def summarise(durations_ns: NDArray[np.int64]) -> LatencySummary:
    """Summarise single durations `[N]` in ns, not rounded."""
    p50, p99, p999, longest = (float(x) for x in np.percentile(durations_ns, [50, 99, 99.9, 100]) / 1e3)
    return {"count": len(durations_ns), "p50_us": p50, "p99_us": p99, "p999_us": p999, "max_us": longest}
