"""Why control periods were missed: the machine, other processes, or the loop's own work.

What keeps a thread from running when its sleep is over tells the three apart, and Linux counts each:

    it waits for a processor    time in the run queue (`/proc/thread-self/schedstat`): other processes ran instead
    it runs, or blocks          its processor time, its voluntary context switches: its own work, or a driver that waits
    none of these               hypervisor, firmware or interrupts had the processor, or somebody stopped the process

A stopped process counts as one that blocks. SIGCONT, which lets it go on, says what it was.

Some hypervisors take the processor from a thread that runs without saying so, which counts as work here: what is said
of the machine is never too much.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple

_SCHEDSTAT = "/proc/thread-self/schedstat"
_BYTES = 80


@dataclass
class MissedDeadlines:
    """Missed control periods, by what they would not have been missed without."""

    machine: int = 0
    """The processor was not there."""
    others: int = 0
    """Other processes had the processor."""
    own: int = 0
    """The tick itself, or a driver that blocked."""
    unknown: int = 0
    """The system does not count what it takes to tell."""

    def add(self, late_ns: int, absent_ns: int, waited_ns: int, period_ns: int) -> int:
        """Count the periods that a tick missed which ended `late_ns` after the next deadline; gives their number.

        First those that would not have been missed but for `absent_ns`, then those but for `waited_ns` also.
        """
        missed, present, alone = (
            periods_over(late, period_ns) for late in (late_ns, late_ns - absent_ns, late_ns - absent_ns - waited_ns)
        )
        self.machine += missed - present
        self.others += present - alone
        self.own += alone
        return missed

    @property
    def line(self) -> str:
        """The counts in a line of text."""
        parts = [
            (self.machine, "because the processor was not there (hypervisor, firmware, interrupts, SIGSTOP)"),
            (self.others, "because other processes had the processor"),
            (self.own, "because the tick took too long"),
            (self.unknown, "from unknown causes"),
        ]
        return ", ".join(f"{count} {words}" for count, words in parts if count)


def periods_over(late_ns: int, period_ns: int) -> int:
    """Control periods that are over for a tick which ended `late_ns` after the next deadline."""
    return late_ns // period_ns + 1 if late_ns > 0 else 0


class DeadlineMonitor:
    """Follows the thread that enters it from tick to tick.

    What a punctual tick costs is a look at counters that the scheduler has already. To ask for the exact processor time
    (`time.thread_time_ns`) brings them up to date, whereupon the scheduler sees that the thread's slice is over and
    lets others run: without SCHED_FIFO, under load, that alone cost hundreds of 8,000 periods. It is asked for only
    after a miss, so that up to a tick's own time is missing from what the processor was absent.
    """

    def __init__(self) -> None:
        self.causes = MissedDeadlines()
        self._file: int | None = None
        self._asleep_ns = self._sleeps = 0
        self._began_ns = 0
        self._continued = False
        self._on_continue: Any = None
        self._before = _Counters(0, 0, 0)

    def __enter__(self) -> None:
        try:
            self._file = os.open(_SCHEDSTAT, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        if threading.current_thread() is threading.main_thread():  # no other may
            self._on_continue = signal.signal(signal.SIGCONT, self._note_continued)
        self.begin_wait()

    def __exit__(self, *error: object) -> None:
        if self._on_continue is not None:
            signal.signal(signal.SIGCONT, self._on_continue)
            self._on_continue = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def begin_wait(self) -> None:
        """The tick is done."""
        self._asleep_ns = self._sleeps = 0
        self._continued = False
        if self._file is not None:
            self._before = _Counters.of_this_thread(self._file)
            self._began_ns = time.perf_counter_ns()

    def slept(self, planned_ns: int) -> None:
        """The thread slept, and wanted to for so long; 0 is no sleep."""
        if planned_ns:
            self._asleep_ns += planned_ns
            self._sleeps += 1

    def missed(self, late_ns: int, period_ns: int) -> int:
        """Count what a tick missed that ended `late_ns` after the next deadline; gives the number of periods."""
        if self._file is None:
            missed = periods_over(late_ns, period_ns)
            self.causes.unknown += missed
            return missed
        before, now = self._before, _Counters.of_this_thread(self._file)
        waited = now.waited_ns - before.waited_ns
        absent = time.perf_counter_ns() - self._began_ns - self._asleep_ns - waited
        absent -= time.thread_time_ns() - before.ran_ns
        if now.blocked - before.blocked > self._sleeps and not self._continued:
            absent = 0
        return self.causes.add(late_ns, max(absent, 0), waited, period_ns)

    def _note_continued(self, number: int, frame: FrameType | None) -> None:
        self._continued = True


class _Counters(NamedTuple):
    ran_ns: int
    """Up to when the thread was woken last, or a little later."""
    waited_ns: int
    blocked: int
    """How often the thread gave the processor up by itself: it slept, or waited for something."""

    @classmethod
    def of_this_thread(cls, schedstat: int) -> _Counters:
        ran, waited, _ = os.pread(schedstat, _BYTES, 0).split()
        return cls(int(ran), int(waited), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw)
