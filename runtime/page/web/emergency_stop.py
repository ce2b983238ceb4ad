"""The page's emergency stop: a thread and a connection that do nothing else."""

from __future__ import annotations

import threading
import time

from runtime.protocol.client import Client

_TRY_S = 1.0
_RETRY_S = 0.05
_GIVE_UP_S = 30.0


class EmergencyStop:
    """Sends every press to the server, and again until the control loop has taken it.

    `press` returns at once and may be called from any thread, an event loop's included: no request, browser or lock
    that waits for something lies between it and the server. A press that has not got through within 30 s is given up,
    so that it cannot stop a server that is started much later.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._changed = threading.Condition()
        self.presses = 0
        """How often the stop has been pressed since the page started."""
        self.confirmed = 0
        """The number of the latest press that the control loop has taken; earlier ones are covered by it."""
        self.problem = ""
        """Why a press is not confirmed yet, or was given up; empty when all is well."""
        self._given_up = 0
        self._ended = False
        self._thread = threading.Thread(target=self._send_presses, name="emergency stop", daemon=True)
        self._thread.start()

    def press(self) -> int:
        """Stop the robot; returns the number of this press."""
        with self._changed:
            self.presses += 1
            self._changed.notify_all()
            return self.presses

    def close(self) -> None:
        """End the thread; a press that is on its way gets another second."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join(_TRY_S)

    def _send_presses(self) -> None:
        with Client(self._address, timeout_s=_TRY_S) as client:
            while press := self._next_press():
                deadline = time.monotonic() + _GIVE_UP_S
                while not self._send(client, press) and not self._ended:
                    if time.monotonic() > deadline:
                        self._given_up = press
                        break
                    time.sleep(_RETRY_S)

    def _next_press(self) -> int:
        """Waits for it; 0 at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self.presses > max(self.confirmed, self._given_up))
            return 0 if self._ended else self.presses

    def _send(self, client: Client, press: int) -> bool:
        try:
            client.estop()
        except Exception as error:  # this thread must outlive whatever a server answers
            self.problem = f"The emergency stop has not got through: {error}"
            return False
        self.confirmed, self.problem = press, ""
        return True
