"""The last word before the robot: limits, fault responses and the state machine.

Independent of the policy's graph, which has its own limits: whatever numbers arrive, a target never moves
faster than a joint's velocity limit and never leaves the joint limits. A start outside the limits (a joint
leaning on its stop) is brought back at no more than the velocity limit.

    idle ──goal──► active ──fault──► hold ──fault gone──► active
      ▲───cancel─────┘                      any ──stop──► stopped ──start──► idle
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.status import Reason, State
from sim2real.contract import Contract
from sim2real.errors import ShoalError

Float64 = NDArray[np.float64]

_ROUNDING_RAD = 1e-5
"""The graph's own clamps are float32; a correction below this is not worth counting."""
_OUT_OF_RANGE_RAD = 0.1
"""How far beyond its limits a joint may be measured before the encoder is not believed."""


class Readings:
    """What a driver measures for J joints; arrays are filled in place. Joint arrays in policy order."""

    def __init__(self, joints: int) -> None:
        self.vector: Float64 = np.zeros(2 * joints + 7)
        """All of the arrays below, which are views on it."""
        self.joint_position: Float64 = self.vector[:joints]
        """`[J]` rad."""
        self.joint_velocity: Float64 = self.vector[joints : 2 * joints]
        """`[J]` rad/s."""
        self.end_effector_position: Float64 = self.vector[2 * joints : 2 * joints + 3]
        """`[3]` m, world frame."""
        self.end_effector_orientation: Float64 = self.vector[2 * joints + 3 :]
        """`[4]` unit quaternion wxyz, world frame."""
        self.time_s = 0.0
        """When they were measured, on the driver's clock."""


@dataclass
class Safety:
    """Limits and state of one robot; created by `Safety.of`."""

    low: Float64
    high: Float64
    """Joint limits, `[J]` rad."""
    max_step: Float64
    """Velocity limit times control period, `[J]` rad."""
    stale_after_s: float
    target: Float64
    """The present joint position target, `[J]` rad; meaningful once `started`."""
    state: State = State.IDLE
    reason: Reason = Reason.NO_GOAL
    started: bool = False
    ticks: int = 0
    clamped: int = 0
    transitions: int = 0
    ticks_by_reason: list[int] = field(default_factory=lambda: [0] * len(Reason))
    ticks_by_state: list[int] = field(default_factory=lambda: [0] * len(State))

    @classmethod
    def of(cls, contract: Contract, *, stale_after_periods: float = 3.0) -> Safety:
        """Limits of a contract; readings older than `stale_after_periods` control periods are refused."""
        if not stale_after_periods > 0:
            raise ShoalError(f"--stale-after-periods must be positive, got {stale_after_periods:g}.")
        joints = contract.robot.joints
        period = contract.timing.control_dt_s
        return cls(
            low=np.array([joint.position_min_rad for joint in joints]),
            high=np.array([joint.position_max_rad for joint in joints]),
            max_step=np.array([joint.velocity_max_rad_s for joint in joints]) * period,
            stale_after_s=stale_after_periods * period,
            target=np.zeros(len(joints)),
        )

    def __post_init__(self) -> None:
        joints = len(self.target)
        self._limited, self._bound = np.empty(joints), np.empty(joints)
        self._middle = (self.low + self.high) / 2
        self._believable = (self.high - self.low) / 2 + _OUT_OF_RANGE_RAD

    def start(self, measured: Float64) -> None:
        """Take the measured joint positions `[J]` rad as target, and leave `stopped`."""
        np.copyto(self.target, measured)
        self.started = True
        if self.state is not State.ESTOP:
            self.state, self.reason = State.IDLE, Reason.NO_GOAL

    def check(self, readings: Readings, now_s: float) -> Reason:
        """`FOLLOWING` when the readings can be trusted, else why not."""
        if not -self.stale_after_s <= now_s - readings.time_s <= self.stale_after_s:
            return Reason.READING_STALE
        if not is_finite(readings.vector):
            return Reason.READING_NOT_FINITE
        distance = np.subtract(readings.joint_position, self._middle, out=self._bound)
        if (np.abs(distance, out=distance) > self._believable).any():
            return Reason.READING_OUT_OF_RANGE
        return Reason.FOLLOWING

    def limit(self, command: NDArray[np.floating]) -> Reason:
        """Move `target` towards a command `[J]` rad as far as the limits allow.

        A command that is not finite leaves the target alone and returns why.
        """
        limited, bound = self._limited, self._bound
        np.copyto(limited, command)
        if not is_finite(limited):
            return Reason.COMMAND_NOT_FINITE
        np.maximum(limited, self.low, out=limited)
        np.minimum(limited, self.high, out=limited)
        # Speed is clamped last: a target that starts outside its limits must not jump back.
        np.maximum(limited, np.subtract(self.target, self.max_step, out=bound), out=limited)
        np.minimum(limited, np.add(self.target, self.max_step, out=bound), out=limited)
        np.subtract(limited, command, out=bound)
        if np.abs(bound, out=bound).max() > _ROUNDING_RAD:
            self.clamped += 1
        np.copyto(self.target, self._limited)
        return Reason.FOLLOWING

    def settle(self, reason: Reason) -> None:
        """End a tick: enter the state that `reason` leads to, and count."""
        if self.latched:
            reason = self.reason
        if reason is not self.reason:
            self.transitions += 1
        self.reason, self.state = reason, reason.state
        self.ticks += 1
        self.ticks_by_reason[reason] += 1
        self.ticks_by_state[self.state] += 1

    @property
    def holds(self) -> int:
        """Ticks spent in `hold`."""
        return self.ticks_by_state[State.HOLD]

    @property
    def latched(self) -> bool:
        """Stopped or in emergency stop: whatever arrives, no goal is followed."""
        return self.state in (State.STOPPED, State.ESTOP)

    def stop(self) -> None:
        """Hold the present target until `start`; an emergency stop stays one."""
        if self.state is not State.ESTOP:
            self.state, self.reason = State.STOPPED, Reason.STOPPED

    def estop(self) -> None:
        """Emergency stop, until `release`."""
        self.state, self.reason = State.ESTOP, Reason.ESTOP

    def release(self) -> None:
        """End an emergency stop; without one, nothing happens."""
        if self.state is State.ESTOP:
            self.state, self.reason = State.IDLE, Reason.NO_GOAL

    def counters(self) -> dict[str, int]:
        """Ticks by reason, and the rest, for summaries."""
        named = {reason.name.lower(): count for reason, count in zip(Reason, self.ticks_by_reason, strict=True)}
        return named | {"ticks": self.ticks, "clamped": self.clamped, "transitions": self.transitions}


def is_finite(values: Float64) -> bool:
    """Whether every entry is finite."""
    return bool(np.isfinite(values).all())
