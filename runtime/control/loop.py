"""The fixed-rate loop: absolute deadlines, late ticks skipped and counted, nothing waited for but time.

    sleep ── warm-up ── spin ─┬─ goal ─ read ─ step ─ write ─┬─ status, supervision ── (servo) ── sleep
                             deadline                      command out

The warm-up, whose result is thrown away, brings caches and clock back up just before the deadline;
`docs/notes/latency.md` has what it gains. A servo that wants its reference more often than the policy runs gets it
between two ticks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from runtime.control.object_tracker import Tracker
from runtime.control.policy_controller import PolicyController
from runtime.control.telemetry import Telemetry
from runtime.control.warm_up import WarmUp
from runtime.drivers.base import Driver, JointOrder
from runtime.drivers.calls import DriverCalls
from runtime.realtime.cadence import Cadence
from runtime.realtime.histogram import Histogram
from runtime.realtime.missed_deadlines import DeadlineMonitor, MissedDeadlines
from runtime.robot.readings import Readings
from runtime.status import Reason

_WAKE_NS = 60_000
_COLD_FACTOR = 3
_LONGEST_LEAD_NS = 400_000
_TIMED_RUNS = 30
_MOST_EARLY = 25
"""Ticks that a driver which owns the clock may be early: what has queued up while the process was suspended, say."""


def warm_lead_ns(warm_up: Callable[[], object]) -> int:
    """How long before the deadline to wake for a warm-up: a late wake-up and a cold run must fit.

    Cold runs take about three times as long as hot ones, which are timed here.
    """
    times = []
    for _ in range(_TIMED_RUNS):
        started = time.perf_counter_ns()
        warm_up()
        times.append(time.perf_counter_ns() - started)
    return min(_WAKE_NS + _COLD_FACTOR * sorted(times)[_TIMED_RUNS // 2], _LONGEST_LEAD_NS)


class Exchange(Protocol):
    """What happens between ticks: goals in, status out."""

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        """Hand a new goal to the core."""

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        """Publish the status."""


@dataclass
class LoopStatistics:
    """Latencies and counts of one run."""

    lateness: Histogram = field(default_factory=Histogram)
    """Wake-up after the deadline; empty when the driver owns the clock."""
    step: Histogram = field(default_factory=Histogram)
    """Readings to command: safety, inference, limits."""
    tick: Histogram = field(default_factory=Histogram)
    """The whole tick with the driver's read and write."""
    ticks: int = 0
    overruns: int = 0
    """Ticks that ended after the next deadline."""
    missed_periods: int = 0
    """Control periods skipped because of overruns."""
    missed_by: MissedDeadlines = field(default_factory=MissedDeadlines)
    """The same by cause."""
    early: int = 0
    """Ticks left out because the driver's clock had not gone on by a control period."""
    servo_skipped: int = 0
    """References between two ticks that came too late to be worth sending."""
    holds: int = 0
    """How often so many overruns came in a row that the robot was held."""


