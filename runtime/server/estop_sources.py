"""Emergency stops that come from this machine: a key, a signal, a file such as a GPIO's, a pipe. Looked at every tick.

    key         space or e stops, r releases; only while the process has the terminal
    signal      SIGUSR1 stops
    file        as /sys/class/gpio/gpioN/value: "0" is released; "1", anything else and a file that cannot be read stop
    descriptor  a pipe or socket: any byte stops, and so does its end (a cut wire, a watchdog that died)

Clients stop and release over the socket. While a file says so, or after a pipe has spoken, a release does not last.
Nothing here waits: every read is one that cannot block.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from pathlib import Path
from types import FrameType
from typing import Any

from runtime.control.loop import Exchange
from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import Driver
from runtime.status import State
from sim2real.errors import ShoalError

_STOP_KEYS, _RELEASE_KEYS = b" eE", b"rR"
_RELEASED = b"0"


class EstopSources:
    """All sources of one server. Raises `ShoalError` when one that was asked for cannot be used."""

    def __init__(self, *, key: bool = False, file: Path | None = None, descriptor: int | None = None) -> None:
        self._signalled = self._ended = False
        self._terminal: list[Any] | None = None
        self._file = -1 if file is None else _open(file)
        self._descriptor = -1 if descriptor is None else _inherited(descriptor)
        if key and _in_foreground():
            self._terminal = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno(), termios.TCSANOW)

    @property
    def names(self) -> list[str]:
        """What is being watched, for the start-up report."""
        watched = {"space key": self._terminal is not None, "file": self._file >= 0, "pipe": self._descriptor >= 0}
        return ["client", "SIGUSR1", *(name for name, on in watched.items() if on)]

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        self._signalled = True

    def poll(self, core: PolicyController) -> None:
        """Once per tick."""
        pressed, released = self._keys()
        if pressed or self._signalled or self._file_says_stop() or self._pipe_says_stop():
            self._signalled = False
            if core.safety.state is not State.ESTOP:
                core.estop()
        elif released:
            core.release()

    def close(self) -> None:
        """Give the terminal back and close the file."""
        if self._terminal is not None and _in_foreground():
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._terminal)
        if self._file >= 0:
            os.close(self._file)

    def _keys(self) -> tuple[bool, bool]:
        # A read from the background would stop this process.
        if self._terminal is None or not _in_foreground() or not _readable(sys.stdin.fileno()):
            return False, False
        keys = os.read(sys.stdin.fileno(), 64)
        return any(key in _STOP_KEYS for key in keys), any(key in _RELEASE_KEYS for key in keys)

    def _file_says_stop(self) -> bool:
        if self._file < 0:
            return False
        try:
            return os.pread(self._file, 1, 0) != _RELEASED
        except OSError:
            return True

    def _pipe_says_stop(self) -> bool:
        if self._descriptor >= 0 and not self._ended:
            self._ended = _readable(self._descriptor)
        return self._ended


class WatchedExchange:
    """An exchange whose ticks begin with a look at the emergency stops."""

    def __init__(self, exchange: Exchange, sources: EstopSources) -> None:
        self._exchange, self._sources = exchange, sources

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        """The stops go last: whatever a client released or sent in this tick, they win."""
        self._exchange.before_tick(core, driver)
        self._sources.poll(core)

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        """See `runtime.control.loop.Exchange`."""
        self._exchange.after_tick(core, missed_periods)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise ShoalError(f"--estop-file: cannot open {path}: {error.strerror}.") from error


def _inherited(descriptor: int) -> int:
    try:
        os.fstat(descriptor)
    except OSError as error:
        raise ShoalError(f"--estop-fd: descriptor {descriptor} is not open: {error.strerror}.") from error
    return descriptor


def _readable(descriptor: int) -> bool:
    """Whether a read would return at once: with bytes, the end, or an error."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def _in_foreground() -> bool:
    try:
        return sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False
