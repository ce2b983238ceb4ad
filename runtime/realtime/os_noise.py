"""The machine's own noise: for how long a process that only reads the clock is stopped, and how often.

No loop on the machine can be more punctual than this. A process with a real-time priority that is stopped was stopped
by interrupts, by the firmware, or by a hypervisor that ran something else.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

_GAP_NS = 3_000
"""Longer between two readings of the clock than the reading itself takes."""
_MOST_GAPS = 100_000
_BURST_S = 0.4
_REST_S = 0.1
"""Linux takes the processor from real-time processes that leave nothing to others: for 50 ms of every second."""


@dataclass(frozen=True)
class Noise:
    """Gaps of more than 3 µs in which the process did not run."""

    gaps_per_s: float
    p50_us: float
    p99_us: float
    max_us: float
    lost_share: float
    """Share of the time spent in such gaps."""

    @property
    def line(self) -> str:
        """The noise in a line of text."""
        return (
            f"noise floor: {self.gaps_per_s:.0f} gaps of more than 3 us a second, p50 {self.p50_us:.0f}, "
            f"p99 {self.p99_us:.0f}, max {self.max_us:.0f} us; {self.lost_share:.1%} of the time"
        )


def noise_floor(seconds: float) -> Noise:
    """Watch the clock for so long, with this process's present priority, and count the gaps; with rests in between."""
    gaps = np.zeros(_MOST_GAPS, np.int64)
    count = took_ns = 0
    wanted_ns = round(seconds * 1e9)
    clock = time.perf_counter_ns
    while took_ns < wanted_ns:
        started = last = clock()
        end = started + min(round(_BURST_S * 1e9), wanted_ns - took_ns)
        while last < end:
            now = clock()
            if now - last > _GAP_NS and count < _MOST_GAPS:
                gaps[count] = now - last
                count += 1
            last = now
        took_ns += last - started
        if took_ns < wanted_ns:
            time.sleep(_REST_S)
    found = gaps[:count] / 1e3 if count else np.zeros(1)
    took_s = took_ns / 1e9
    p50, p99 = (float(value) for value in np.percentile(found, [50, 99]))
    return Noise(count / took_s, p50, p99, float(found.max()), float(found.sum()) / 1e6 / took_s)
