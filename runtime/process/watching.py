"""When a process that one looks after counts as hung, and when it may be started again."""

from __future__ import annotations

import math

_FIRST_BACKOFF_S = 0.25
_LONGEST_BACKOFF_S = 5.0
LONGEST_START_S = 60.0
"""Of a process that has had no beat yet, before it counts as hung."""


class Watchdog:
    """Notices that a process does not count its beats up any more; to be asked about every `every_s`.

    It wants to have asked in vain often enough, and not only to have waited: when the whole machine was asleep, nobody
    hangs. The first beat of a process may take as long as a start does on a busy machine.
    """

    def __init__(self, patience_s: float, *, every_s: float) -> None:
        self._patience_s, self._enough = patience_s, patience_s / every_s / 2
        self.restart(0, 0.0)

    def restart(self, beats: int, now_s: float) -> None:
        """A new process begins with the beats of the one before."""
        self._beats, self._since_s, self._asked = beats, now_s, 0
        self.seen = False
        """Whether this process has had a beat."""

    def hangs(self, beats: int, now_s: float) -> bool:
        """Whether the process that has counted to `beats` hangs."""
        if beats != self._beats:
            self._beats, self._since_s, self._asked, self.seen = beats, now_s, 0, True
        self._asked += 1
        patience_s = self._patience_s if self.seen else LONGEST_START_S
        return self._asked > self._enough and now_s - self._since_s > patience_s


class Backoff:
    """When a process that has died may be started again: at once if it had come up, else more and more slowly."""

    def __init__(self, longest_s: float = _LONGEST_BACKOFF_S) -> None:
        self._started_s, self._pause_s, self._longest_s = -math.inf, _FIRST_BACKOFF_S, longest_s

    def started(self, now_s: float) -> None:
        """Note that it was started, or could not be."""
        if self._started_s > -math.inf:
            self._pause_s = min(2 * self._pause_s, self._longest_s)
        self._started_s = now_s

    def came_up(self) -> None:
        """Note that it works, so that whatever ends it is no fault of its start."""
        self._pause_s = _FIRST_BACKOFF_S

    def over(self, now_s: float) -> bool:
        """Whether it may be started."""
        return now_s - self._started_s >= self._pause_s
