"""What browsers ask of the robot, apart from the emergency stop, and which of them may."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from runtime.protocol.client import Client
from sim2real.errors import ShoalError

_LEASE_S = 3.0
_RENEW_S = 0.5
_MAX_WAITING = 4
"""Commands of one browser that may wait for the server."""
_TAKE_CONTROL = "Take control first."

Complain = Callable[[int, str, str], None]
"""Tells a browser (its number) a title and a sentence; must not block."""


class _Command(NamedTuple):
    browser: int
    what: str
    send: Callable[[Client], object]
    needs_control: bool = True


class Commands:
    """Sends commands one after the other, in a thread of its own, so that a slow server delays other commands only.

    One browser at a time has control, and the page has the server's lease meanwhile; a browser is known by the number
    that viser gives it. No method waits; what a command leads to is told by `complain`, or seen in the robot's status.
    """

    def __init__(self, address: str, name: str, complain: Complain) -> None:
        self._name, self._complain = name, complain
        self.holder: int | None = None
        """The browser that has control."""
        self._lock = threading.Lock()
        self._waiting: Counter[int] = Counter()
        self._queue: queue.SimpleQueue[_Command | None] = queue.SimpleQueue()
        self._address, self._client = address, Client(address)
        self._leased, self._renewed_s = False, 0.0
        self._thread = threading.Thread(target=self._work, name="commands", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; the goal in force stays."""
        self._queue.put(None)
        self._thread.join(_RENEW_S)

    def ask(self, browser: int, what: str, send: Callable[[Client], object]) -> None:
        """Have the thread call `send`, if this browser has control when its turn comes."""
        if self.holder == browser:
            self._add(_Command(browser, what, send))
        else:
            self._complain(browser, what, _TAKE_CONTROL)

    def busy(self, browser: int) -> bool:
        """Whether a command of this browser waits for the server."""
        return self._waiting[browser] > 0

    def take_control(self, browser: int) -> None:
        """Become the browser that may drive, unless another is."""
        with self._lock:
            free = self.holder in (None, browser)
            if free:
                self.holder = browser
        if free:
            self._add(_Command(browser, "Control", self._acquire))
        else:
            self._complain(browser, "Control", f"Browser {self.holder} has control; it has to release it first.")

    def release_control(self, browser: int) -> None:
        """Let others drive; the goal in force stays."""
        self._add(_Command(browser, "Control", self._end_lease))

    def forget(self, browser: int) -> None:
        """A browser has gone. If it drove, the lease runs out, and the server does what it was told to do then."""
        with self._lock:
            had_control = self.holder == browser
            if had_control:
                self.holder = None
        if had_control:
            self._queue.put(_Command(browser, "Control", self._abandon_lease, needs_control=False))

    def _add(self, command: _Command) -> None:
        with self._lock:
            full = self._waiting[command.browser] >= _MAX_WAITING
            if not full:
                self._waiting[command.browser] += 1
        if full:
            self._complain(command.browser, command.what, "The server has not answered earlier commands yet.")
        else:
            self._queue.put(command)

    def _work(self) -> None:
        while True:
            try:
                command = self._queue.get(timeout=_RENEW_S)
            except queue.Empty:
                pass
            else:
                if command is None:
                    self._client.close()
                    return
                self._send(command)
            self._renew()

    def _send(self, command: _Command) -> None:
        browser, what, send, needs_control = command
        try:
            if needs_control and self.holder != browser:
                raise ShoalError(_TAKE_CONTROL)
            send(self._client)
        except Exception as error:  # the thread goes on whatever a command leads to
            self._complain(browser, what, str(error))
        finally:
            if needs_control:
                with self._lock:
                    self._waiting[browser] -= 1

    def _acquire(self, client: Client) -> None:
        try:
            client.acquire_lease(self._name, duration_s=_LEASE_S)
        except ShoalError:
            self._drop_holder()
            raise
        self._leased, self._renewed_s = True, time.monotonic()

    def _end_lease(self, client: Client) -> None:
        self._drop_holder()
        if self._leased:
            self._leased = False
            client.end_lease()

    def _abandon_lease(self, client: Client) -> None:
        self._leased = False
        client.close()
        self._client = Client(self._address)  # which knows nothing of the lease

    def _renew(self) -> None:
        if not self._leased or time.monotonic() < self._renewed_s + _RENEW_S:
            return
        self._renewed_s = time.monotonic()
        try:
            self._client.renew_lease()
        except ShoalError as error:
            holder = self._drop_holder()
            self._abandon_lease(self._client)
            if holder is not None:
                self._complain(holder, "Control lost", str(error))

    def _drop_holder(self) -> int | None:
        with self._lock:
            holder, self.holder = self.holder, None
        return holder
