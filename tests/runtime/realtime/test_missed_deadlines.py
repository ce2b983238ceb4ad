"""Who is to blame for a missed period: what is seen of sleeping, working, blocking and waiting for a processor."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.realtime import missed_deadlines
from runtime.realtime.missed_deadlines import DeadlineMonitor, MissedDeadlines, periods_over

MS = 10**6
PERIOD = 30 * MS
LATE = 15 * MS

counted = pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="the system does not count it")


class Kernel:
    """The clock and the counters of one thread, in ns, which go on as a test says and not as a busy machine wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = self.ran = self.waited = self.blocked = 0
        clocks = SimpleNamespace(perf_counter_ns=lambda: self.clock, thread_time_ns=lambda: self.ran)
        monkeypatch.setattr(missed_deadlines, "time", clocks)
        counters = missed_deadlines._Counters
        monkeypatch.setattr(counters, "of_this_thread", lambda file: counters(self.ran, self.waited, self.blocked))

    def passes(self, milliseconds: int, *, ran: int = 0, waited: int = 0, blocked: int = 0) -> None:
        self.clock += milliseconds * MS
        self.ran += ran * MS
        self.waited += waited * MS
        self.blocked += blocked


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def blame(between: Callable[[DeadlineMonitor], None]) -> MissedDeadlines:
    """One missed period of a thread that did this between the end of one tick and the end of the next."""
    watch = DeadlineMonitor()
    with watch:
        watch.begin_wait()
        between(watch)
        assert watch.missed(LATE, PERIOD) == 1
    return watch.causes


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
def test_a_sleep_that_ends_late_is_the_machines(kernel: Kernel) -> None:
    def oversleep(watch: DeadlineMonitor) -> None:
        kernel.passes(35, blocked=1)
        watch.slept(5 * MS)

    assert blame(oversleep) == MissedDeadlines(machine=1)


@counted
def test_a_sleep_as_planned_excuses_nothing(kernel: Kernel) -> None:
    def sleep_and_block(watch: DeadlineMonitor) -> None:
        kernel.passes(20, blocked=1)
        watch.slept(20 * MS)
        kernel.passes(30, blocked=1)

    assert blame(sleep_and_block) == MissedDeadlines(own=1)


@counted
def test_work_is_its_own(kernel: Kernel) -> None:
    assert blame(lambda watch: kernel.passes(50, ran=50)) == MissedDeadlines(own=1)


@counted
def test_waiting_behind_another_process_is_the_others(kernel: Kernel) -> None:
    assert blame(lambda watch: kernel.passes(50, ran=25, waited=25)) == MissedDeadlines(others=1)


@counted
def test_a_processor_that_is_taken_away_unseen_is_the_machines(kernel: Kernel) -> None:
    assert blame(lambda watch: kernel.passes(50, ran=25)) == MissedDeadlines(machine=1)


@counted
def test_a_process_that_was_stopped_is_no_tick_that_took_too_long(kernel: Kernel) -> None:
    def be_stopped(watch: DeadlineMonitor) -> None:
        kernel.passes(20, blocked=1)
        watch.slept(20 * MS)
        kernel.passes(30, blocked=1)
        os.kill(os.getpid(), signal.SIGCONT)

    before = signal.getsignal(signal.SIGCONT)
    assert blame(be_stopped) == MissedDeadlines(machine=1)
    assert signal.getsignal(signal.SIGCONT) == before


@counted
def test_the_system_counts_what_a_thread_does() -> None:
    file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    try:
        before = missed_deadlines._Counters.of_this_thread(file)
        deadline = time.thread_time_ns() + 20 * MS
        while time.thread_time_ns() < deadline:
            pass
        time.sleep(1e-3)
        after = missed_deadlines._Counters.of_this_thread(file)
    finally:
        os.close(file)
    assert after.ran_ns - before.ran_ns >= 20 * MS
    assert after.waited_ns >= before.waited_ns
    assert after.blocked > before.blocked


def test_what_the_system_does_not_count_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missed_deadlines, "_SCHEDSTAT", "/nowhere/schedstat")
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
