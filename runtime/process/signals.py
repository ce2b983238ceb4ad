"""What a process of ours does with the signals that people, terminals and systems send.

    with EndingSignals() as ending:              # a server
        while not ending():
            ...
    leave_ending_to_parent()                     # a process beside it, which ends when its standard input does

Ctrl-C (SIGINT), SIGQUIT, SIGTERM and a lost terminal or ssh session (SIGHUP) ask for one and the same orderly end,
however often they do. Ctrl-Z would leave a robot with nobody who brakes it or hears an emergency stop, so it does
nothing; SIGSTOP cannot be refused.

Code of other people's in such a process may take signals for itself, as many a robot's library does at its start.
`KeptHandlers` gives them back.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_SUSPENDING = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
HEARD = (*ENDING, *_SUSPENDING, signal.SIGUSR1, signal.SIGALRM)
"""Those that mean something to a server, its emergency stop and `Patience` among them."""


class EndingSignals:
    """Within the block, signals that ask for the end are noted, and those that would suspend are ignored.

    Under nohup, SIGHUP stays ignored. Only the main thread may enter.
    """

    def __init__(self) -> None:
        self.received = ""
        """Name of the first signal that asked for the end; empty before."""
        self.on_first: Callable[[], object] = _nothing
        """Called with the first one."""
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether one was received."""
        return bool(self.received)

    def __enter__(self) -> Self:
        for number in (*ENDING, *_SUSPENDING):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            action = self._note if number in ENDING else signal.SIG_IGN
            self._before[number] = signal.signal(number, action)
        return self

    def __exit__(self, *error: object) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received = signal.Signals(number).name
            self.on_first()


class Patience:
    """Within the block, calls of the main thread from any of the files `within` can be given an end: `error`, with a
    sentence, is raised there, once a second until it is heard; all other code goes on. Only the main thread may enter.
    """

    def __init__(self, error: type[BaseException], *, within: Collection[str]) -> None:
        self._error, self._within, self._seconds, self._since = error, within, 0.0, ""
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGALRM, self._interrupt)
        return self

    def __exit__(self, *error: object) -> None:
        self.revoke()
        signal.signal(signal.SIGALRM, self._before)

    def allow(self, seconds: float, since: str = "") -> None:
        """From now on, which is when what `since` names happened; takes the place of what was allowed before."""
        self._seconds, self._since = seconds, since and f" of {since}"
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)

    @contextmanager
    def after(self, ending: EndingSignals, seconds: float) -> Iterator[None]:
        """Within the block, from the first signal that asks for the end, be it one of before."""

        def allow() -> None:
            self.allow(seconds, ending.received)

        ending.on_first = allow
        if ending():
            allow()
        try:
            yield
        finally:
            ending.on_first = _nothing
            self.revoke()

    def revoke(self) -> None:
        """It takes as long as it takes."""
        if self._seconds:
            self._seconds = 0.0
            signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        while self._seconds and frame is not None:
            if frame.f_code.co_filename in self._within:
                raise self._error(f"did not return within {self._seconds:g} s{self._since}")
            frame = frame.f_back


class KeptHandlers:
    """What this process does with signals at the moment, to be put back where other code in it, be it Python or C, has
    set a handler of its own, ignores them or blocks them.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._handlers = {number: signal.getsignal(number) for number in numbers}
        self._actions = {number: _action(number) for number in self._handlers}
        self._found: set[signal.Signals] = set()

    def put_back(self) -> list[str]:
        """Names of those that were taken, each once. Where the main thread hangs, another one gives the signals back to
        the interpreter, which tells `signal.set_wakeup_fd` of them.
        """
        in_main = threading.current_thread() is threading.main_thread()
        blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handlers) if in_main else ()
        new = []
        for number, handler in self._handlers.items():
            other_action = _function_of(_action(number)) != _function_of(self._actions[number])
            if other_action:
                _LIBC.sigaction(number, self._actions[number], None)
            other_handler = signal.getsignal(number) != handler
            if other_handler and in_main:
                signal.signal(number, handler)
            if number not in self._found and (other_action or other_handler or number in blocked):
                self._found.add(number)
                new.append(number.name)
        return new


_LIBC = ctypes.CDLL(None)
_ACTION_BYTES = 512
"""More than any system's `struct sigaction` has; its first field is the function."""


def _action(number: signal.Signals) -> ctypes.Array[ctypes.c_char]:
    action = ctypes.create_string_buffer(_ACTION_BYTES)
    _LIBC.sigaction(number, None, action)
    return action


def _function_of(action: ctypes.Array[ctypes.c_char]) -> bytes:
    return action.raw[: ctypes.sizeof(ctypes.c_void_p)]


def _nothing() -> None:
    pass


def leave_ending_to_parent() -> None:
    """Called in a process beside a server: terminals, and whoever signals a whole group, reach all of its processes,
    but only the server knows in which order they end. It ends this one by the end of its standard input.
    """
    # SIGUSR1 is the server's emergency stop, and would end anybody else.
    for number in (*ENDING, *_SUSPENDING, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
