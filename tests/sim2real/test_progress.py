from __future__ import annotations

import inspect
import io
import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sim2real.progress import LINE_EVERY_S, Progress


def wait_for(happened: threading.Event) -> None:
    """Long enough for any machine; what is waited for happens in well under a second."""
    assert happened.wait(60)


class Reader(io.StringIO):
    """A stream without a file that says when it has so many lines."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._wanted, self.full = lines, threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.getvalue().count("\n") >= self._wanted:
            self.full.set()
        return written


def test_nothing_is_said_before_anything_is_known() -> None:
    reader = Reader(1)
    with Progress("teacher", to=reader, line_every_s=0.0):
        pass
    assert reader.getvalue() == ""


def test_lines_come_while_the_work_stands_still() -> None:
    """As while XLA compiles: nobody calls anything."""
    reader = Reader(4)
    with Progress("teacher", to=reader, line_every_s=0.05) as progress:
        progress.doing("compiling")
        wait_for(reader.full)
    lines = reader.getvalue().splitlines()
    assert all(re.fullmatch(r"teacher: 0:\d\d:\d\d, time left not known yet: compiling", line) for line in lines)
    assert inspect.signature(Progress).parameters["line_every_s"].default == LINE_EVERY_S <= 20


def test_steps_time_left_and_status_are_in_a_line() -> None:
    reader = Reader(1)
    with Progress("teacher", to=reader) as progress:
        progress.expect(40, done=10)
        progress.advance("coarse 34%", line=True)
        wait_for(reader.full)
    assert re.fullmatch(r"teacher 11/40: 0:\d\d:\d\d, about 0:\d\d:\d\d left: coarse 34%\n", reader.getvalue())


def test_a_part_is_shown_within_the_whole() -> None:
    reader = Reader(1)
    with Progress("study", 3, to=reader) as progress, progress.part("a4_c4") as part:
        part.expect(5)
        part.doing("compiling")
        wait_for(reader.full)
    assert reader.getvalue().startswith("study 0/3, a4_c4 0/5: ")
    assert "compiling" in reader.getvalue()


def test_the_first_step_counts_only_while_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It compiles."""
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    progress = Progress("teacher", 12, quiet=True)
    assert progress.left_s is None
    now_s = 100.0
    progress.advance()
    assert progress.left_s == pytest.approx(1100)
    now_s = 102.0
    progress.advance()
    now_s = 104.0
    progress.advance()
    assert progress.left_s == pytest.approx(18)
    now_s = 105.0
    assert progress.left_s == pytest.approx(17)
    now_s = 1000.0
    assert progress.left_s == pytest.approx(16)  # the step takes longer than it should, the others are still to come


def test_the_end_is_not_far_away_but_not_there() -> None:
    progress = Progress("student", 1, quiet=True)
    progress.advance()
    progress.doing("exporting")
    assert progress.times().endswith("finishing")


def test_a_reader_that_never_reads_does_not_stop_the_work() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(65536))
    os.set_blocking(writing, True)
    with os.fdopen(writing, "w") as full, Progress("teacher", to=full) as progress:
        for number in range(1000):
            progress.doing(f"step {number}")
    os.close(reading)


@pytest.mark.parametrize("gone", ["closed", "broken", "full"])
def test_a_reader_that_is_gone_does_not_stop_the_work(gone: str) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe, Path("/dev/full").open("w") as full:
        os.close(reading)
        if gone == "closed":
            full.close()
        with Progress("teacher", to=pipe if gone == "broken" else full, line_every_s=0.0) as progress:
            progress.doing("compiling")
            progress.advance(line=True)
