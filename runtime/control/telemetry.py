"""The control process's side of the telemetry ring: everything that a control loop did, tick by tick."""

from __future__ import annotations

import time

from runtime.control.policy_controller import PolicyController
from runtime.goals.messages import ResolvedGoal
from runtime.ipc.telemetry_ring import Kind, Ring
from runtime.robot.readings import Float64, Readings


class Telemetry:
    """The control process's side: hangs on a core's events and takes every tick."""

    def __init__(self, ring: Ring, core: PolicyController) -> None:
        self._ring, self._core = ring, core
        core.on_event = self._on_event

    def tick(
        self,
        readings: Readings,
        now_s: float,
        command: Float64,
        commanding: bool,
        missed_periods: int,
        lateness_ns: int,
        step_ns: int,
        tick_ns: int,
    ) -> None:
        """Push what one tick saw and did."""
        core, record = self._core, self._ring.record[0]
        safety = core.safety
        record["kind"], record["wall_ns"], record["now_s"] = Kind.TICK, time.time_ns(), now_s
        record["goal_number"], record["tick"], record["measured_s"] = core.goal_number, safety.ticks, readings.time_s
        record["readings"], record["command"], record["commanding"] = readings.vector, command, commanding
        record["joint_effort"] = readings.joint_effort
        record["state"], record["reason"], record["reached"] = safety.state, safety.reason, core.reached
        record["within_tolerance"], record["distance_m"] = core.within_tolerance, core.distance_m
        record["angle_deg"], record["reachability"] = core.angle_deg, core.reachability
        record["clamped"], record["missed_periods"] = safety.clamped, missed_periods
        record["lateness_ns"], record["step_ns"], record["tick_ns"] = lateness_ns, step_ns, tick_ns
        self._ring.push()
        if self._ring.memory_wanted:
            self._ring.push_memory(safety.ticks, core.memory())

    def _on_event(self, name: str, now_s: float, goal: ResolvedGoal | None, number: int) -> None:
        record = self._ring.record[0]
        record["kind"], record["wall_ns"], record["now_s"] = Kind[name], time.time_ns(), now_s
        record["goal_number"], record["reason"] = number, self._core.safety.imposed or 0
        if goal is not None:
            record["goal_id"] = goal.id.encode()
            record["request"] = goal.request
            for field in ("position_tolerance_m", "angle_tolerance_deg", "valid_for_s", "speed"):
                record[field] = getattr(goal, field)
        self._ring.push()
