"""How a simulated robot's time follows the clock on the wall."""

from __future__ import annotations

import time

from sim2real.errors import ShoalError

_MAX_CATCH_UP_PERIODS = 25


class Pace:
    """Simulated time in whole control periods of `control_dt_s`, at `speed` simulated seconds per second; 0 is one
    period for each question, as fast as possible. `ShoalError` when it is negative.
    """

    def __init__(self, speed: float, control_dt_s: float) -> None:
        if not speed >= 0:
            raise ShoalError(f"--speed must be 0 (as fast as possible) or positive, got {speed:g}.")
        self.owns_clock = speed == 0
        self.period_s = control_dt_s / (speed or 1.0)
        self.description = "as fast as possible" if self.owns_clock else f"{speed:g} x real time"
        self._started_s: float | None = None
        self._periods = 0

    def due_periods(self) -> int:
        """How many to simulate now; none at the first question."""
        if self._started_s is None:
            self._started_s = time.perf_counter()
            return 0
        if self.owns_clock:
            return 1
        elapsed = round((time.perf_counter() - self._started_s) / self.period_s)
        due = max(1, elapsed - self._periods)
        self._periods += due
        # After a suspended process there is no use in simulating the whole pause.
        return min(due, _MAX_CATCH_UP_PERIODS)
