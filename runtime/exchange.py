"""Between two ticks: goals from shared memory or a list into the core, status out, gateway supervised."""

from __future__ import annotations

import time

import numpy as np

from runtime.core import Core
from runtime.drivers.base import Driver
from runtime.goals import GoalPose, ResolvedGoal, validate_goal
from runtime.shared_memory import SharedSlots
from runtime.status import Reason
from runtime.supervisor import GatewaySupervisor
from sim2real.contract import Contract

_EPISODES_PER_GOAL = 3


class GoalSequence:
    """Visits goals one after the other; one that is not reached within its `timeout_s` (three training episodes
    if it has none) is given up. Raises `GoalRefused` at once if any of them must not be followed.
    """

    def __init__(self, contract: Contract, goals: list[GoalPose]) -> None:
        now = time.time()
        self._goals = [validate_goal(contract, goal, now) for goal in goals]
        self._limit_s = _EPISODES_PER_GOAL * contract.timing.episode_s
        self._index = -1
        self._since_s = 0.0
        self.finished = not goals
        self.results: list[dict[str, object]] = []
        """One entry per visited goal."""

    def update(self, core: Core, driver: Driver) -> None:
        """Every tick: note the result of the present goal and set the next."""
        if self.finished:
            return
        now_s = driver.now_s()
        if self._index >= 0:
            goal = self._goals[self._index]
            given_up = now_s - self._since_s > min(self._limit_s, goal.valid_for_s)
            if not (core.reached or given_up or core.safety.reason is Reason.GOAL_EXPIRED):
                return
            self._note(core, goal, now_s)
        self._index += 1
        if self._index == len(self._goals):
            self.finished = True
            return
        self._since_s = now_s
        core.set_goal(self._goals[self._index], number=core.goal_number, now_s=now_s)
        driver.show_goal(self._goals[self._index])

    def abandon(self) -> None:
        """A client took over."""
        self.finished = True

    def _note(self, core: Core, goal: ResolvedGoal, now_s: float) -> None:
        status = core.status()
        self.results.append(
            {
                "id": goal.id,
                "position": list(goal.position),
                "reached": core.reached,
                "time_s": round(now_s - self._since_s, 6),
                "distance_m": status.distance_m,
                "angle_deg": status.angle_deg,
                "reachability": status.reachability,
            }
        )


class ServerExchange:
    """The served loop's `runtime.loop.Exchange`."""

    def __init__(self, slots: SharedSlots, sequence: GoalSequence, supervisor: GatewaySupervisor) -> None:
        self._slots, self._supervisor = slots, supervisor
        self.sequence = sequence
        self.stop_requested = False
        self._estop = self._release = 0

    def before_tick(self, core: Core, driver: Driver) -> None:
        """Latest goal wins."""
        slot = self._slots.goal
        if slot.read():
            self._take(slot.value[0], core, driver)
        self.sequence.update(core, driver)

    def after_tick(self, core: Core, missed_periods: int) -> None:
        """Publish the status, then look after the gateway."""
        slot, safety = self._slots.status, core.safety
        record = slot.value[0]
        record["goal_number"], record["written_ns"] = core.goal_number, time.monotonic_ns()
        record["goal_id"] = core.goal.id.encode() if core.goal is not None else b""
        record["state"], record["reason"] = safety.state, safety.reason
        record["within_tolerance"], record["reached"] = core.within_tolerance, core.reached
        record["distance_m"], record["angle_deg"] = core.distance_m, core.angle_deg
        record["reachability"] = core.reachability
        record["ticks"], record["holds"] = safety.ticks, safety.holds
        record["clamped"], record["missed_periods"] = safety.clamped, missed_periods
        slot.write()
        self._supervisor.check()

    def _take(self, record: np.void, core: Core, driver: Driver) -> None:
        self.sequence.abandon()
        self.stop_requested = self.stop_requested or bool(record["stop"])
        number = int(record["number"])
        self._emergency(int(record["estop"]), int(record["release"]), core)
        if not record["active"]:
            core.cancel_goal(number=number)
            return
        # Age counts from the writing, so a goal that waited while the loop was suspended is not young again.
        age_s = (time.monotonic_ns() - int(record["written_ns"])) / 1e9
        goal = ResolvedGoal(
            id=bytes(record["id"]).decode(),
            position=tuple(record["position"].tolist()),
            orientation_wxyz=tuple(record["orientation_wxyz"].tolist()),
            position_tolerance_m=float(record["position_tolerance_m"]),
            angle_tolerance_deg=float(record["angle_tolerance_deg"]),
            valid_for_s=float(record["valid_for_s"]) - age_s,
        )
        core.set_goal(goal, number=number, now_s=driver.now_s())
        driver.show_goal(goal)

    def _emergency(self, estop: int, release: int, core: Core) -> None:
        """Take both in the order in which they were asked for."""
        if estop > self._estop:
            core.estop()
        if release > self._release and release > estop:
            core.release()
        self._estop, self._release = estop, release