class Loop:
    """Owns the driver's rhythm.

    Where the driver does not know where the contract's object is, `tracker` is asked.
    What the driver's own code does wrong is `runtime.drivers.calls.DriverFailed`. A tick that comes too early by the
    driver's clock is left out (`runtime.realtime.cadence`).
    `spin_s` is busy waiting before each deadline, useful only with SCHED_FIFO. After `overruns_in_a_row` of the core's
    safety settings the robot holds, until as many ticks in a row were on time.
    """

    def __init__(
        self,
        driver: Driver,
        core: PolicyController,
        exchange: Exchange,
        *,
        spin_s: float = 0.0,
        warm: bool = True,
        telemetry: Telemetry | None = None,
        tracker: Tracker | None = None,
    ) -> None:
        joints = len(core.contract.robot.joints)
        self._watch = DeadlineMonitor()
        self.statistics = LoopStatistics(missed_by=self._watch.causes)
        self._driver = driver = DriverCalls.of(driver)
        self._core, self._exchange = core, exchange
        self._order = JointOrder(core.contract.joint_names, driver.joint_names)
        self._readings, self._command = Readings.of(core.contract), np.zeros(joints)
        # In driver order; most drivers' is the policy's.
        self._measured = self._readings if self._order.same else Readings.of(core.contract)
        self._command_driver_order = self._command if self._order.same else np.zeros(joints)
        self._period_ns = round(driver.period_s * 1e9)
        self.spin_s = spin_s
        self._telemetry = telemetry
        self._tracker = tracker if tracker is not None and tracker.wanted else None
        self._driver_sees_object: bool | None = None
        self.warm_up = WarmUp(core, self._readings)
        """Called just before each tick."""
        lead_ns = warm_lead_ns(self.warm_up) if warm else 0
        # Where a tick fills much of the period, there is no time for a second one.
        self._warm_lead_ns = lead_ns if 2 * lead_ns < self._period_ns else 0
        self._longest_lead_ns = min(2 * lead_ns, self._period_ns // 2)
        self._late_in_a_row = self._punctual_in_a_row = 0
        self._cadence = Cadence(core.contract.timing.control_dt_s)
        self._stale_ticks = core.safety.config.stale_ticks
        self._servo_steps, self._restarts = driver.servo_steps, driver.restarts

    def run(self, should_end: Callable[[], bool], *, on_first_tick: Callable[[], None] | None = None) -> None:
        """Tick until `should_end()`; at least one tick."""
        deadline = time.perf_counter_ns()
        self._cadence.restart()
        with self._watch:
            while True:
                self.tick(deadline)
                if self.statistics.ticks == 1 and on_first_tick is not None:
                    on_first_tick()
                    deadline = time.perf_counter_ns()
                if should_end():
                    return
                if not self._driver.owns_clock:
                    deadline = self._next_deadline(deadline)
                    self._wait(deadline)

    def tick(self, deadline_ns: int) -> None:
        """One control period."""
        statistics, driver, core = self.statistics, self._driver, self._core
        started = time.perf_counter_ns()
        self._exchange.before_tick(core, driver)
        self._read()
        waited = time.perf_counter_ns() - started >= self._period_ns
        now_s = driver.now_s()
        restarts = driver.restarts
        if restarts != self._restarts:
            self._restarts = restarts
            core.restart(now_s)
        if self._is_early(now_s, paced=waited or not driver.owns_clock):
            self._exchange.after_tick(core, statistics.missed_periods)
            return
        before = time.perf_counter_ns()
        commanding = core.step(self._readings, now_s, self._command)
        step = time.perf_counter_ns() - before
        if commanding:
            if not self._order.same:
                self._order.to_driver(self._command, self._command_driver_order)
            driver.write(self._command_driver_order)
        tick = time.perf_counter_ns() - started
        # The command is out; only now is there time for counting.
        lateness = 0 if driver.owns_clock else started - deadline_ns
        if not driver.owns_clock:
            statistics.lateness.record(lateness)
        statistics.step.record(step)
        statistics.tick.record(tick)
        statistics.ticks += 1
        missed = statistics.missed_periods
        if self._telemetry is not None:
            self._telemetry.tick(self._readings, now_s, self._command, commanding, missed, lateness, step, tick)
        self._exchange.after_tick(core, missed)

    def _is_early(self, now_s: float, *, paced: bool) -> bool:
        """Whether this tick must be left out. Where the clock stands still, ticks go on and hold the robot, as with any
        readings that grow old; a driver that owns the clock, but does not wait for it, has failed. `paced` says that
        this tick waited, here or in the driver, whatever its clock says.
        """
        cadence, core, period_s = self._cadence, self._core, self._core.contract.timing.control_dt_s
        early = cadence.is_early(now_s)
        if early and not paced and cadence.early >= _MOST_EARLY:
            self._driver.fail(
                f"read returned {cadence.early} times while now_s went on by {cadence.went_on_s:.4g} s; "
                f"with owns_clock, read must wait for the robot's next control period, {period_s:g} s of now_s"
            )
        stands_still = paced and cadence.still >= self._stale_ticks
        if stands_still and core.safety.imposed is None:
            core.impose(Reason.CLOCK_STANDS_STILL)
        elif not stands_still and core.safety.imposed is Reason.CLOCK_STANDS_STILL:
            core.impose(None)
        if early and not stands_still:
            self.statistics.early += 1
            return True
        return False

    def _read(self) -> None:
        measured, readings = self._measured, self._readings
        self._driver.read(measured)
        if not self._order.same:
            self._reorder(measured, readings)
        if self._tracker is not None:
            if self._driver_sees_object is None:
                self._driver_sees_object = self._tracker.sees(readings)
            if not self._driver_sees_object:
                self._tracker.fill(readings)

    def _reorder(self, measured: Readings, readings: Readings) -> None:
        self._order.readings_to_policy(measured, readings)

    def _next_deadline(self, deadline_ns: int) -> int:
        following = deadline_ns + self._period_ns
        late = time.perf_counter_ns() - following
        if late > 0:
            # Skip what is over instead of catching up in a burst.
            skipped = self._watch.missed(late, self._period_ns)
            self.statistics.overruns += 1
            self.statistics.missed_periods += skipped
            following += skipped * self._period_ns
        self._judge(late > 0)
        return following

    def _judge(self, late: bool) -> None:
        """Hold the robot when the loop cannot keep its rhythm, and let it go on when it can again."""
        limit = self._core.safety.config.overruns_in_a_row
        if limit is None:
            return
        self._late_in_a_row = self._late_in_a_row + 1 if late else 0
        self._punctual_in_a_row = 0 if late else self._punctual_in_a_row + 1
        if self._late_in_a_row == limit:
            self.statistics.holds += 1
            self._core.impose(Reason.OVERRUNS)
        elif self._punctual_in_a_row == limit:
            self._core.impose(None)

    def _wait(self, deadline_ns: int) -> None:
        self._watch.begin_wait()
        if self._servo_steps > 1:
            self._drive_servo(deadline_ns - self._period_ns)
        spin_from = deadline_ns - round(self.spin_s * 1e9)
        if self._warm_lead_ns:
            # No second sleep after it: caches would cool again, and without SCHED_FIFO a process that has just run
            # may be left waiting behind others.
            self._warm_up_before(spin_from)
        else:
            self._watch.slept(sleep_until(spin_from))
        wait_until(deadline_ns)

    def _warm_up_before(self, until_ns: int) -> None:
        """Warm up, and learn how early to begin: a little earlier after one that ended too late, else slowly later.

        Not much earlier than at first: a wake-up that came late for want of a processor says nothing about the
        warm-up, and the longer a process keeps running, the more likely the scheduler is to make it wait.
        """
        lead = self._warm_lead_ns
        self._watch.slept(sleep_until(until_ns - lead))
        if time.perf_counter_ns() > until_ns:
            return
        self.warm_up()
        late = time.perf_counter_ns() > until_ns
        self._warm_lead_ns = min(lead + lead // 4, self._longest_lead_ns) if late else lead - lead // 128

    def _drive_servo(self, started_ns: int) -> None:
        steps = self._servo_steps
        step_ns = self._period_ns // steps
        for step in range(2, steps + 1):
            moment = started_ns + (step - 1) * step_ns
            if time.perf_counter_ns() > moment + step_ns:
                # The next reference is due already: to send both at once would be a jerk.
                self.statistics.servo_skipped += 1
                continue
            self._watch.slept(sleep_until(moment))
            self._driver.servo(step / steps)


def wait_until(moment_ns: int) -> None:
    """Busy-wait until `time.perf_counter_ns()` has come so far."""
    while time.perf_counter_ns() < moment_ns:
        pass


def sleep_until(moment_ns: int) -> int:
    """Sleep until `time.perf_counter_ns()` has come so far; returns the intended sleep in ns, 0 when the moment was
    over.
    """
    remaining = max(moment_ns - time.perf_counter_ns(), 0)
    if remaining:
        time.sleep(remaining / 1e9)
    return remaining
