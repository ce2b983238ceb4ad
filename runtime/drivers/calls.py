"""What a driver's own code may do wrong, in one sentence: it raises, exits, returns nonsense or never returns.

    calls = DriverCalls(driver)          # what the loop drives; a driver like any other
    calls.read(readings)                 # or DriverFailed: "driver arm:MyArm: read raised OSError: ... (arm.py:31)."
    calls.write(command)                 # still passed on afterwards, so that the robot can be braked

After a failure nothing is asked of the driver any more: readings stay what they were, and the clock goes on by itself.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, MutableSequence, Sequence
from inspect import getattr_static
from typing import NoReturn, Self, TypeVar, cast

import numpy as np

from runtime.drivers.base import Driver, DriverFailed, DriverOverdue, RecoveringDriver, ServoDriver, what_happened
from runtime.goals.messages import ResolvedGoal
from runtime.robot.readings import Float64, Readings
from sim2real.errors import shown

CALLS = ("", "read", "write", "now_s", "show_goal", "servo", "close")
"""What `DriverCalls.call` counts."""
_READ, _WRITE, _NOW_S, _SHOW_GOAL, _SERVO, _CLOSE = range(1, len(CALLS))
Returned = TypeVar("Returned")
_COPY = os.EX_SOFTWARE
"""Exit status of a fork of the server that a driver made."""
_LONGEST_NAME, LONGEST_DESCRIPTION = 120, 200


class DriverCalls:
    """A driver whose calls return, or raise `DriverFailed`; see the module."""

    def __init__(self, driver: Driver) -> None:
        self.inner = driver
        """The driver itself."""
        self.name = f"{type(driver).__module__}:{type(driver).__qualname__}"[:_LONGEST_NAME]
        self._process = os.getpid()
        self.failed = False
        """Whether a call has failed, so that only commands are passed on."""
        self.overdue = ""
        """The method that had to be interrupted because it did not return; empty for none."""
        self.begun = 0
        """Reads and writes so far, those that have not returned among them."""
        self.call: MutableSequence[int] | memoryview = [0]
        """Its only number says which of `CALLS` is under way; shared memory may take its place, for others to see."""
        _require_members(self.name, driver)
        self.joint_names, self.owns_clock = driver.joint_names, driver.owns_clock
        self.period_s, self.description = float(driver.period_s), driver.description
        self._servo = cast(ServoDriver, driver) if _has(driver, "servo") else None
        self._recovering = cast(RecoveringDriver, driver) if _has(driver, "restarts") else None
        self.servo_steps = self._servo.servo_steps if self._servo is not None else 1
        """Reference updates per control period; 1 for a driver whose servo wants none in between."""
        self._told: Float64 = np.zeros(0)
        self._now_s, self._asked_s, self._restarts = 0.0, time.monotonic(), 0

    @classmethod
    def of(cls, driver: Driver) -> Self:
        """The same object for one that is this already."""
        return driver if isinstance(driver, cls) else cls(driver)

    def read(self, out: Readings) -> None:
        """Fill in the latest readings; a failure leaves none that can be believed, and later calls change nothing."""
        if self.failed:
            return
        self.begun += 1
        try:
            self._call(_READ, self._read, out)
        except BaseException:
            out.vector.fill(math.nan)  # half of them may be new
            out.time_s = self._now_s
            raise

    def write(self, command: Float64) -> None:
        """Pass a command on, whatever has failed before; the driver cannot change it, as it is recorded and checked."""
        self.begun += 1
        if self._told.base is not command:  # a loop has the same array at every tick
            self._told = command.view()
            self._told.flags.writeable = False
        self._call(_WRITE, self.inner.write, self._told)

    def now_s(self) -> float:
        """The driver's clock; after a failure, its last time and what has passed since."""
        if self.failed:
            return self._now_s + time.monotonic() - self._asked_s
        told = self._call(_NOW_S, self.inner.now_s)
        try:
            now = _seconds(told)
        except (TypeError, ValueError):
            now = math.nan
        if not math.isfinite(now):
            self.fail(f"now_s returned {shown(told)}, which is no time")
        self._now_s, self._asked_s = now, time.monotonic()
        return now

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Called once per new goal."""
        if not self.failed:
            self._call(_SHOW_GOAL, self.inner.show_goal, goal)

    def servo(self, fraction: float) -> None:
        """Move the reference to this fraction of the way, where the driver wants that."""
        if self._servo is not None and not self.failed:
            self._call(_SERVO, self._servo.servo, fraction)

    @property
    def restarts(self) -> int:
        """How often the driver lost its robot and took it again; 0 for one that cannot."""
        if self._recovering is not None and not self.failed:
            try:
                self._restarts = int(self._recovering.restarts)
            except BaseException as error:
                self._fail("restarts", error)
        return self._restarts

    def close(self) -> None:
        """Release the robot."""
        self._call(_CLOSE, self.inner.close)

    def _call(self, which: int, method: Callable[..., Returned], *arguments: object) -> Returned:
        self.call[0] = which
        try:
            return method(*arguments)
        except BaseException as error:
            self._fail(CALLS[which], error)
        finally:
            self._end_copies()
            self.call[0] = 0

    def _end_copies(self) -> None:
        """A driver that forks and returns twice would drive the robot twice, and end the server's files and sockets."""
        if os.getpid() != self._process:
            os._exit(_COPY)

    def _read(self, out: Readings) -> None:
        self.inner.read(out)
        out.time_s = _seconds(out.time_s)

    def fail(self, what: str) -> NoReturn:
        """Raise `DriverFailed`; from now on the loop keeps time itself, and asks nothing of the driver."""
        self.failed, self.owns_clock = True, False
        raise DriverFailed(f"driver {self.name}: {what}.")

    def _fail(self, method: str, error: BaseException) -> NoReturn:
        if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            raise error  # somebody pressed Ctrl-C
        if isinstance(error, DriverOverdue):
            self.overdue = method
        try:
            self.fail(f"{method} {what_happened(error, type(self.inner).__module__)}")
        except DriverFailed as failed:
            raise failed from error


