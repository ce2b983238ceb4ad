"""What each real-time measure buys on this machine: how late a process wakes from a short sleep with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from runtime.realtime import measures as realtime
from runtime.realtime.histogram import LatencySummary, summarise
from runtime.realtime.os_noise import Noise, noise_floor

_SLEEP_S = 1e-3
STEPS = {
    "nothing": realtime.NOTHING,
    "what needs no permission (short slice, no timer slack)": realtime.UNPRIVILEGED,
    "SCHED_FIFO, locked memory": realtime.RealtimeOptions(no_deep_sleep=False),
    "and no deep sleep": realtime.RealtimeOptions(),
}
"""One measure after the other."""


def measure_wakeups(sleeps: int) -> Iterator[tuple[str, LatencySummary]]:
    """Yields each of `STEPS`, each in a process of its own, and how late `sleeps` sleeps of a millisecond ended."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        for name, options in STEPS.items():
            yield name, pool.submit(wakeups, options, sleeps).result()


def measure_noise(seconds: float) -> Noise:
    """The noise floor with every measure that is permitted, in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_noise, seconds).result()


def wakeups(options: realtime.RealtimeOptions, sleeps: int) -> LatencySummary:
    """How late sleeps of a millisecond end in this process once these measures were tried."""
    realtime.apply(options)
    late = np.zeros(sleeps, np.int64)
    for index in range(sleeps):
        deadline = time.perf_counter_ns() + round(_SLEEP_S * 1e9)
        time.sleep(_SLEEP_S)
        late[index] = max(time.perf_counter_ns() - deadline, 0)
    return summarise(late)


def _noise(seconds: float) -> Noise:
    realtime.apply(realtime.RealtimeOptions())
    return noise_floor(seconds)
