"""Signals that other code in a process takes for itself are given back, by whom and however they were taken."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from runtime.process.signals import HEARD, EndingSignals, KeptHandlers


def ignore(number: int) -> None:
    signal.signal(number, signal.SIG_IGN)


def end_by_default(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)


def handle(number: int) -> None:
    signal.signal(number, lambda number, frame: None)


def ignore_in_c(number: int) -> None:
    ctypes.CDLL(None).signal(number, 1)


def block(number: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])


@pytest.fixture
def ending() -> Iterator[EndingSignals]:
    with EndingSignals() as ending:
        yield ending


@pytest.mark.parametrize("take", [ignore, end_by_default, handle, ignore_in_c, block])
def test_a_signal_that_was_taken_is_named_once_and_asks_for_the_end_again(
    ending: EndingSignals, take: Callable[[int], None]
) -> None:
    kept = KeptHandlers(HEARD)
    assert kept.put_back() == []
    take(signal.SIGTERM)
    assert kept.put_back() == ["SIGTERM"]
    take(signal.SIGTERM)
    assert kept.put_back() == []
    assert not ending()
    signal.raise_signal(signal.SIGTERM)
    assert ending.received == "SIGTERM"


@pytest.mark.parametrize("take", [ignore_in_c, end_by_default])
def test_another_thread_gives_signals_back_to_the_interpreter(
    ending: EndingSignals, take: Callable[[int], None]
) -> None:
    """As the main thread hangs; whoever the interpreter wakes then hears of them."""
    kept, named = KeptHandlers(HEARD), []
    reads, writes = os.pipe2(os.O_NONBLOCK)
    before = signal.set_wakeup_fd(writes)
    try:
        take(signal.SIGQUIT)
        thread = threading.Thread(target=lambda: named.extend(kept.put_back()))
        thread.start()
        thread.join()
        kept.put_back()
        signal.raise_signal(signal.SIGQUIT)
        assert (named, os.read(reads, 8)) == (["SIGQUIT"], bytes([signal.SIGQUIT]))
    finally:
        signal.set_wakeup_fd(before)
        os.close(reads)
        os.close(writes)