def _seconds(told: float) -> float:
    """A driver's number of whatever type; a text that looks like one is none."""
    if isinstance(told, str | bytes | bytearray):
        raise TypeError(f"{shown(told)} is a text, and no time")
    return float(told)


def _require_members(name: str, driver: Driver) -> None:
    """Raise `DriverFailed` with all members that are not what a driver's are."""
    problems = [f"{member} {problem}" for member, problem in member_problems(driver).items() if problem]
    if problems:
        raise DriverFailed(f"driver {name}: {'; '.join(problems)}.")


def member_problems(driver: Driver) -> dict[str, str]:
    """What is wrong with each member that is no method, as `it is ...`; empty for nothing."""
    names, period = _member(driver, "joint_names"), _member(driver, "period_s")
    strings = isinstance(names, Sequence) and not isinstance(names, str) and all(isinstance(n, str) for n in names)
    number = isinstance(period, (int, float)) and math.isfinite(period) and period > 0
    flag, text = _member(driver, "owns_clock"), _member(driver, "description")
    line = isinstance(text, str) and text and "\n" not in text
    long = isinstance(text, str) and len(text) > LONGEST_DESCRIPTION
    problems = {
        "joint_names": "" if strings else f"is {shown(names)}, not a tuple of names",
        "period_s": "" if number else f"is {shown(period)}, not a positive time in s",
        "owns_clock": "" if isinstance(flag, bool) else f"is {shown(flag)}, not True or False",
        "description": "" if line and not long else f"is {shown(text)}, not one line of at most {LONGEST_DESCRIPTION}",
    }
    if _has(driver, "servo"):
        steps = _member(driver, "servo_steps")
        counts = isinstance(steps, int) and steps >= 1
        problems["servo_steps"] = "" if counts else f"is {shown(steps)}, not a number of reference updates per period"
    missing = [name for name in METHODS if not callable(_member(driver, name))]
    return problems | dict.fromkeys(missing, "is missing")


def _has(driver: Driver, name: str) -> bool:
    """Without asking a property for its value."""
    return getattr_static(driver, name, None) is not None


def _member(driver: Driver, name: str) -> object:
    """None for one that is not there, and what a property raises for what it is."""
    try:
        return getattr(driver, name, None)
    except Exception as error:
        return error


METHODS = ("read", "write", "now_s", "show_goal", "close")
