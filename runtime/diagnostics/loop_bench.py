"""`runtime bench --loop`: how punctual the served loop is here, beside a loop that only sleeps, with and without load.

Every loop runs in a process of its own and does the same work: whole ticks of a policy for an arm that takes no time.
A miss is a control period without a tick of its own: the loop was too late for it, or had drifted past it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np

from runtime.control.loop import Loop, wait_until
from runtime.diagnostics.tick_bench import BenchDriver, SlotExchange, bench_core
from runtime.inference.policy import Policy
from runtime.options import Engine
from runtime.realtime import measures as realtime
from runtime.realtime.cpu_load import competing_load
from runtime.realtime.histogram import LatencySummary, summarise
from runtime.realtime.missed_deadlines import MissedDeadlines
from runtime.realtime.os_noise import noise_floor
from runtime.robot.model import find_model
from runtime.robot.readings import Float64
from runtime.safety import SafetyConfig
from sim2real.contract import Contract
from sim2real.errors import ShoalError


@dataclass(frozen=True)
class Variant:
    """One way to keep a rhythm."""

    name: str
    pacing: Literal["sleep", "absolute"]
    """`sleep` is `time.sleep(period)` after the work, as many robot scripts have it."""
    realtime: realtime.RealtimeOptions
    spin: bool = False
    warm_up: bool = True
    work_s: float = 0.0
    """Busy waiting after every command, as if the tick did more."""
    needs: str = ""
    """The measure without which this would be another variant once more."""


# Names in the order of `MATRIX`, each with everything of the line before it.
BARE = Variant("bare sleep", "sleep", realtime.NOTHING, warm_up=False)
ABSOLUTE = Variant("deadlines", "absolute", realtime.NOTHING)
UNPRIVILEGED = Variant("+ unprivileged", "absolute", realtime.UNPRIVILEGED)
FIFO = Variant("+ SCHED_FIFO", "absolute", realtime.RealtimeOptions(no_deep_sleep=False), needs=realtime.FIFO)
NO_DEEP_SLEEP = Variant("+ no deep sleep", "absolute", realtime.RealtimeOptions(), needs=realtime.NO_DEEP_SLEEP)
FIFO_SPIN = Variant("+ 100 us spin", "absolute", realtime.RealtimeOptions(), spin=True, needs=realtime.FIFO)
SERVED = (BARE, UNPRIVILEGED, FIFO_SPIN)
"""The bare loop, and what `runtime serve` does without and with permission for SCHED_FIFO."""
MATRIX = (BARE, ABSOLUTE, UNPRIVILEGED, FIFO, NO_DEEP_SLEEP, FIFO_SPIN)
"""One measure after the other."""


@dataclass(frozen=True)
class LoopResult:
    """What one variant did."""

    variant: str
    load: int
    """Competing processes."""
    ticks: int
    missed: int
    missed_by: MissedDeadlines | None
    """By cause; None for the bare loop, which has no deadlines."""
    lateness: LatencySummary
    """Waking after the deadline; for the bare loop, how much longer than a period it took from tick to tick."""
    jitter: LatencySummary
    """How far the time between two commands is from the period."""
    measures: tuple[str, ...]
    """Real-time measures and what became of them."""


def bench_loop(
    path: Path,
    *,
    rate_hz: float,
    ticks: int,
    load: Sequence[bool] = (False,),
    variants: Sequence[Variant] = SERVED,
    engine: Engine = "auto",
) -> Iterator[dict[str, Any]]:
    """Yields for each load the noise floor as `{"noise": ...}`, then each variant as the fields of `LoopResult`.

    A variant that needs a measure which is not permitted gives `{"variant": ..., "missing": why}`.
    """
    if ticks < 1 or not rate_hz > 0:
        raise ShoalError(f"bench: --ticks must be at least 1 and --loop positive, got {ticks} and {rate_hz:g}.")
    for loaded in load:
        context = competing_load() if loaded else nullcontext(0)
        with context as hogs, ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
            noise = pool.submit(_noise, ticks / rate_hz / 2).result()
            yield {"load": hogs, "noise": noise}
            for variant in variants:
                yield pool.submit(_run, variant, path, rate_hz, ticks, hogs, engine).result()


def _noise(seconds: float) -> dict[str, float]:
    realtime.apply(realtime.RealtimeOptions())
    return asdict(noise_floor(seconds))


def _run(variant: Variant, path: Path, rate_hz: float, ticks: int, load: int, engine: Engine) -> dict[str, Any]:
    measures = realtime.apply(variant.realtime)
    lacking = [measure for measure in measures if not measure.on and measure.name.startswith(variant.needs)]
    if variant.needs and lacking:
        return {"variant": variant.name, "load": load, "missing": str(lacking[0])}
    policy = Policy(path, engine=engine)
    # Late ticks are what is counted here; to hold because of them would make the others cheaper.
    core = bench_core(policy, SafetyConfig(overruns_in_a_row=None))
    driver = _TimedDriver(policy.contract, 1 / rate_hz, ticks, variant.work_s)
    exchange = SlotExchange(policy.contract)
    exchange.send_goal()
    loop = Loop(driver, core, exchange, spin_s=realtime.SPIN_S if variant.spin else 0.0, warm=variant.warm_up)
    causes = None
    if variant.pacing == "absolute":
        loop.run(lambda: loop.statistics.ticks >= ticks)
        missed, causes = loop.statistics.missed_periods, loop.statistics.missed_by
        lateness = loop.statistics.lateness.summary()
    else:
        started = time.perf_counter()
        while loop.statistics.ticks < ticks:
            loop.tick(time.perf_counter_ns())
            time.sleep(driver.period_s)
        missed = max(round((time.perf_counter() - started) * rate_hz) - ticks, 0)
        lateness = summarise(np.maximum(np.diff(driver.written) - round(1e9 / rate_hz), 0))
    jitter = summarise(np.abs(np.diff(driver.written) - round(1e9 / rate_hz)))
    return asdict(LoopResult(variant.name, load, ticks, missed, causes, lateness, jitter, tuple(map(str, measures))))


class _TimedDriver(BenchDriver):
    """Notes when every command came, ns, and works on for `work_s`."""

    def __init__(self, contract: Contract, period_s: float, ticks: int, work_s: float) -> None:
        super().__init__(contract, find_model(contract), period_s=period_s)
        self.written = np.zeros(ticks, np.int64)
        self._work_ns = round(work_s * 1e9)
        self._count = 0

    def write(self, command: Float64) -> None:
        super().write(command)
        self.written[self._count] = self.written_ns
        self._count += 1
        wait_until(time.perf_counter_ns() + self._work_ns)
