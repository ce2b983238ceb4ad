"""Standard output and error that never make a server wait, nor any process that it starts.

A terminal stopped by Ctrl-S, or a pipe that nobody reads, blocks whoever writes to it: a `print` in a control loop, a
library's warning, a status line. Within `relayed_output` only a small process does, the relay:

    control process, gateway, page, drivers, libraries ──► pipe ──► relay ──► terminal, file, pipe

Writing to the pipe never waits: what does not fit any more (64 KiB) is lost, in whole lines. Neither does it fail when
the relay is killed, the disk is full or the reader has left.
"""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sim2real.child_process import bare_python
from sim2real.console import open_missing_streams

# In a session of its own, so that the terminal's signals do not reach it: the last words come after them.
_RELAY = """
import os, select, signal
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
terminal = os.isatty(1)
while data := os.read(0, 65536):
    if terminal:  # what is left of a status line that a line is written over
        data = data.replace(b"\\n", b"\\x1b[K\\n")
    while data:
        select.select([], [1], [])
        data = data[os.write(1, data):]
"""
_LAST_WORDS_S = 1.0
"""How long the end waits for a reader; what the relay still holds then is written when the terminal goes on."""
_OUT, _ERR = 1, 2


@contextmanager
def relayed_output() -> Iterator[None]:
    """Within the block, standard output and error of this process and its children go through a relay.

    Streams that a program which embeds this one has put in their place are left alone.
    """
    if sys.stdout is not sys.__stdout__ or sys.stderr is not sys.__stderr__:
        yield
        return
    open_missing_streams()
    before = sys.stdout, sys.stderr
    kept = [os.dup(_OUT), os.dup(_ERR)]
    relays = [_relay(kept[0], _OUT)]
    if os.path.sameopenfile(*kept):  # one relay keeps their lines in order
        os.dup2(_OUT, _ERR)
    else:
        relays.append(_relay(kept[1], _ERR))
    sys.stdout = _Dropping.stream(_OUT, os.isatty(kept[0]))
    sys.stderr = _Dropping.stream(_ERR, os.isatty(kept[1]))
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, target in zip((_OUT, _ERR), kept, strict=True):
            with suppress(OSError):  # somebody in this process has closed it
                os.dup2(target, number)
                os.close(target)
        sys.stdout, sys.stderr = before
        for relay in relays:
            with suppress(subprocess.TimeoutExpired):
                relay.wait(_LAST_WORDS_S)


def share_relayed_output() -> None:
    """Called in a process that a server has started: its `print` then drops what does not fit, too, instead of
    failing.
    """
    sys.stdout, sys.stderr = _Dropping.stream(_OUT), _Dropping.stream(_ERR)


def take_time_for_last_words() -> None:
    """Called when nothing moves any more: for a second, what does not fit waits for a reader before it is lost."""
    for stream in (sys.stdout, sys.stderr):
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        if isinstance(raw, _Dropping):
            raw.waits_until_s = time.monotonic() + _LAST_WORDS_S


class _Dropping(io.FileIO):
    """A descriptor whose troubles are nobody's: what cannot be written at once is lost."""

    waits_until_s = 0.0

    def __init__(self, descriptor: int, is_terminal: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._is_terminal = is_terminal

    @classmethod
    def stream(cls, descriptor: int, is_terminal: bool = False) -> io.TextIOWrapper:
        """A stream for `sys.stdout`; `is_terminal` is whether it leads to one."""
        writer = io.BufferedWriter(cls(descriptor, is_terminal))
        return io.TextIOWrapper(writer, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def write(self, data: Any, /) -> int:
        left = memoryview(data).cast("B")
        with suppress(OSError):
            left = left[super().write(left) or 0 :]
            while left and (wait_s := self.waits_until_s - time.monotonic()) > 0:
                select.select([], [self], [], wait_s)
                left = left[super().write(left) or 0 :]
        return memoryview(data).nbytes

    def isatty(self) -> bool:
        return self._is_terminal


def _relay(target: int, number: int) -> subprocess.Popen[bytes]:
    """A process that carries to `target` what is written to the descriptor `number` from now on."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        relay = subprocess.Popen(
            bare_python(_RELAY), stdin=reading, stdout=target, stderr=subprocess.DEVNULL, start_new_session=True
        )
        os.dup2(writing, number)
    finally:
        os.close(reading)
        os.close(writing)
    return relay
