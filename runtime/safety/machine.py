"""The last word before the robot: the state machine over the limits and the watch on the readings.

Independent of the policy's graph, which has its own limits: whatever numbers arrive, the target never leaves the joint
limits, never moves faster than a joint's velocity limit and never changes its speed faster than the acceleration limit.

    idle ──goal──► ramp-in ──full speed──► active          any ──stop──► stopped ──start──► idle
      ▲──cancel, timeout──┴───────────────────┘            any ──estop──► estop ──release──► idle
                          ▲                   │ fault
                          ├──fault gone──── hold ──lasts──► damp ──lasts (if set)──► estop
                          └──rested──────────────────────────┘ ◄── effort, blocked

What the target does: `ramp-in` and `active` follow the policy; `idle`, `hold` and `stopped` brake at the acceleration
limit and stay, or, where `stand_speed_share` is set, go to the robot's home posture; `damp` and `estop` approach the
measured joints with a time constant at a share of the speed limit, so that a position servo's force fades and the arm
yields, and stay while no readings can be trusted. A drive that is told velocities comes to velocity 0 in all of these,
and there resists whatever moves it; one that is told efforts gets none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.memory import Remembers
from runtime.robot.layout import Kind, Layout
from runtime.robot.readings import Float64, Readings
from runtime.safety.config import SafetyConfig
from runtime.safety.drive_limits import DriveLimits, joint_bounds, limits_of
from runtime.safety.geometry_checker import GeometryChecker
from runtime.safety.limits import CORRECTED, NOT_FINITE
from runtime.safety.rules.base import Layer
from runtime.safety.rules.responses import Stance
from runtime.safety.watch import ReadingWatch
from runtime.status import FOLLOWING, Reason, State
from sim2real.contract import Contract
from sim2real.errors import ShoalError


class Safety(Remembers):
    """Limits and state of one robot. `target` `[J]` is what the drives are told, once `started`: positions in rad, or
    velocities in rad/s or efforts in N m where the contract says so.
    """

    remembered = ("state", "reason", "started", "ticks", "_limits", "_watch", "_following", "_faulty", "_damping")

    def __init__(
        self, contract: Contract, config: SafetyConfig | None = None, *, geometry_checker: GeometryChecker | None = None
    ) -> None:
        self._contract, self.config = contract, config or SafetyConfig()
        self.geometry_checker = geometry_checker
        self.state, self.reason = State.IDLE, Reason.NO_GOAL
        self._settled = self.reason
        self.started = False
        self.ticks = self.transitions = 0
        self.clamped = 0
        """Ticks in which a command had to be corrected; slowing down in a ramp-in is none."""
        self.estops = 0
        """Emergency stops so far, those of a robot that is stopped already among them."""
        self.ticks_by_reason = [0] * len(Reason)
        self.ticks_by_state = [0] * len(State)
        period = contract.timing.control_dt_s
        bounds = joint_bounds(contract, self.config)
        self.low, self.high = bounds.low, bounds.high
        """Limits of commands, `[J]` rad; rad/s of drives that are told velocities, N m of those that are told efforts.
        """
        self.max_step = bounds.step
        """Velocity limit times control period, `[J]` rad; the velocity limit itself of drives that are told no
        positions.
        """
        self.max_step_change = bounds.change
        """Acceleration limit times the control period squared, `[J]` rad; or times the period, rad/s; or the policy's
        largest step of an effort, N m.
        """
        self._limits = limits_of(bounds)
        self._drives = self._limits if isinstance(self._limits, DriveLimits) and "effort" in bounds.modes else None
        """Where any of them is told efforts."""
        self._velocity = _velocity_of(contract) if self._drives is not None else ""
        self._watch = ReadingWatch(contract, self.config)
        self.target = self._limits.target
        self._trusted = False
        self.imposed: Reason | None = None
        """See `impose`."""
        self._stance = _stance_of(contract, self.config)
        self._decay = 1 - math.exp(-period / self.config.damp_time_s)
        self._ramp_ticks = round(self.config.ramp_in_s / period)
        self._following = self._faulty = self._damping = 0
        self._damp_ticks = round(self.config.damp_for_s / period)
        self._hold_ticks = _ticks(self.config.hold_to_damp_s, period)
        self._estop_ticks = _ticks(self.config.damp_to_estop_s, period)

    @property
    def layer(self) -> Layer:
        """What the rules say about themselves follows from this."""
        return Layer(self._contract, self.config, self.geometry_checker)

    @property
    def detail(self) -> str:
        """Where a reading is at fault: its name, its value and what it should be; else empty."""
        return self._watch.detail if self.reason is self._watch.reason else ""

    @property
    def sentence(self) -> str:
        """Why the state is what it is, in full."""
        return self.reason.told(self.detail)

    @property
    def stale_after_s(self) -> float:
        """Age beyond which readings are refused."""
        return self._watch.stale_after_s

    @property
    def latched(self) -> bool:
        """Stopped or in emergency stop: whatever arrives, no goal is followed."""
        return self.state in _LATCHED

    @property
    def may_follow(self) -> bool:
        """Whether the policy may move the target in this tick."""
        return self.state is _ACTIVE or (self.state not in _LATCHED and not self._still_damps)

    @property
    def _still_damps(self) -> bool:
        """Whether it has not yielded as long as it must."""
        return self.state is _DAMP and self._damping < self._damp_ticks

    def start(self, measured: Float64) -> None:
        """Take the measured joint positions `[J]` rad as target, and leave `stopped`, but not an emergency stop."""
        self._limits.start(measured)
        self._following = 0
        self.started = True
        if self.state is not State.ESTOP:
            self.state, self.reason = State.IDLE, Reason.NO_GOAL

    def resume(self, target: Float64, state: State, reason: Reason) -> None:
        """Go on from another one's `target` `[J]` and state, as far as those say where it stood."""
        self._limits.take(target)
        self.started = True
        self.state, self.reason = state, reason
        self._following = self._ramp_ticks if state is State.ACTIVE else 0

    def restart(self) -> None:
        """The robot or its clock began anew: the next trusted readings are where the target starts."""
        self.started = False
        self._watch.restart()

    def check(self, readings: Readings, now_s: float) -> Reason:
        """`FOLLOWING` when the readings can be trusted and show nothing wrong, else why not."""
        watch = self._watch
        reason = watch.check(
            readings,
            now_s,
            self.target,
            started=self.started,
            yielding=self.state in _YIELDING,
            checker=self.geometry_checker,
        )
        self._trusted = watch.joints_believed
        if self._trusted:
            self._limits.measured = readings.joints
            if self._drives is not None:
                self._drives.velocity = readings[self._velocity]
        if reason is FOLLOWING and self.imposed is not None:
            return self.imposed
        return reason

    def limit(self, command: NDArray[np.floating], speed: float = 1.0) -> Reason:
        """Move `target` towards a command `[J]` rad as far as the rules allow; drives that are told efforts push up to
        a share `speed` of the velocity limit.

        A command that is not finite, or leads where the geometry checker allows nothing, leaves the target to `settle`
        and returns why.
        """
        share, limits = self._ramp_share(), self._limits
        if self._drives is not None:
            share *= speed
        found = limits.propose(command, share)
        if found == NOT_FINITE:
            return Reason.COMMAND_NOT_FINITE
        if self.geometry_checker is not None:
            reason = self.geometry_checker.blocks(limits.path(), limits.present)
            if reason is not FOLLOWING:
                return reason
        limits.accept()
        if found == CORRECTED and share == 1.0:
            self.clamped += 1
        return FOLLOWING

    def settle(self, reason: Reason) -> None:
        """End a tick: enter the state that `reason` leads to, move the target if `limit` did not, and count."""
        self._enter(reason)
        if self.state not in _MOVING and self.started:
            if self.state in _YIELDING and self._trusted:
                self._limits.yield_to(self._limits.measured, self._decay, self.config.damp_speed_share)
            elif self.state not in _STANDING or not self._stand():
                self._limits.brake()
        self.transitions += self.reason is not self._settled
        self._settled = self.reason
        self.ticks += 1
        self.ticks_by_reason[self.reason] += 1
        self.ticks_by_state[self.state] += 1

    def _stand(self) -> bool:
        """Move the target towards the home posture, where the settings say so; whether that may be."""
        if self._stance is None:
            return False
        home, share = self._stance
        limits, checker = self._limits, self.geometry_checker
        limits.propose(home, share)
        if checker is not None and checker.blocks(limits.path(), limits.present) is not FOLLOWING:
            return False
        limits.accept()
        return True

    def stop(self) -> None:
        """Hold the present target until `start`; an emergency stop stays one."""
        if self.state is not State.ESTOP:
            self.state, self.reason = State.STOPPED, Reason.STOPPED

    def estop(self) -> None:
        """Emergency stop, until `release`."""
        self.estops += 1
        self.state, self.reason = State.ESTOP, Reason.ESTOP

    def release(self) -> None:
        """End an emergency stop: idle, at the present target. Without one, nothing happens."""
        if self.state is State.ESTOP:
            self.state, self.reason = State.IDLE, Reason.NO_GOAL
            self._following = self._faulty = self._damping = 0

    def impose(self, reason: Reason | None) -> None:
        """A fault seen by another watchdog (the loop's, say), in force until None; it must not lead to `active`."""
        self.imposed = None if reason is FOLLOWING else reason

    def memory(self) -> dict[str, Any]:
        """See `Remembers`; with the fault that another watchdog imposes."""
        return super().memory() | {"imposed": None if self.imposed is None else self.imposed.name}

    def recall(self, memory: dict[str, Any]) -> None:
        """See `Remembers`."""
        super().recall(memory)
        self.imposed = None if memory["imposed"] is None else Reason[memory["imposed"]]

    @property
    def measures_effort(self) -> bool:
        """Whether the driver has given joint efforts, without which their rule is off."""
        return self._watch.measures_effort

    @property
    def facts(self) -> dict[str, str]:
        """What a recording must say of this layer, so that its commands can be recomputed."""
        return {"safety": self.config.model_dump_json(), "geometry": "off" if self.geometry_checker is None else "on"}

    @property
    def holds(self) -> int:
        """Ticks spent in `hold`."""
        return self.ticks_by_state[State.HOLD]

    def counters(self) -> dict[str, int]:
        """Ticks by reason, and the rest, for summaries."""
        named = {reason.name.lower(): count for reason, count in zip(Reason, self.ticks_by_reason, strict=True)}
        return named | {"ticks": self.ticks, "clamped": self.clamped, "transitions": self.transitions}

    def _ramp_share(self) -> float:
        if self._following >= self._ramp_ticks:
            return 1.0
        first = self.config.ramp_in_share
        return first + (1 - first) * self._following / self._ramp_ticks

    def _enter(self, reason: Reason) -> None:
        """The state machine's step."""
        if reason is FOLLOWING and self.may_follow:
            self.state = _MOVING[self._following < self._ramp_ticks]
            self.reason = reason
            self._following += 1
            self._faulty = self._damping = 0
            return
        if self.latched:
            return
        wanted = reason.state
        self._following = 0
        self._faulty = self._faulty + 1 if reason.is_fault else 0
        if self._still_damps and wanted is not State.DAMP:
            wanted, reason = State.DAMP, self.reason
        elif wanted is State.HOLD and reason.is_fault and self._faulty > self._hold_ticks:
            wanted = State.DAMP
        self._damping = self._damping + 1 if wanted is State.DAMP else 0
        if self._damping > self._estop_ticks:
            self.estop()
            return
        self.state, self.reason = wanted, reason


