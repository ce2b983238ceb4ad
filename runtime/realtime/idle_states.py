"""Processors that stay awake between two ticks.

An idle processor sleeps, and takes time to come back. Where the kernel chooses among sleep states, it keeps to the
latency that `/dev/cpu_dma_latency` asks for. A virtual machine mostly has no states to choose from: its idle processor
halts, the host gives the real one to others, and caches and tens to thousands of microseconds are gone until it is
back. There a thread that does nothing, of the class SCHED_IDLE that gives way to everything, keeps each processor from
halting while nothing else does (`idle_threads.c`). That needs permission for SCHED_FIFO, for the threads can make
ordinary processes late unless somebody minds them. Either costs power; threads are left out where the process has
a quota of processor time to lose.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from functools import lru_cache
from importlib import resources
from pathlib import Path

from runtime.native.build import Unsupported, compile_library, load_library

CPU_LATENCY = Path("/dev/cpu_dma_latency")
"""Whoever holds it open says how long processors may take to wake."""
_IDLE_DRIVER = Path("/sys/devices/system/cpu/cpuidle/current_driver")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")

_held_files: list[int] = []
_started_by: list[int] = []
"""The process that has the threads."""


def stay_awake() -> str:
    """Until `let_sleep`; says by what means. Raises `OSError` with the reason when there are none."""
    if has_sleep_states():
        return _hold_latency()
    return _start_threads()


def prepare() -> None:
    """Compile what `stay_awake` needs compiled on this machine, if anything. Raises `Unsupported` where it cannot."""
    if not has_sleep_states() and not processor_quota():
        _library()


def let_sleep() -> None:
    """Undo `stay_awake`."""
    while _held_files:
        os.close(_held_files.pop())
    # A forked child has the library but none of its threads.
    if _started_by == [os.getpid()]:
        _library().shoal_let_sleep()
    _started_by.clear()


def has_sleep_states() -> bool:
    """Whether the kernel chooses among states of sleep, and so can be asked not to."""
    try:
        return _IDLE_DRIVER.read_text().strip() not in ("", "none")
    except OSError:
        return False


def processor_quota() -> str:
    """File that limits this process's share of the processors; empty when none does."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = _CONTROL_GROUPS / controllers
        group = root / place.lstrip("/")
        for folder in (group, *group.parents):
            name = "cpu.cfs_quota_us" if controllers else "cpu.max"
            if folder.is_relative_to(root) and _is_limit(folder / name):
                return str(folder / name)
    return ""


def _is_limit(file: Path) -> bool:
    try:
        return file.read_text().split()[0] not in ("max", "-1")
    except (OSError, IndexError):
        return False


def _hold_latency() -> str:
    try:
        descriptor = os.open(CPU_LATENCY, os.O_WRONLY | os.O_CLOEXEC)
        os.write(descriptor, struct.pack("=i", 0))
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; needs root") from error
    _held_files.append(descriptor)
    return ""


def _start_threads() -> str:
    if not hasattr(os, "sched_getaffinity"):
        raise OSError(errno.ENOTSUP, "no idle threads on this system")
    if limit := processor_quota():
        raise OSError(errno.EDQUOT, f"idle threads would use up the processor time that {limit} leaves")
    try:
        library = _library()
    except Unsupported as error:
        raise OSError(errno.ENOTSUP, str(error)) from error
    cores = sorted(os.sched_getaffinity(0))
    number = library.shoal_stay_awake(len(cores), (ctypes.c_int * len(cores))(*cores))
    if number == errno.EPERM:
        raise OSError(number, "idle threads need SCHED_FIFO")
    if number:
        raise OSError(number, os.strerror(number))
    _started_by.append(os.getpid())
    return f"idle threads on {len(cores)} {'core' if len(cores) == 1 else 'cores'}"


@lru_cache(maxsize=1)
def _library() -> ctypes.PyDLL:
    return load_library(compile_library((resources.files("runtime.realtime") / "idle_threads.c").read_text()))
