"""Who is to blame for a missed period: what is seen of sleeping, working, blocking and waiting for a processor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.control.loop import wait_until
from runtime.realtime import missed_deadlines as causes_module
from runtime.realtime.cpu_load import competing_load
from runtime.realtime.missed_deadlines import DeadlineMonitor, MissedDeadlines, periods_over

MS = 10**6
PERIOD = 30 * MS
LATE = 15 * MS
"""A machine that stands still for a few milliseconds must not decide these tests."""

counted = pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="the system does not count it")


def blame(between: Callable[[DeadlineMonitor], None]) -> MissedDeadlines:
    """One missed period of a thread that did this between the end of one tick and the end of the next."""
    watch = DeadlineMonitor()
    with watch:
        time.sleep(1e-3)
        watch.begin_wait()
        between(watch)
        assert watch.missed(LATE, PERIOD) == 1
    return watch.causes


def work(seconds: float) -> None:
    wait_until(time.perf_counter_ns() + round(seconds * 1e9))


def handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@given(
    late=st.integers(-(10**9), 10**10),
    absent=st.integers(0, 10**10),
    waited=st.integers(0, 10**10),
    period=st.integers(10**5, 10**9),
)
def test_every_missed_period_has_one_cause(late: int, absent: int, waited: int, period: int) -> None:
    causes = MissedDeadlines()
    assert causes.add(late, absent, waited, period) == sum(asdict(causes).values()) == periods_over(late, period)
    assert min(asdict(causes).values()) >= 0
    assert causes.machine == periods_over(late, period) - periods_over(late - absent, period)
    if absent + waited >= late:
        assert causes.own == 0


@counted
def test_a_sleep_that_ends_late_is_the_machines() -> None:
    def oversleep(watch: DeadlineMonitor) -> None:
        time.sleep(0.035)
        watch.slept(5 * MS)

    assert blame(oversleep) == MissedDeadlines(machine=1)


@counted
def test_a_sleep_as_planned_excuses_nothing() -> None:
    def sleep_and_block(watch: DeadlineMonitor) -> None:
        time.sleep(0.02)
        watch.slept(20 * MS)
        time.sleep(0.03)

    assert blame(sleep_and_block) == MissedDeadlines(own=1)


@counted
def test_work_is_not_the_machines() -> None:
    assert blame(lambda watch: work(0.05)).machine == 0


@counted
def test_waiting_behind_another_process_is_the_others() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with competing_load():
            causes = blame(lambda watch: work(0.3))
    finally:
        os.sched_setaffinity(0, cores)
    assert causes == MissedDeadlines(others=1)


def test_what_the_system_does_not_count_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes_module, "_SCHEDSTAT", "/nowhere/schedstat")
    causes = blame(lambda watch: watch.slept(0))
    assert causes == MissedDeadlines(unknown=1)
    assert causes.line == "1 from unknown causes"


@counted
def test_no_handle_is_kept() -> None:
    before = handles()
    for _ in range(3):
        with DeadlineMonitor():
            assert handles() == before + 1
    assert handles() == before


def test_people_read_only_what_happened() -> None:
    assert MissedDeadlines().line == ""
    line = MissedDeadlines(machine=2, own=1).line
    assert line.startswith("2 because the processor was not there")
    assert line.endswith(", 1 because the tick took too long")
