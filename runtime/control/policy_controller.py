"""One control tick, free of simulators, clocks and transports: readings in, joint targets out.

    core = PolicyController(policy)
    core.set_goal(resolved, number=1, now_s=clock())
    core.step(readings, clock(), out)            # once per control period

`now_s` is any clock that the caller likes, as long as it is the one that stamps the readings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.control.input_copies import Copy, merged
from runtime.goals.messages import ResolvedGoal
from runtime.inference.policy import Policy
from runtime.memory import Remembers
from runtime.robot.readings import Float64, Readings, is_finite
from runtime.safety import GeometryChecker, Safety, SafetyConfig
from runtime.status import FOLLOWING, GoalStatus, Reason, known
from sim2real.terms.motion import PhaseClock


class PolicyController(Remembers):
    """Policy, safety and the progress towards one goal.

    `stale_after_periods` overrides the one in `safety`; `geometry_checker` judges commands by the robot's geometry.
    """

    remembered = (
        "safety",
        "goal_number",
        "within_tolerance",
        "reached",
        "_idle_reason",
        "_expires_s",
        "_goal_finite",
        "_within_since_s",
        "_history",
    )

    def __init__(
        self,
        policy: Policy,
        *,
        safety: SafetyConfig | None = None,
        stale_after_periods: float | None = None,
        geometry_checker: GeometryChecker | None = None,
    ) -> None:
        self.policy = policy
        self.contract = policy.contract
        settings = (safety or SafetyConfig()).with_stale_after(stale_after_periods)
        self.safety = Safety(policy.contract, settings, geometry_checker=geometry_checker)
        self.goal: ResolvedGoal | None = None
        self.goal_number = 0
        self.distance_m = math.nan
        self.angle_deg = math.nan
        self.reachability = math.nan
        self.within_tolerance = False
        self.reached = False
        self.on_event: Callable[[str, float, ResolvedGoal | None, int], None] | None = None
        """Called with GOAL, CANCEL, RESTART, STOP, ESTOP, RELEASE or IMPOSE, the time, the goal and its number: what a
        recording needs besides the ticks themselves."""
        self.reachability_gate: float | None = None
        """Least reachability of goals that are offered; None takes them all."""
        self.offered_number = 0
        """Of the goal whose reachability the next good readings decide; 0 when there is none."""
        self.offered_reachability = math.nan
        """Of the goal that was offered last."""
        self._offer: tuple[ResolvedGoal, float] | None = None
        self._idle_reason = Reason.NO_GOAL
        self._expires_s = math.inf
        self._goal_finite = True
        self._within_since_s = math.inf
        self._lay_out_goal()
        speeds, efforts = (
            np.array([joint.mode == mode for joint in self.contract.robot.joints]) for mode in ("velocity", "effort")
        )
        largest = np.minimum(self.contract.action.step_max, self.safety.max_step)
        self._largest_step: Float64 = np.where(speeds, self.safety.max_step, largest)
        self._moved_from = np.where(speeds, 0.0, 1.0) if speeds.any() else None
        """Whether a command is a step from the present target or, as a velocity, from 0; None where all are steps."""
        self._efforts = efforts if efforts.any() else None
        """Whether a command is an effort, which no goal's speed makes smaller; None where none is."""
        self._step: Float64 = np.zeros_like(self._largest_step)
        self._slow: Float64 = np.zeros_like(self._largest_step)
        self._history = np.zeros_like(policy.history)
        self._remembers = self._history.size > 0
        self._name_sources()
        # The clock is a sum of periods in floating point, so "held for long enough" needs half a period of slack.
        self._hold_s = self.contract.goal.hold_s - 0.5 * self.contract.timing.control_dt_s

    def _lay_out_goal(self) -> None:
        """Where each part of a goal lies, in requests and among the readings."""
        layout = self._goal_layout = self.contract.goal.layout(self.contract)
        self._request: Float64 = np.zeros(layout.size)
        self._goal_inputs: dict[str, Float64] = layout.split(self._request)
        measured, parts = self.contract.measured.slices, self.contract.goal.parts()
        readings = self.contract.goal.readings(self.contract)
        self._parts = [
            (measured[part.reading], layout.slices[part.input], reading.error)
            for part, reading in zip(parts, readings, strict=True)
        ]
        self._ways: list[_Way] = []
        """To the goal in force, one for each of its parts."""

    def _name_sources(self) -> None:
        """The graph's inputs that the core itself knows; all others are readings."""
        self._copies: list[Copy] = []
        self._copies_of: Readings | None = None
        self._clocks = [
            (reading, np.zeros(reading.size)) for reading in self.contract.readings if isinstance(reading, PhaseClock)
        ]
        self._own_sources = {
            self.contract.action.previous: self.safety.target,
            **{clock.name: phase for clock, phase in self._clocks},
            **self._goal_inputs,
        }

    def set_goal(self, goal: ResolvedGoal, *, number: int, now_s: float) -> None:
        """Follow a validated goal from the next tick on; it expires `valid_for_s` after `now_s`."""
        self.goal, self.goal_number = goal, number
        self._take(goal)
        self._expires_s = now_s + goal.valid_for_s
        self._forget_progress()
        self._tell("GOAL", now_s)

    def _take(self, goal: ResolvedGoal) -> None:
        self._request[:] = goal.request
        self._ways = [_Way(entries, goal.request[asked], error) for entries, asked, error in self._parts]
        # The message was validated where it was received; this is about what memory did to it since.
        errors = [way.error(way.wanted, way.wanted) for way in self._ways]
        self._goal_finite = is_finite(self._request) and bool(np.isfinite(errors).all())

    def offer_goal(self, goal: ResolvedGoal, *, number: int, now_s: float) -> None:
        """Follow a goal as `set_goal` does, but only if the policy gives it at least `reachability_gate` from where the
        robot is at the next good readings; until then, and if it does not, the goal in force stays.
        """
        self._offer, self.offered_number = (goal, now_s), number

    def withdraw_offer(self) -> None:
        """Forget a goal that has not been decided about."""
        self._offer, self.offered_number = None, 0

    def cancel_goal(self, *, number: int, reason: Reason = Reason.CANCELLED) -> None:
        """Hold the present target and forget the goal."""
        self.goal, self.goal_number = None, number
        self._idle_reason = reason
        self._forget_progress()
        self._tell("CANCEL", math.nan)

    def restart(self, now_s: float) -> None:
        """Begin anew after a reset of the robot: take the target from the next readings and begin the goal anew."""
        self.safety.restart()
        if self.goal is not None:
            self._expires_s = now_s + self.goal.valid_for_s
        self._history.fill(0.0)
        self._forget_progress()
        self._tell("RESTART", now_s)

    def stop(self) -> None:
        """Hold the present target for good."""
        self.safety.stop()
        self._tell("STOP", math.nan)

    def estop(self) -> None:
        """Emergency stop: forgets the goal and follows none until `release`."""
        self.safety.estop()
        self.withdraw_offer()
        self.goal, self._idle_reason = None, Reason.NO_GOAL
        self._forget_progress()
        self._tell("ESTOP", math.nan)

    def release(self) -> None:
        """End an emergency stop; the next goal is followed again."""
        self.safety.release()
        self._tell("RELEASE", math.nan)

    def impose(self, reason: Reason | None) -> None:
        """A fault that another watchdog sees (late ticks, say), in force until None; see `Safety.impose`."""
        self.safety.impose(reason)
        self._tell("IMPOSE", math.nan)

    def step(self, readings: Readings, now_s: float, out: Float64) -> bool:
        """One tick: write joint targets `[J]` rad, policy order, into `out`.

        Returns False, leaving `out` alone, while no trustworthy reading has ever arrived. Never raises on what
        the readings hold; faults show in `status`.
        """
        for clock, phase in self._clocks:
            phase[:] = clock.at(np, now_s)
        reason = self.safety.check(readings, now_s)
        if reason is FOLLOWING:
            if not self.safety.started:
                self.safety.start(readings.joints)
            if self._offer is not None:
                self._decide(*self._offer, readings)
            reason = self._goal_reason(now_s)
            if self.goal is not None:
                self._track(readings, now_s)
        if reason is FOLLOWING and self.safety.may_follow:
            reason = self._run_policy(readings)
        elif self._remembers:
            self._history.fill(0.0)  # of consecutive control steps only
        self.safety.settle(reason)
        if not self.safety.started:
            return False
        out[:] = self.safety.target
        return True

    def memory(self) -> dict[str, Any]:
        """All that the next tick will know of the ones before, the goal in force included."""
        return super().memory() | {"goal": None if self.goal is None else self.goal._asdict()}

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on as the controller would from which `memory` came, of the same contract and settings."""
        super().recall(memory)
        goal = memory["goal"]
        self.goal = None if goal is None else ResolvedGoal(**{name: _recalled(value) for name, value in goal.items()})
        if self.goal is not None:
            self._take(self.goal)
        self.withdraw_offer()

    def status(self) -> GoalStatus:
        """A snapshot; allocates, so not for the tick itself."""
        reachability = known(self.reachability)
        threshold = self.contract.reachability.threshold
        safety = self.safety
        return GoalStatus(
            state=safety.state.label,
            reason=safety.sentence,
            goal_id=self.goal.id if self.goal is not None else "",
            goal_number=self.goal_number,
            distance_m=known(self.distance_m),
            angle_deg=known(self.angle_deg),
            reachability=reachability,
            reachable=None if reachability is None else reachability >= threshold,
            within_tolerance=self.within_tolerance,
            reached=self.reached,
            ticks=safety.ticks,
            holds=safety.holds,
            clamped=safety.clamped,
            estops=safety.estops,
        )

    def _tell(self, name: str, now_s: float) -> None:
        if self.on_event is not None:
            self.on_event(name, now_s, self.goal, self.goal_number)

    def _forget_progress(self) -> None:
        self.distance_m = self.angle_deg = self.reachability = math.nan
        self.within_tolerance = self.reached = False
        self._within_since_s = math.inf

    def _goal_reason(self, now_s: float) -> Reason:
        if self.goal is None:
            return self._idle_reason
        if not self._goal_finite:
            return Reason.GOAL_NOT_FINITE
        # Written so that an expiry that is not a number counts as passed.
        return FOLLOWING if now_s < self._expires_s else Reason.GOAL_EXPIRED

    def _decide(self, goal: ResolvedGoal, now_s: float, readings: Readings) -> None:
        """One inference more, in this tick only; what it commands is thrown away."""
        number, inputs = self.offered_number, self.policy.inputs
        self.withdraw_offer()
        self._fill_inputs(readings)
        for name, asked in self._goal_layout.slices.items():
            inputs[name][:] = goal.request[asked]
        self.policy.run()
        self.offered_reachability = float(self.policy.reachability[0])
        # Written so that an estimate that is not a number refuses.
        if self.offered_reachability >= (self.reachability_gate or 0.0):
            self.set_goal(goal, number=number, now_s=now_s)

    def _fill_inputs(self, readings: Readings) -> None:
        if readings is not self._copies_of:
            own = self._own_sources
            names = self.policy.inputs.items()
            self._copies = merged([(x, own[name] if name in own else readings[name]) for name, x in names])
            self._copies_of = readings
        for array, source in self._copies:
            array[:] = source
        if self._remembers:
            self.policy.history[:] = self._history

    def _run_policy(self, readings: Readings) -> Reason:
        self._fill_inputs(readings)
        self.policy.run()
        if self._remembers:
            self._history[:] = self.policy.next_history
        self.reachability = float(self.policy.reachability[0])
        if self._efforts is None or self.goal is None:
            return self.safety.limit(self._slowed(self.policy.command))
        command = self.policy.command
        return self.safety.limit(np.where(self._efforts, command, self._slowed(command)), self.goal.speed)

    def _slowed(self, command: NDArray[np.floating]) -> NDArray[np.floating]:
        """The command `[J]` with its step, or its velocity, shortened in the same direction to the goal's share of the
        largest.
        """
        speed = self.goal.speed if self.goal is not None else 1.0
        if speed == 1.0:
            return command
        begin = self.safety.target if self._moved_from is None else self.safety.target * self._moved_from
        step = np.subtract(command, begin, out=self._step)
        np.divide(step, self._largest_step, out=self._slow)
        if self._efforts is not None:
            self._slow[self._efforts] = 0.0
        share = float(np.abs(self._slow).max())
        # A command that is not finite passes, for the safety layer to refuse.
        if not speed < share < math.inf:
            return command
        np.multiply(step, speed / share, out=step)
        np.add(begin, step, out=self._slow)
        return self._slow

    def _track(self, readings: Readings, now_s: float) -> None:
        goal = self.goal
        assert goal is not None
        distance_m = angle_deg = 0.0
        values = readings.vector.tolist()
        for entries, wanted, error in self._ways:
            length, angle = error(values[entries], wanted)
            # Also where it is not a number.
            if not length <= distance_m:
                distance_m = length
            if not angle <= angle_deg:
                angle_deg = angle
        self.distance_m, self.angle_deg = distance_m, angle_deg
        self.within_tolerance = distance_m <= goal.position_tolerance_m and angle_deg <= goal.angle_tolerance_deg
        if not self.within_tolerance:
            self._within_since_s = math.inf
        else:
            self._within_since_s = min(self._within_since_s, now_s)
            self.reached = self.reached or now_s - self._within_since_s >= self._hold_s


class _Way(NamedTuple):
    """The way from one reading to the value that it is to reach."""

    entries: slice
    """Of `Readings.vector`."""
    wanted: tuple[float, ...]
    error: Callable[[Sequence[float], Sequence[float]], tuple[float, float]]
    """Between two values: m, and degrees."""


def _recalled(value: Any) -> Any:
    """A field of a goal after a way through JSON, which knows no tuples and no NaN."""
    if isinstance(value, list):
        return tuple(map(_recalled, value))
    return math.nan if value is None else value
