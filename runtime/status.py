"""States, reasons and the status that callers see."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

StateName = Literal["idle", "ramp-in", "active", "hold", "damp", "stopped", "estop"]


class State(IntEnum):
    """What the controller does with the robot."""

    IDLE = 0
    """No goal: the target stays where it is."""
    ACTIVE = 1
    """The policy moves the target towards the goal."""
    HOLD = 2
    """Something is wrong: the target stays where it is until that passes."""
    STOPPED = 3
    """Stopped on request: the target stays where it is until a restart."""
    ESTOP = 4
    """Emergency stop: as `DAMP`, and no goal is followed or accepted until a person releases it."""
    RAMP_IN = 5
    """As `ACTIVE`, at a speed limit that grows to the full one."""
    DAMP = 6
    """The target follows the measured joints at limited speed, so that the arm yields and comes to rest."""

    @property
    def label(self) -> StateName:
        """Lower-case name, as in messages."""
        return _LABELS[self]


_LABELS: dict[State, StateName] = {
    State.IDLE: "idle",
    State.ACTIVE: "active",
    State.HOLD: "hold",
    State.STOPPED: "stopped",
    State.ESTOP: "estop",
    State.RAMP_IN: "ramp-in",
    State.DAMP: "damp",
}


class Reason(IntEnum):
    """Why the controller is in its state."""

    FOLLOWING = 0
    NO_GOAL = 1
    CANCELLED = 2
    GOAL_EXPIRED = 3
    GOAL_NOT_FINITE = 4
    READING_NOT_FINITE = 5
    READING_OUT_OF_RANGE = 6
    READING_STALE = 7
    COMMAND_NOT_FINITE = 8
    STOPPED = 9
    ESTOP = 10
    READING_OUT_OF_ORDER = 11
    READING_FROZEN = 12
    CLOCK_JUMPED = 13
    EFFORT_TOO_HIGH = 14
    NOT_TRACKING = 15
    TOOL_OUTSIDE = 16
    SELF_COLLISION = 17
    OVERRUNS = 18
    GOAL_STALLED = 19
    LEASE_LOST = 20
    OBJECT_UNKNOWN = 21

    @property
    def sentence(self) -> str:
        """For people."""
        return _SENTENCES[self]

    @property
    def state(self) -> State:
        """The state that this reason leads to."""
        return _STATES.get(self, State.HOLD)

    @property
    def is_fault(self) -> bool:
        """Readings or policy do not work. A goal that ran out, a lost object, a forbidden way and late ticks are no
        such fault: there the arm had better stay where it is.
        """
        return self.state in (State.HOLD, State.DAMP) and self not in _NO_FAULTS


FOLLOWING = Reason.FOLLOWING
"""For the tick: to find a member in its enum takes Python 3.11 as long as ten other names."""

_STATES = {
    Reason.FOLLOWING: State.ACTIVE,
    Reason.NO_GOAL: State.IDLE,
    Reason.CANCELLED: State.IDLE,
    Reason.GOAL_STALLED: State.IDLE,
    Reason.LEASE_LOST: State.IDLE,
    Reason.STOPPED: State.STOPPED,
    Reason.ESTOP: State.ESTOP,
    Reason.EFFORT_TOO_HIGH: State.DAMP,
    Reason.NOT_TRACKING: State.DAMP,
}
_NO_FAULTS = frozenset(
    {Reason.GOAL_EXPIRED, Reason.OBJECT_UNKNOWN, Reason.TOOL_OUTSIDE, Reason.SELF_COLLISION, Reason.OVERRUNS}
)
_SENTENCES = {
    Reason.FOLLOWING: "following the goal",
    Reason.NO_GOAL: "no goal was given yet",
    Reason.CANCELLED: "the goal was cancelled",
    Reason.GOAL_EXPIRED: "the goal's timeout has passed",
    Reason.GOAL_NOT_FINITE: "the goal holds a number that is not finite, or no rotation",
    Reason.READING_NOT_FINITE: "a reading is not finite",
    Reason.OBJECT_UNKNOWN: "nothing tells where the object is; is its tracker running?",
    Reason.READING_OUT_OF_RANGE: "a joint was measured far outside its limits",
    Reason.READING_STALE: "the readings are too old",
    Reason.COMMAND_NOT_FINITE: "the policy's command is not finite",
    Reason.STOPPED: "a stop was requested",
    Reason.ESTOP: "emergency stop; release it with runtime release",
    Reason.READING_OUT_OF_ORDER: "a reading is older than the one before it",
    Reason.READING_FROZEN: "the readings stay the same while the joints are sent elsewhere",
    Reason.CLOCK_JUMPED: "the robot's clock jumped",
    Reason.EFFORT_TOO_HIGH: "a joint's effort is above its limit",
    Reason.NOT_TRACKING: "a joint does not follow its target",
    Reason.TOOL_OUTSIDE: "the policy leads the tool out of the workspace",
    Reason.SELF_COLLISION: "the policy leads two links too close to each other",
    Reason.OVERRUNS: "too many ticks in a row ended late",
    Reason.GOAL_STALLED: "the goal was given up: no progress, and a low reachability",
    Reason.LEASE_LOST: "the goal was dropped: its client's lease ran out",
}


class GoalStatus(BaseModel):
    """Where the controller and its goal stand. Numbers that are not known (yet) are None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: StateName
    reason: str
    goal_id: str = ""
    """Empty when no goal is being followed."""
    goal_number: int = 0
    """Counts the accepted goals and cancellations; a caller waits until its own number shows here."""
    distance_m: float | None = None
    """Tool to goal."""
    angle_deg: float | None = None
    """Between tool and goal orientation; 0 for policies that reach positions only."""
    reachability: float | None = None
    """The policy's own estimate that it reaches the goal within an episode, 0 to 1."""
    reachable: bool | None = None
    """`reachability` against the contract's threshold."""
    within_tolerance: bool = False
    """At this moment."""
    reached: bool = False
    """The goal has been within tolerance for the contract's `goal.hold_s` since it was set; stays true."""
    ticks: int = 0
    holds: int = 0
    """Ticks spent in `hold`."""
    clamped: int = 0
    """Ticks in which the safety layer had to correct the policy's command."""
    estops: int = 0
    """Emergency stops since the start, those of a robot that was stopped already among them."""
    missed_periods: int = 0
    """Control periods skipped because a tick was late (served loop only)."""
    age_s: float = 0.0
    """Time since the control loop wrote this status (served loop only)."""

    @property
    def line(self) -> str:
        """For people."""
        parts = [f"{self.state:<7} {self.reason}"]
        if self.goal_id:
            parts.append(f"goal {self.goal_id}{' REACHED' if self.reached else ''}")
        if self.distance_m is not None:
            parts.append(f"{self.distance_m * 1e3:.1f} mm")
        if self.angle_deg is not None:
            parts.append(f"{self.angle_deg:.1f} deg")
        if self.reachability is not None:
            parts.append(f"reachability {self.reachability:.2f}")
        parts.append(f"missed {self.missed_periods}")
        return " | ".join(parts)


def known(value: float) -> float | None:
    """A number for a message: None for what is not known, NaN or infinite."""
    return float(value) if math.isfinite(value) else None
