"""When processes count as hung, and when they are started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from runtime.process.watching import Backoff, Watchdog
from sim2real.child_process import is_suspended


def test_one_that_came_up_is_replaced_at_once_however_often_it_is_killed() -> None:
    backoff, now = Backoff(), 100.0
    for _ in range(10):
        backoff.started(now)
        backoff.came_up()
        now += 0.5
        assert backoff.over(now)


def test_one_that_never_comes_up_is_started_more_and_more_slowly() -> None:
    backoff, pauses, now = Backoff(), [], 0.0
    assert backoff.over(now)
    for _ in range(8):
        backoff.started(now)
        began = now
        while not backoff.over(now):
            now += 0.01
        pauses.append(round(now - began, 1))
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.5
    assert 4 < pauses[-1] < 6


def test_what_is_dear_to_start_may_be_started_more_slowly_still() -> None:
    backoff, now = Backoff(30.0), 100.0
    for _ in range(20):
        backoff.started(now)
    assert not backoff.over(now + 29)
    assert backoff.over(now + 30)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_suspended_process_is_told_from_one_that_waits() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert not is_suspended(process.pid)
        process.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while not is_suspended(process.pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.communicate()
    assert not is_suspended(process.pid)


def test_process_without_beats_hangs_but_not_after_a_sleep_of_the_machine() -> None:
    watchdog = Watchdog(1.0, every_s=0.05)
    watchdog.restart(7, 0.0)
    # A start may take its time.
    assert not any(watchdog.hangs(7, look * 0.05) for look in range(400))
    assert not watchdog.seen
    assert not watchdog.hangs(8, 20.0)
    assert watchdog.seen
    # One look after an hour says nothing.
    assert not watchdog.hangs(8, 3600.0)
    assert any(watchdog.hangs(8, 3600.0 + look * 0.05) for look in range(30))
