"""Real-time measures, each taken if the system permits it and reported in one line; Linux has them all.

    SCHED_FIFO        the loop runs before every ordinary process; needs a limit of the system's
    short slice       without SCHED_FIFO: a time slice of 0.7 ms, which makes the scheduler wake this process sooner
                      (EEVDF, Linux 6.12 and later); needs nothing
    timer slack       sleeps end when they should and not up to 50 us later; needs nothing
    no deep sleep     processors stay ready (`idle_states`); costs power; needs root
    locked memory     no page of the process is ever fetched from disk; needs a limit of the system's
    frozen collector  a garbage collection does not walk through what existed at the start

`docs/notes/latency.md` says what each of them gains.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile

from runtime.realtime import idle_states

_MCL_CURRENT_AND_FUTURE = 3
_PR_SET_TIMERSLACK = 29
_RESET_ON_FORK = 1
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274, "riscv64": 274, "armv7l": 380}
"""System call numbers: glibc has no function for it, and Python none either."""
SLICE_S = 0.7e-3
"""Shorter than other processes' 1.4 to 2.8 ms, so that the loop is woken before them; longer than a tick with its
warm-up, because a process whose slice is over in the middle of its work waits until others have had theirs."""
FIFO = "SCHED_FIFO"
NO_DEEP_SLEEP = "no deep sleep"
"""How the names of these measures begin."""
SPIN_S = 100e-6
"""Busy waiting before a deadline that SCHED_FIFO makes worth it; without it the waiting itself is preempted."""


@dataclass(frozen=True)
class RealtimeOptions:
    """Which measures to try."""

    fifo_priority: int | None = 50
    """SCHED_FIFO priority, 1 to 99; None leaves the scheduler alone."""
    cpu: int | None = None
    """Pin the process to this core."""
    lock_memory: bool = True
    freeze_gc: bool = True
    timer_slack: bool = True
    slice_s: float | None = SLICE_S
    """The scheduler's slice where SCHED_FIFO is not wanted or not permitted; None leaves it alone."""
    no_deep_sleep: bool = True
    """Keep processors out of deep sleep while the loop runs."""


NOTHING = RealtimeOptions(
    fifo_priority=None, lock_memory=False, freeze_gc=False, timer_slack=False, slice_s=None, no_deep_sleep=False
)
"""For comparison."""
UNPRIVILEGED = RealtimeOptions(fifo_priority=None, lock_memory=False, no_deep_sleep=False)
"""What every process may do."""


def served_options(*, permitted: bool, priority: int, cpu: int | None) -> RealtimeOptions:
    """What a server tries; without `permitted` only what needs no permission and no power."""
    if permitted:
        return RealtimeOptions(fifo_priority=priority, cpu=cpu)
    return replace(UNPRIVILEGED, cpu=cpu)


@dataclass(frozen=True)
class Measure:
    """What became of one measure."""

    name: str
    on: bool
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {'on' if self.on else 'off'}{f' ({self.note})' if self.note else ''}"


def apply(options: RealtimeOptions) -> list[Measure]:
    """Try every requested measure on this process; never raises."""
    measures = []
    if options.fifo_priority is not None:
        priority = options.fifo_priority
        measures.append(_attempt(f"{FIFO} {priority}", lambda: _fifo(priority), "needs rtprio in limits.conf"))
    if options.slice_s is not None and not has_fifo(measures):
        slice_s = options.slice_s
        measures.append(_attempt(f"slice of {1e3 * slice_s:g} ms", lambda: _slice(slice_s), "needs Linux 6.12"))
    if options.timer_slack:
        measures.append(_attempt("timer slack 1 ns", _no_timer_slack, ""))
    if options.cpu is not None:
        cpu = options.cpu
        measures.append(_attempt(f"pinned to core {cpu}", lambda: _pin(cpu), "no such core"))
    if options.no_deep_sleep:
        measures.append(_attempt(NO_DEEP_SLEEP, idle_states.hold_latency, ""))
    if options.lock_memory:
        measures.append(_attempt("memory locked", _lock_memory, "needs memlock in limits.conf"))
    if options.freeze_gc:
        measures.append(_attempt("garbage collector frozen", _freeze, ""))
    return measures


def has_fifo(measures: list[Measure]) -> bool:
    """Whether SCHED_FIFO was granted, and with it busy waiting makes sense."""
    return any(measure.on and measure.name.startswith(FIFO) for measure in measures)


def spin_s(wanted_s: float | None, measures: list[Measure]) -> float:
    """Busy waiting before each deadline: as wanted, else `SPIN_S` where SCHED_FIFO was granted and none elsewhere."""
    return wanted_s if wanted_s is not None else SPIN_S if has_fifo(measures) else 0.0


def release() -> None:
    """Give the scheduler's priority back, and let processors sleep, for what follows the loop."""
    gc.unfreeze()
    idle_states.release_latency()
    if hasattr(os, "sched_setscheduler"):
        # Who has no privileges may give priority back, but not the promise that children do not inherit it.
        kept = os.sched_getscheduler(0) & os.SCHED_RESET_ON_FORK
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER | kept, os.sched_param(0))


def kernel_version() -> tuple[int, int]:
    """Version of Linux, major and minor; (0, 0) elsewhere."""
    if not sys.platform.startswith("linux"):
        return 0, 0
    major, minor = platform.release().split(".")[:2]
    return int(major), int("".join(takewhile(str.isdigit, minor)) or 0)


def _attempt(name: str, measure: Callable[[], str | None], hint: str) -> Measure:
    try:
        note = measure() or ""
    except (OSError, AttributeError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Measure(name, False, f"{reason}; {hint}" if hint else reason)
    return Measure(name, True, note)


def _fifo(priority: int) -> None:
    if not hasattr(os, "sched_setscheduler"):
        raise OSError(0, f"{sys.platform} has no SCHED_FIFO")
    # Children (the gateway) must not inherit it.
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


def _pin(cpu: int) -> None:
    if not hasattr(os, "sched_setaffinity"):
        raise OSError(0, f"{sys.platform} cannot pin a process")
    os.sched_setaffinity(0, {cpu})


def _lock_memory() -> None:
    _libc("mlockall", _MCL_CURRENT_AND_FUTURE)


def _no_timer_slack() -> None:
    _libc("prctl", _PR_SET_TIMERSLACK, ctypes.c_ulong(1))


def _slice(slice_s: float) -> None:
    """`sched_setattr` with the present policy, nice value and a slice; Linux before 6.12 takes it and does nothing."""
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None or kernel_version() < (6, 12):
        raise OSError(0, f"{platform.system()} {platform.release()} on {platform.machine()} has none")
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    # Children (the gateway) must not inherit it.
    attributes = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, round(slice_s * 1e9), 0, 0)
    _libc("syscall", ctypes.c_long(number), 0, ctypes.c_char_p(attributes), 0)


def _libc(function: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _freeze() -> None:
    gc.collect()
    gc.freeze()
