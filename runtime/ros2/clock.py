"""ROS time: stamps, and the clock that they follow: the system's, or a simulation's from `/clock` (`use_sim_time`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

from runtime.ros2 import messages as ros
from runtime.ros2.domain import LATEST, Participant, samples

_MOST_TAKEN = 200
_LOOK_AGAIN_S = 0.001
_LONGEST_WAIT_S = 0.1
"""Or two control periods, if that is longer."""
_NANOSECONDS = 1e-9
_ROUNDING = 1e-6
_CLOCK_RESET_S = 1.0
"""A stamp that is older than the last one by more than this belongs to a clock that was set back."""


def seconds(stamp: ros.Time) -> float:
    """A stamp in s; 0 stands for none."""
    return stamp.sec + _NANOSECONDS * stamp.nanosec


def is_news(stamp_s: float, before_s: float) -> bool:
    """Whether a message was stamped after the one before, or by a clock that was set back, or not at all."""
    return not stamp_s or stamp_s > before_s or stamp_s < before_s - _CLOCK_RESET_S


class Clock(Protocol):
    """What time it is."""

    known: bool
    """Whether anything has told yet."""
    resets: int
    """How often the time of stamps went back, as a simulation's does that begins again."""

    def take(self) -> None:
        """Take what has arrived."""

    def now_s(self) -> float:
        """Seconds that never go back, for ages."""

    def stamp_s(self) -> float:
        """The time with which messages are stamped now, s; 0 while it is not known."""

    def close(self) -> None:
        """Listen no more; the time stays what it was."""


class SystemClock:
    """The clock of this machine: stamps are Unix time."""

    known, resets = True, 0

    def take(self) -> None:
        """Nothing has to arrive."""

    def now_s(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def stamp_s(self) -> float:
        """See `Clock`."""
        return time.time()

    def close(self) -> None:
        """Nothing to leave."""


class SimulatedClock:
    """What a simulation publishes on `/clock`; it stands still while that does, and `take` is not called."""

    def __init__(self, participant: Participant, say: Callable[[str], None]) -> None:
        # Absolute in ROS, whatever the namespace.
        self._reader, self._say = participant.reader("clock", ros.Clock, qos=LATEST), say
        self._time_s, self._lost_s = 0.0, 0.0
        self.shortest_step_s = math.inf
        """Between two of its times."""
        self.known, self.resets = False, 0

    def take(self) -> None:
        """The newest time that has arrived."""
        for message in samples(self._reader, ros.Clock, self._say, most=_MOST_TAKEN):
            time_s = seconds(message.clock)
            if self.known:
                if not is_news(time_s, self._time_s):
                    continue
                step_s = time_s - self._time_s
                if step_s < 0:
                    self._lost_s -= step_s
                    self.resets += 1
                elif step_s > 0:
                    self.shortest_step_s = min(self.shortest_step_s, step_s)
            self._time_s, self.known = time_s, True

    def now_s(self) -> float:
        """See `Clock`; a simulation that begins again goes on from where it was."""
        return self._time_s + self._lost_s

    def stamp_s(self) -> float:
        """See `Clock`."""
        return self._time_s

    def close(self) -> None:
        """See `Clock`."""
        del self._reader


class Periods:
    """The control periods of a driver in simulated time, with references on the way where its controller wants them.

    `servo` is told the fraction of the period that has passed, `steps` times in each, the first of which is the command
    itself. `say` is told of a clock that is too coarse.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        period_s: float,
        steps: int,
        servo: Callable[[float], None],
        say: Callable[[str], None],
    ) -> None:
        self._clock, self._period_s, self._steps = clock, period_s, steps
        self._servo, self._say = servo, say
        self._due_s, self._sent = clock.now_s(), steps

    def wait(self) -> None:
        """Until the next period begins; not for ever, as the simulation may stand still or crawl."""
        clock, period_s = self._clock, self._period_s
        give_up_s = time.monotonic() + max(_LONGEST_WAIT_S, 2 * period_s)
        while clock.now_s() < self._due_s:
            if time.monotonic() > give_up_s:
                return
            self._send(1 - (self._due_s - clock.now_s()) / period_s)
            time.sleep(_LOOK_AGAIN_S)
            clock.take()
        # One that came late is not made good for.
        late_s = clock.now_s() - self._due_s
        self._due_s += period_s if late_s < period_s else late_s + period_s
        self._sent = 1
        if period_s < clock.shortest_step_s < math.inf:
            self._say(
                f"/clock goes on in steps of {clock.shortest_step_s:g} s, and the control period is {period_s:g} s; "
                "let the simulation publish it more often"
            )

    def _send(self, passed: float) -> None:
        """The newest reference that is due when this fraction of the period has passed."""
        step = min(self._steps, 1 + int(self._steps * passed + _ROUNDING))
        if step > self._sent:
            self._sent = step
            self._servo(step / self._steps)
