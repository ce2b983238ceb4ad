"""A recording that is slow or fails, and metrics that do, concern nobody else."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from runtime.monitoring import telemetry_sink
from runtime.monitoring.telemetry_sink import TelemetrySink

RECORDS = np.zeros(3)


def test_records_arrive_in_order_and_the_end_waits_for_them() -> None:
    taken: list[tuple[int, int]] = []
    sink = TelemetrySink(
        "recording", lambda records, lost: taken.append((len(records), lost)), lambda: taken.append((-1, -1))
    )
    for lost in range(50):
        sink.put(RECORDS, lost)
    sink.close()
    assert taken == [*((3, lost) for lost in range(50)), (-1, -1)]
    assert not sink.off


def test_one_that_fails_is_switched_off_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(records: np.ndarray, lost: int) -> None:
        raise ZeroDivisionError("no room")

    closed = threading.Event()
    sink = TelemetrySink("recording", fails, closed.set)
    for _ in range(5):
        sink.put(RECORDS, 0)
    sink.close()
    assert (sink.off, closed.is_set()) == (True, True)
    assert capsys.readouterr().err == "recording  off: no room; the robot goes on\n"


def test_one_that_hangs_makes_nobody_wait(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(telemetry_sink, "_LONGEST_QUEUE", 10)
    monkeypatch.setattr(telemetry_sink, "_END_S", 0.05)
    released = threading.Event()
    sink = TelemetrySink("recording", lambda records, lost: bool(released.wait()), lambda: None)
    started = time.monotonic()
    for _ in range(1000):
        sink.put(RECORDS, 0)
    sink.close()
    assert time.monotonic() - started < 30
    assert capsys.readouterr().err == "recording  off: it does not keep up; the robot goes on\n"
    released.set()
