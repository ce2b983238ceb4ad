"""Which goal is in force, and what became of the others: the control loop's side of goals.

    waiting ──turn──► active ──► reached | timed out | stalled | preempted | cancelled
       │  ▲───interrupted──┘
       └──► refused | timed out | preempted | cancelled

A goal takes the place of all goals of its own and lower priority, which are preempted; one with `queue` waits for
its turn behind those of its own priority, and only interrupts those of lower priority, which go on afterwards. A
goal that has been reached stays in force until there is another one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import Driver
from runtime.goals.messages import ResolvedGoal
from runtime.goals.progress import GoalState, Why
from runtime.ipc.goal_slots import RequestedGoal
from runtime.ipc.shared_memory import HISTORY
from runtime.status import Reason, State

_PROGRESS = 0.98
"""A goal has come closer when its error is below this share of the smallest one so far."""


@dataclass(eq=False)
class Tracked:
    """One goal and its fate."""

    number: int
    goal: ResolvedGoal
    priority: int
    queue: bool
    leased: bool
    row: int
    """Of the record that clients see."""
    accepted_ns: int
    """Unix time."""
    expires_s: float
    """On the driver's clock; NaN for a waypoint whose turn has not come."""
    state: GoalState = GoalState.ACCEPTED
    why: Why = Why.NONE
    changed_ns: int = 0
    active_s: float = math.nan
    distance_m: float = math.nan
    angle_deg: float = math.nan
    reachability: float = math.nan
    time_s: float = math.nan


@dataclass
class StallWatch:
    """Notices that a goal comes no closer: no progress for `horizon_s` and a reachability below `threshold`."""

    horizon_s: float
    threshold: float
    _best: float = field(default=math.inf, init=False)
    _since_s: float = field(default=math.nan, init=False)

    def restart(self, now_s: float) -> None:
        """A goal begins, or the robot may not move."""
        self._best, self._since_s = math.inf, now_s

    def stalled(self, error: float, reachability: float, now_s: float) -> bool:
        """`error` is any measure of what is left."""
        if error < _PROGRESS * self._best:
            self._best, self._since_s = error, now_s
        return now_s - self._since_s >= self.horizon_s and reachability < self.threshold