# Tuples, because a set of enum members hashes their names, in Python, whenever it is asked.
_MOVING = (State.ACTIVE, State.RAMP_IN)
_YIELDING = (State.DAMP, State.ESTOP)
_STANDING = (State.IDLE, State.HOLD, State.STOPPED)
_LATCHED = (State.STOPPED, State.ESTOP)
_ACTIVE, _DAMP = State.ACTIVE, State.DAMP


def _velocity_of(contract: Contract) -> str:
    """Name of the reading of the joints' velocities; `ShoalError` where there is none."""
    found = Layout.of(contract).of_kind(Kind.JOINT_VELOCITY)
    if not found:
        raise ShoalError(
            "policy: it commands efforts and has no reading joint_velocity, by which alone the safety layer can tell "
            "when a motor must stop pushing; give the task one and train it anew, or run the file with ONNX Runtime "
            "itself."
        )
    return found[0].name


def _stance_of(contract: Contract, config: SafetyConfig) -> tuple[Float64, float] | None:
    """The home posture `[J]` rad, and at which share of the velocity limits the robot goes there; None for a robot that
    stays where it is.
    """
    if config.stand_speed_share is None:
        return None
    if not Stance.applies(contract):
        raise ShoalError(
            f"safety: stand_speed_share is for robots that can fall and whose drives are told positions, and "
            f"{contract.robot.name} is none; leave it out."
        )
    return np.array([joint.home_position for joint in contract.robot.joints]), config.stand_speed_share


def _ticks(duration_s: float | None, period_s: float) -> float:
    return math.inf if duration_s is None else round(duration_s / period_s)
