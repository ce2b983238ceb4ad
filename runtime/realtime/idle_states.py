"""Processors that wake at once.

An idle processor sleeps, and takes time to come back. Where the kernel chooses among sleep states, it keeps to the
latency that `/dev/cpu_dma_latency` asks for, for as long as somebody holds the file open; that costs power. A robot at
25 Hz to 1 kHz gains up to some hundred microseconds of punctuality at each wake-up.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

CPU_LATENCY = Path("/dev/cpu_dma_latency")
"""Whoever holds it open says how long processors may take to wake."""

_held_files: list[int] = []


def hold_latency() -> None:
    """Ask for no deep sleep until `release_latency`. Raises `OSError` with the reason where that is not permitted."""
    try:
        descriptor = os.open(CPU_LATENCY, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}; needs root") from error
    os.write(descriptor, struct.pack("=i", 0))
    _held_files.append(descriptor)


def release_latency() -> None:
    """Undo `hold_latency`."""
    while _held_files:
        os.close(_held_files.pop())