class GoalQueue:
    """All goals of one server. `stall_after_s` may be infinite."""

    def __init__(self, core: PolicyController, *, stall_after_s: float = math.inf) -> None:
        self._core, self.contract = core, core.contract
        self._stall = StallWatch(stall_after_s, core.contract.reachability.threshold)
        self._live: list[Tracked] = []
        """Waiting or active, oldest first."""
        self._rows: list[Tracked | None] = [None] * HISTORY
        self._next_row = 0
        self._offered: Tracked | None = None
        """Waits for the core's judgement of its reachability."""
        self._now_s = math.nan
        self.newest = 0
        """Number of the latest goal."""
        self.current: Tracked | None = None
        """The goal in force; it may have been reached."""
        self.changed: set[Tracked] = set()
        """Goals whose records are to be written again; emptied by whoever does that."""

    def add(self, wanted: RequestedGoal, now_s: float) -> Tracked:
        """Take a goal, with a number above all so far."""
        self.newest, self._now_s = wanted.number, now_s
        from_turn = wanted.queue and not wanted.stamped
        tracked = Tracked(
            number=wanted.number,
            goal=wanted.goal,
            priority=wanted.priority,
            queue=wanted.queue,
            leased=wanted.leased,
            row=self._free_row(),
            accepted_ns=time.time_ns(),
            expires_s=math.nan if from_turn else now_s - wanted.age_s + wanted.goal.valid_for_s,
        )
        self._rows[tracked.row] = tracked
        outranked = not wanted.queue and any(other.priority > wanted.priority for other in self._live)
        self._live.append(tracked)
        if outranked:
            self._finish(tracked, GoalState.REFUSED, Why.OUTRANKED)
        else:
            self._enter(tracked, GoalState.ACCEPTED)
        return tracked

    def cancel(self, numbers: Collection[int]) -> None:
        """Cancel these goals, as a client wants."""
        for tracked in self._known():
            if tracked.number in numbers:
                self._drop(tracked, Why.REQUEST)

    def cancel_before(self, number: int) -> None:
        """Cancel all goals that are older than a client's request with this number."""
        self.cancel([tracked.number for tracked in self._known() if tracked.number < number])

    def clear(self, *, before: float = math.inf) -> None:
        """Cancel the goals, all or those below a number, that the core has forgotten: an emergency stop was pressed,
        and perhaps released since, or the server ends.
        """
        why = Why.STOP if self._core.safety.state is State.STOPPED else Why.EMERGENCY
        for tracked in [t for t in self._live if t.number < before]:
            self._finish(tracked, GoalState.CANCELLED, why)
        if self._offered is not None and self._offered.number < before:
            self._offered = None
            self._core.withdraw_offer()
        if self.current is not None and self.current.number < before:
            self.changed.add(self.current)
            self.current = None

    def lease_lost(self) -> None:
        """Cancel what the holder of a lease asked for and has not been reached."""
        for tracked in [*self._live]:
            if tracked.leased:
                self._drop(tracked, Why.LEASE)

    def update(self, driver: Driver) -> None:
        """Before every tick: judge the goal in force by the last tick, and choose the one for the next."""
        if not self._live and self.current is None:
            return
        core = self._core
        self._now_s = now_s = driver.now_s()
        if core.safety.latched:
            self.clear()
            return
        self._hear_offer(driver, now_s)
        self._judge(now_s)
        for tracked in [t for t in self._live if now_s >= t.expires_s and t is not self.current]:
            self._finish(tracked, GoalState.TIMED_OUT)
        best = min((t for t in self._live if t is not self.current), key=_rank, default=None)
        if best is not None and best is not self._offered and self._outranks_current(best):
            self._begin(best, driver, now_s)

    def _hear_offer(self, driver: Driver, now_s: float) -> None:
        offered, core = self._offered, self._core
        if offered is None or core.offered_number == offered.number:
            return
        self._offered = None
        if core.goal_number == offered.number:
            self._activate(offered, driver, now_s)
        elif offered in self._live:
            offered.reachability = core.offered_reachability
            self._finish(offered, GoalState.REFUSED, Why.UNREACHABLE)

    def _judge(self, now_s: float) -> None:
        current, core = self.current, self._core
        if current is None or current.state.final:
            return
        if core.reached:
            self._finish(current, GoalState.REACHED)
        elif now_s >= current.expires_s:
            self._finish(current, GoalState.TIMED_OUT)
        elif core.safety.reason is not Reason.FOLLOWING or core.within_tolerance:
            self._stall.restart(now_s)
        else:
            goal = current.goal
            error = max(core.distance_m / goal.position_tolerance_m, core.angle_deg / goal.angle_tolerance_deg)
            if self._stall.stalled(error, core.reachability, now_s):
                self._finish(current, GoalState.STALLED, Why.NO_PROGRESS)
                self._leave(Reason.GOAL_STALLED)

    def _outranks_current(self, tracked: Tracked) -> bool:
        current = self.current
        if current is None or current.state.final:
            return True
        return tracked.priority > current.priority if tracked.queue else tracked.priority >= current.priority

    def _begin(self, tracked: Tracked, driver: Driver, now_s: float) -> None:
        if math.isnan(tracked.expires_s):
            tracked.expires_s = now_s + tracked.goal.valid_for_s
        goal = tracked.goal._replace(valid_for_s=tracked.expires_s - now_s)
        first = math.isnan(tracked.active_s)
        if first and self._core.reachability_gate is not None:
            self._core.offer_goal(goal, number=tracked.number, now_s=now_s)
            self._offered = tracked
            return
        self._core.set_goal(goal, number=tracked.number, now_s=now_s)
        self._activate(tracked, driver, now_s)

    def _activate(self, tracked: Tracked, driver: Driver, now_s: float) -> None:
        previous, self.current = self.current, tracked
        if not tracked.queue:
            for other in [t for t in self._live if t.number < tracked.number and t.priority <= tracked.priority]:
                self._finish(other, GoalState.PREEMPTED, Why.REPLACED)
        if previous is not None and not previous.state.final:
            self._enter(previous, GoalState.ACCEPTED, Why.INTERRUPTED)
        # If it is interrupted, it waits for its turn instead of taking someone's place again.
        tracked.queue = True
        if math.isnan(tracked.active_s):
            tracked.active_s = now_s
        self._enter(tracked, GoalState.ACTIVE)
        self._stall.restart(now_s)
        driver.show_goal(tracked.goal)

    def _known(self) -> list[Tracked]:
        """All that can be cancelled; the goal in force is one of them, also when it has been reached."""
        return list(dict.fromkeys([*self._live, *([self.current] if self.current else [])]))

    def _drop(self, tracked: Tracked, why: Why) -> None:
        if not tracked.state.final:
            self._finish(tracked, GoalState.CANCELLED, why)
        if tracked is self._offered:
            self._core.withdraw_offer()
            self._offered = None
        if tracked is self.current:
            self._leave(Reason.LEASE_LOST if why is Why.LEASE else Reason.CANCELLED)

    def _leave(self, reason: Reason) -> None:
        if self.current is not None:
            self.changed.add(self.current)
        self.current = None
        self._core.cancel_goal(number=self.newest, reason=reason)

    def _finish(self, tracked: Tracked, state: GoalState, why: Why = Why.NONE) -> None:
        self._live.remove(tracked)
        self._enter(tracked, state, why)

    def _enter(self, tracked: Tracked, state: GoalState, why: Why = Why.NONE) -> None:
        core = self._core
        tracked.state, tracked.why, tracked.changed_ns = state, why, time.time_ns()
        if tracked is self.current and core.goal_number == tracked.number:
            tracked.distance_m, tracked.angle_deg = core.distance_m, core.angle_deg
            tracked.reachability = core.reachability
        tracked.time_s = self._now_s - tracked.active_s
        self.changed.add(tracked)

    def _free_row(self) -> int:
        # There are more rows than goals can be live, so this ends.
        while True:
            row, self._next_row = self._next_row, (self._next_row + 1) % HISTORY
            held = self._rows[row]
            if held is None or (held.state.final and held is not self.current):
                return row


def _rank(tracked: Tracked) -> tuple[int, bool, int]:
    """Sort key of waiting goals, of which the smallest is next: the newest of those that take a place, the oldest of
    those that queue.
    """
    return -tracked.priority, tracked.queue, tracked.number if tracked.queue else -tracked.number
