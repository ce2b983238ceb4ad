"""Emergency stops that come from this machine: a socket, a key, a signal, a file such as a GPIO's, a pipe. The control
loop looks at them in every tick.

    socket      to connect is to stop; see `runtime.protocol.stop_socket`
    key         space or e stops, r releases; only while the process has the terminal
    signal      SIGUSR1 stops
    file        as /sys/class/gpio/gpioN/value: "0" is released; "1", anything else, a file that cannot be read and one
                that is gone stop; what takes its place is read from then on
    descriptor  a pipe or socket: any byte stops, and so does its end (a cut wire, a watchdog that died)

Clients on other machines stop, and all clients release, through the processes that talk to them. While a file says so,
or after a pipe has spoken, a release does not last.
Nothing here waits: every read is one that cannot block.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
import sys
import termios
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import Driver
from runtime.protocol.address import Address
from runtime.protocol.listening import Listening
from runtime.server.control_link import ServerExchange
from runtime.status import GoalStatus, State
from sim2real.errors import ShoalError

_ANSWERS_A_TICK = 4
_STOP_KEYS, _RELEASE_KEYS = b" eE", b"rR"
_RELEASED = b"0"


class StopSocket:
    """The control process's own socket, beside the one for `requests`; raises `ShoalError`.

    Nobody who connects can make the loop wait, and a flood stops what is stopped already: a tick accepts a few
    connections and answers each with one short send into an empty buffer.
    """

    def __init__(self, requests: Address) -> None:
        self._opened = Listening(requests.for_stops, option="--socket")
        (self._listening,) = self._opened.sockets
        self._listening.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._listening, select.POLLIN)
        self._callers: list[socket.socket] = []

    def asked(self) -> bool:
        """Whether anybody has connected since the last call; also when no descriptor is left to accept them with."""
        if not self._poll.poll(0):
            return False
        for _ in range(_ANSWERS_A_TICK):
            try:
                self._callers.append(self._listening.accept()[0])
            except OSError:
                break
        return True

    def answer(self, status: Callable[[], GoalStatus]) -> None:
        """The status to those who connected."""
        for caller in self._callers:
            with caller, suppress(OSError):
                caller.setblocking(False)
                caller.send(status().model_dump_json().encode() + b"\n")
        self._callers.clear()

    def close(self) -> None:
        """Stop listening, and remove the socket."""
        self._opened.close()


class EstopSources:
    """All sources of one server; `beside` is its socket for requests, which gets another one for stops.

    Raises `ShoalError` when a source that was asked for cannot be used.
    """

    def __init__(
        self,
        *,
        key: bool = False,
        file: Path | None = None,
        descriptor: int | None = None,
        beside: Address | None = None,
    ) -> None:
        self._signalled = self._ended = False
        self._terminal: list[Any] | None = None
        self._file = None if file is None else _File(file)
        self._descriptor = -1 if descriptor is None else _inherited(descriptor)
        self._socket = None if beside is None else StopSocket(beside)
        if key and _in_foreground():
            self._terminal = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno(), termios.TCSANOW)

    @property
    def names(self) -> list[str]:
        """What is being watched, for the start-up report."""
        watched = {
            "space key": self._terminal is not None,
            "file": self._file is not None,
            "pipe": self._descriptor >= 0,
        }
        return ["client", "SIGUSR1", *(name for name, source in watched.items() if source is not None)]

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Signal handler."""
        self._signalled = True

    def poll(self, core: PolicyController) -> None:
        """Once per tick."""
        asked, released = self._keys()
        asked |= self._socket is not None and self._socket.asked()
        if self._signalled:
            self._signalled, asked = False, True
        # What lasts, as a file does, is one stop. What somebody did again is another one, which no release has seen.
        lasting = (self._file is not None and self._file.says_stop()) or self._pipe_says_stop()
        if asked or (lasting and core.safety.state is not State.ESTOP):
            core.estop()
        elif released and not lasting:
            core.release()

    def answer(self, status: Callable[[], GoalStatus]) -> None:
        """Tell those who connected to stop, after the tick, that the stop is in force."""
        if self._socket is not None:
            self._socket.answer(status)

    def close(self) -> None:
        """Give the terminal back and close file and socket."""
        if self._socket is not None:
            self._socket.close()
        if self._terminal is not None and _in_foreground():
            # At once: a terminal that is stopped by Ctrl-S never drains, and one that is lost has nothing to restore.
            with suppress(termios.error):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._terminal)
        if self._file is not None:
            self._file.close()

    def _keys(self) -> tuple[bool, bool]:
        # A read from the background would stop this process.
        if self._terminal is None or not _in_foreground() or not _readable(sys.stdin.fileno()):
            return False, False
        try:
            keys = os.read(sys.stdin.fileno(), 64)
        except OSError:  # the terminal was lost a moment ago
            return False, False
        return any(key in _STOP_KEYS for key in keys), any(key in _RELEASE_KEYS for key in keys)

    def _pipe_says_stop(self) -> bool:
        if self._descriptor >= 0 and not self._ended:
            self._ended = _readable(self._descriptor)
        return self._ended


class _File:
    """Read in place, as what stands behind a name in sysfs is; raises `ShoalError` when it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path, self._descriptor = path, -1
        try:
            self._open()
        except OSError as error:
            raise ShoalError(f"--estop-file: cannot open {path}: {error.strerror}.") from error

    def says_stop(self) -> bool:
        """Whether it says anything but "0"."""
        try:
            # What was deleted, or replaced by `mv`, would be read for ever.
            if not os.path.samestat(self._path.stat(), os.fstat(self._descriptor)):
                self.close()
                self._open()
            return os.pread(self._descriptor, 1, 0) != _RELEASED
        except OSError:
            return True

    def close(self) -> None:
        """Close it; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)


class WatchedExchange:
    """An exchange whose ticks begin with a look at the emergency stops."""

    def __init__(self, exchange: ServerExchange, sources: EstopSources) -> None:
        self._exchange, self._sources = exchange, sources

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        """The stops go last: whatever a client released or sent in this tick, they win."""
        self._exchange.before_tick(core, driver)
        self._sources.poll(core)

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        """Those who stopped hear of it when all others can see it."""
        self._exchange.after_tick(core, missed_periods)
        self._sources.answer(self._exchange.status)


def _inherited(descriptor: int) -> int:
    """What this process itself opened has a number, too, but is not what the caller meant."""
    try:
        mode, inherited = os.fstat(descriptor).st_mode, os.get_inheritable(descriptor)
        writes_only = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
    except (OSError, OverflowError) as error:
        raise ShoalError(f"--estop-fd: descriptor {descriptor} is not open: {error}.") from error
    if not inherited:
        raise ShoalError(
            f"--estop-fd: descriptor {descriptor} was not inherited; redirect it, as in {descriptor}<pipe."
        )
    if writes_only or not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
        raise ShoalError(f"--estop-fd: descriptor {descriptor} is no pipe, socket or device that can be read.")
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
