"""What a process of ours does with the signals that people, terminals and systems send.

    with EndingSignals() as ending:              # a server
        while not ending():
            ...
    leave_ending_to_parent()                     # a process beside it, which ends when its standard input does

Ctrl-C (SIGINT), SIGQUIT, SIGTERM and a lost terminal or ssh session (SIGHUP) ask for one and the same orderly end,
however often they do. Ctrl-Z would leave a robot with nobody who brakes it or hears an emergency stop, so it does
nothing; SIGSTOP cannot be refused.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, Self

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_SUSPENDING = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class EndingSignals:
    """Within the block, signals that ask for the end are noted, and those that would suspend are ignored.

    Under nohup, SIGHUP stays ignored. Only the main thread may enter.
    """

    def __init__(self) -> None:
        self.received = ""
        """Name of the first signal that asked for the end; empty before."""
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether one was received."""
        return bool(self.received)

    def __enter__(self) -> Self:
        for number in (*_ENDING, *_SUSPENDING):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            action = self._note if number in _ENDING else signal.SIG_IGN
            self._before[number] = signal.signal(number, action)
        return self

    def __exit__(self, *error: object) -> None:
        for number, action in self._before.items():
            signal.signal(number, action)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number).name


def leave_ending_to_parent() -> None:
    """Called in a process beside a server: terminals, and whoever signals a whole group, reach all of its processes,
    but only the server knows in which order they end. It ends this one by the end of its standard input.
    """
    # SIGUSR1 is the server's emergency stop, and would end anybody else.
    for number in (*_ENDING, *_SUSPENDING, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
