"""Between two ticks: requests from shared memory into the core, status and goals' records out, gateway supervised."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Literal

import numpy as np

from runtime.control.goal_queue import GoalQueue, Tracked
from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import Driver
from runtime.gateway.gateway import status_of
from runtime.ipc.goal_slots import read_goal
from runtime.ipc.shared_memory import DETAIL_BYTES, SharedSlots
from runtime.server.supervisor import GatewaySupervisor
from runtime.status import GoalStatus

LeaseLost = Literal["hold", "keep"]
_ANY = -1


class ServerExchange:
    """The served loop's `runtime.control.loop.Exchange`.

    The first `listed` goals are those of `--goals`, which the control process itself wrote into the requests.
    """

    def __init__(
        self,
        slots: SharedSlots,
        queue: GoalQueue,
        supervisor: GatewaySupervisor,
        *,
        on_lease_lost: LeaseLost = "hold",
        listed: int = 0,
    ) -> None:
        self._slots, self._queue, self._supervisor = slots, queue, supervisor
        self._on_lease_lost, self._listed = on_lease_lost, listed
        self._number = self._estop = self._release = self._stops = 0
        self._lease_expires_ns = 0
        self.listed: list[Tracked] = []
        """The goals of `--goals` and what became of them."""
        self.stop_requested = False

    @property
    def finished(self) -> bool:
        """Whether all goals of `--goals` are done with, one way or another."""
        return len(self.listed) == self._listed and all(tracked.state.final for tracked in self.listed)

    def status(self) -> GoalStatus:
        """What was published after the last tick, as all clients see it."""
        return status_of(self._slots.status.value[0], self._queue.contract)

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        """Take what clients want, notice a lost lease, and choose the goal for the coming tick."""
        slot = self._slots.requests
        if slot.read():
            self._take(slot.value[0], core, driver)
        stops = self._slots.stops
        if stops != self._stops:
            # After the requests: whatever was released or sent for this tick, the stop wins.
            self._stops = stops
            core.estop()
        if 0 < self._lease_expires_ns < time.monotonic_ns():
            self._lease_expires_ns = 0
            if self._on_lease_lost == "hold":
                self._queue.lease_lost()
        self._queue.update(driver)

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        """Publish goals and status, then look after the gateway."""
        if self._queue.changed:
            self._publish_goals()
        slot, safety = self._slots.status, core.safety
        record = slot.value[0]
        record["goal_number"], record["stops"], record["written_ns"] = self._number, self._stops, time.monotonic_ns()
        record["goal_id"] = core.goal.id.encode() if core.goal is not None else b""
        record["state"], record["reason"] = safety.state, safety.reason
        record["detail"] = safety.detail.encode()[:DETAIL_BYTES]
        record["within_tolerance"], record["reached"] = core.within_tolerance, core.reached
        record["distance_m"], record["angle_deg"] = core.distance_m, core.angle_deg
        record["reachability"] = core.reachability
        record["ticks"], record["holds"] = safety.ticks, safety.holds
        record["clamped"], record["estops"], record["missed_periods"] = safety.clamped, safety.estops, missed_periods
        slot.write()
        self._supervisor.check()

    def _take(self, requests: np.void, core: PolicyController, driver: Driver) -> None:
        self.stop_requested = self.stop_requested or bool(requests["stop"])
        taken, self._number = self._number, int(requests["number"])
        self._lease_expires_ns = int(requests["lease_expires_ns"])
        if core.safety.latched:
            # Pressed after the last look at the goals, which do not outlast it, also if it is released right now.
            self._queue.clear()
        self._emergency(int(requests["estop"]), int(requests["release"]), int(requests["release_after"]), core)
        self._take_goals(requests, taken, driver.now_s())

    def _take_goals(self, requests: np.void, taken: int, now_s: float) -> None:
        """Add goals, and end them, in the order of the requests above number `taken`: one that was ended before the
        loop has seen it has its record all the same.
        """
        queue, entries = self._queue, requests["goals"]
        estop, cancel = int(requests["estop"]), int(requests["cancel"])
        steps: list[tuple[int, Callable[[], object]]] = [
            (estop, partial(queue.clear, before=estop)),
            (cancel, partial(queue.cancel_before, cancel)),
            *((int(entry["number"]), partial(self._add, entry, now_s)) for entry in entries[entries["number"] > taken]),
            *(
                (int(entry["cancelled"]), partial(queue.cancel, {int(entry["number"])}))
                for entry in entries[entries["cancelled"] > taken]
            ),
        ]
        for number, step in sorted(steps, key=itemgetter(0)):
            if number > taken:
                step()

    def _add(self, entry: np.void, now_s: float) -> None:
        tracked = self._queue.add(read_goal(entry), now_s)
        if tracked.number <= self._listed:
            self.listed.append(tracked)

    def _emergency(self, estop: int, release: int, release_after: int, core: PolicyController) -> None:
        """Take both in the order in which they were asked for, but no release of a stop that its sender did not see."""
        if estop > self._estop:
            core.estop()
        if release > self._release and release > estop and release_after in (_ANY, core.safety.estops):
            core.release()
        self._estop, self._release = estop, release

    def _publish_goals(self) -> None:
        queue, slot = self._queue, self._slots.goals
        record = slot.value[0]
        record["in_force"] = queue.current.number if queue.current else 0
        for tracked in queue.changed:
            row, goal = record["goals"][tracked.row], tracked.goal
            row["number"], row["id"], row["priority"] = tracked.number, goal.id.encode(), tracked.priority
            row["state"], row["why"] = tracked.state, tracked.why
            row["accepted_ns"], row["changed_ns"] = tracked.accepted_ns, tracked.changed_ns
            row["request"] = goal.request
            for field in ("distance_m", "angle_deg", "reachability", "time_s"):
                row[field] = getattr(tracked, field)
        queue.changed.clear()
        slot.write()
