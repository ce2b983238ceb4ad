"""How far a long command is and when it will be done: one moving line on a terminal; elsewhere a line at once and then
at least every 20 s, whatever the command is doing meanwhile (compiling, say).

    with Progress("teacher franka_pose") as progress:
        progress.doing("compiling")
        progress.expect(40)
        for number in range(40):
            ...
            progress.advance("coarse 34%")

Lines are written by a thread of their own: a terminal that stands still, a full disk or a reader that has gone away
never stops the work, and what cannot be written is dropped.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

LINE_EVERY_S = 20.0
"""Longest time without a line where no terminal is."""
_POLL_S, _STALLED_S = 0.2, 2.0


class Progress:
    """The progress of one command, or of a part of it. Nothing is shown before anything is known."""

    def __init__(
        self,
        title: str,
        total: int | None = None,
        *,
        to: TextIO | None = None,
        quiet: bool = False,
        line_every_s: float = LINE_EVERY_S,
    ) -> None:
        """`total` steps, if their number is known already; shown on `to`, standard output by default."""
        self.title = title
        self._what, self._status = "", ""
        self._part: Progress | None = None
        self._began_s = time.monotonic()
        self._display = None if quiet else _Display(self, to or sys.stdout, line_every_s)
        self.expect(total)

    def expect(self, total: int | None, *, done: int = 0) -> None:
        """Announce `total` steps, of which `done` lie behind."""
        self._total, self._done, self._steps = total, done, 0
        self._first_s = self._last_s = time.monotonic()

    def doing(self, what: str, *, line: bool = True) -> None:
        """What happens now; without `line` it waits for the next line where no terminal is."""
        self._what = what
        if line:
            self._changed()

    def advance(self, status: str = "", *, line: bool = False) -> None:
        """One more step is done; with `line` its status gets a line of its own where no terminal is."""
        self._done, self._steps, self._status, self._what = self._done + 1, self._steps + 1, status, ""
        self._last_s = time.monotonic()
        if self._steps == 1:
            self._first_step_s, self._first_s = self._last_s - self._first_s, self._last_s
        if line:
            self._changed()

    @contextmanager
    def part(self, title: str) -> Iterator[Progress]:
        """The progress of one step that has steps of its own, shown within this one."""
        part = Progress(title, quiet=True)
        part._display, self._part = self._display, part
        try:
            yield part
        finally:
            self._part = None

    def _changed(self) -> None:
        if self._display is not None:
            self._display.show()

    @property
    def left_s(self) -> float | None:
        """Time left by the steps so far; the first one, which compiles, counts only while there is no other."""
        if self._total is None or self._steps == 0:
            return None
        one_s = (self._last_s - self._first_s) / (self._steps - 1) if self._steps > 1 else self._first_step_s
        begun_s = min(time.monotonic() - self._last_s, one_s)
        return max(0.0, (self._total - self._done) * one_s - begun_s)

    @property
    def share(self) -> float | None:
        """Share of the steps that are done."""
        return self._done / self._total if self._total else None

    def where(self) -> str:
        """Title and steps, of the part too."""
        steps = "" if self._total is None else f" {self._done}/{self._total}"
        return self.title + steps + ("" if self._part is None else f", {self._part.where()}")

    def times(self) -> str:
        """Elapsed and left."""
        left_s = self.left_s
        left = "time left not known yet" if left_s is None else f"about {_clock(left_s)} left"
        if self._total and self._done >= self._total:
            left = "finishing"
        if self._part is not None and self._part.left_s is not None:
            left += f" (about {_clock(self._part.left_s)} of {self._part.title})"
        return f"{_clock(time.monotonic() - self._began_s)}, {left}"

    def status(self) -> str:
        """What happens now and what the last step said, of the part where there is one."""
        inner = self if self._part is None else self._part
        return ", ".join(part for part in (inner._what, inner._status) if part)

    def __enter__(self) -> Self:
        if self._display is not None:
            self._display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._display.finish()


class _Display(threading.Thread):
    """Shows a `Progress`; the only one that writes, so that the work never waits for a reader."""

    def __init__(self, progress: Progress, to: TextIO, line_every_s: float) -> None:
        super().__init__(daemon=True, name="progress")
        self._progress, self._to, self._every_s = progress, to, line_every_s
        self._something = self._new = self._over = False
        self._wake = threading.Event()

    def show(self) -> None:
        self._something = self._new = True
        self._wake.set()

    def finish(self) -> None:
        self._over = True
        self._wake.set()
        if self.ident is not None:
            self.join(_STALLED_S)

    def run(self) -> None:
        # Who cannot be written to (OSError), or has been closed (ValueError), sees no progress.
        with suppress(OSError, ValueError):
            if self._to.isatty():
                self._move()
            else:
                self._lines()

    def _lines(self) -> None:
        last_s = -self._every_s
        while not self._over or self._new:
            now = time.monotonic()
            if self._something and (self._new or now - last_s >= self._every_s):
                self._new, last_s = False, now
                progress = self._progress
                status = progress.status()
                self._write(f"{progress.where()}: {progress.times()}{status and ': '}{status}\n")
            self._wake.wait(_POLL_S)
            self._wake.clear()

    def _write(self, line: str) -> None:
        """Past the buffer of the stream, whose lock a stalled reader would leave taken for good."""
        try:
            descriptor = self._to.fileno()
        except OSError:
            self._to.write(line)
        else:
            os.write(descriptor, line.encode(errors="replace"))

    def _move(self) -> None:
        with Live(console=Console(file=self._to), auto_refresh=False, transient=True) as live:
            while not self._over:
                if self._something:
                    live.update(self._bar(), refresh=True)
                self._wake.wait(_POLL_S)
                self._wake.clear()

    def _bar(self) -> Table:
        progress, row = self._progress, Table.grid(padding=(0, 1))
        bar = [] if progress.share is None else [ProgressBar(total=1.0, completed=progress.share, width=24)]
        row.add_row(progress.where(), *bar, progress.times(), progress.status())
        return row


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
