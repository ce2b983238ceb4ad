"""States, reasons and the status that callers see."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

StateName = Literal["idle", "ramp-in", "active", "hold", "damp", "stopped", "estop"]


class State(IntEnum):
    """What the controller does with the robot: the number that messages and recordings hold, and the label."""

    label: StateName
    """Lower-case name, as in messages."""

    def __new__(cls, number: int, label: StateName = "idle") -> State:
        """One member; `State(number)` looks it up."""
        state = int.__new__(cls, number)
        state._value_, state.label = number, label
        return state

    IDLE = 0, "idle"
    """No goal: the target stays where it is."""
    ACTIVE = 1, "active"
    """The policy moves the target towards the goal."""
    HOLD = 2, "hold"
    """Something is wrong: the target stays where it is until that passes."""
    STOPPED = 3, "stopped"
    """Stopped on request: the target stays where it is until a restart."""
    ESTOP = 4, "estop"
    """Emergency stop: as `DAMP`, and no goal is followed or accepted until a person releases it."""
    RAMP_IN = 5, "ramp-in"
    """As `ACTIVE`, at a speed limit that grows to the full one."""
    DAMP = 6, "damp"
    """The target follows the measured joints at limited speed, so that the arm yields and comes to rest."""


class Reason(IntEnum):
    """Why the controller is in its state. A member says all there is to say about it: the number that messages and
    recordings hold, the sentence for people, the state that it leads to, and whether it is a fault.
    """

    sentence: str
    state: State
    is_fault: bool
    """Readings or policy do not work, so that the arm yields when it lasts. A goal that ran out, a lost object,
    lost odometry, a forbidden way and late ticks are no such fault: there the arm had better stay where it is."""

    def __new__(
        cls, number: int, sentence: str = "", state: State = State.HOLD, is_fault: bool | None = None
    ) -> Reason:
        """One member; what holds or damps is a fault unless it says otherwise. `Reason(number)` looks one up."""
        reason = int.__new__(cls, number)
        reason._value_, reason.sentence, reason.state = number, sentence, state
        reason.is_fault = state in (State.HOLD, State.DAMP) if is_fault is None else is_fault
        return reason

    def told(self, detail: str) -> str:
        """The sentence with what is wrong at the moment, where that is known."""
        return f"{self.sentence}: {detail}" if detail else self.sentence

    FOLLOWING = 0, "following the goal", State.ACTIVE
    NO_GOAL = 1, "no goal is in force", State.IDLE
    CANCELLED = 2, "the goal was cancelled", State.IDLE
    GOAL_EXPIRED = 3, "the goal's timeout has passed", State.HOLD, False
    GOAL_NOT_FINITE = 4, "the goal holds a number that is not finite, or no rotation"
    READING_NOT_FINITE = 5, "a reading is not finite"
    READING_OUT_OF_RANGE = 6, "a reading is far outside of what is possible"
    READING_STALE = 7, "the readings are not of this moment"
    COMMAND_NOT_FINITE = 8, "the policy's command is not finite"
    STOPPED = 9, "a stop was requested", State.STOPPED
    ESTOP = 10, "emergency stop; release it with runtime release", State.ESTOP
    READING_OUT_OF_ORDER = 11, "a reading is older than the one before it"
    READING_FROZEN = 12, "the readings stay the same while the joints are sent elsewhere"
    CLOCK_JUMPED = 13, "the robot's clock jumped"
    EFFORT_TOO_HIGH = 14, "a joint's effort is above its limit", State.DAMP
    NOT_TRACKING = 15, "a joint does not follow its target", State.DAMP
    TOOL_OUTSIDE = 16, "the policy leads the tool out of the workspace", State.HOLD, False
    SELF_COLLISION = 17, "the policy leads two links too close to each other", State.HOLD, False
    OVERRUNS = 18, "too many ticks in a row ended late", State.HOLD, False
    GOAL_STALLED = 19, "the goal was given up: no progress, and a low reachability", State.IDLE
    LEASE_LOST = 20, "the goal was dropped: its client's lease ran out", State.IDLE
    OBJECT_UNKNOWN = 21, "nothing tells where the object is; is its tracker running?", State.HOLD, False
    READING_NO_ROTATION = 22, "a reading is no rotation"
    READING_CONTRADICTS = 23, "the tool is measured where the joints say it is not"
    VELOCITY_CONTRADICTS = 24, "a joint's velocity contradicts its positions"
    OBJECT_IMPOSSIBLE = 25, "the object is reported where it cannot be", State.HOLD, False
    OBJECT_JUMPED = 26, "the object is reported where it cannot have got to", State.HOLD, False
    FALLING = 27, "the robot is falling, or lies on its side", State.DAMP
    TOO_LOW = 28, "the robot's base is lower than its legs hold it", State.DAMP
    CLOCK_STANDS_STILL = 29, "the readings are too old: the driver's clock, now_s, stands still", State.HOLD, False
    ODOMETRY_LOST = 30, "nothing tells where the base is; is its odometry running?", State.HOLD, False


FOLLOWING = Reason.FOLLOWING
"""For the tick: to find a member in its enum takes Python 3.11 as long as ten other names."""


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
    """How far what the goal is about (a tool, an object, a base) is from it."""
    angle_deg: float | None = None
    """Between its orientation and the goal's; 0 for goals without one."""
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
    missed_periods: int | None = None
    """Control periods skipped because a tick was late; None where no loop of ours counts them (`Controller`)."""
    age_s: float = 0.0
    """Time since the control loop wrote this status (served loop only)."""

    @property
    def line(self) -> str:
        """The status in a line of text."""
        parts = [f"{self.state:<7} {self.reason}"]
        if self.goal_id:
            parts.append(f"goal {self.goal_id}{' REACHED' if self.reached else ''}")
        if self.distance_m is not None:
            parts.append(f"{self.distance_m * 1e3:.1f} mm")
        if self.angle_deg is not None:
            parts.append(f"{self.angle_deg:.1f} deg")
        if self.reachability is not None:
            parts.append(f"reachability {self.reachability:.2f}")
        if self.missed_periods is not None:
            parts.append(f"missed {self.missed_periods}")
        return " | ".join(parts)


def known(value: float) -> float | None:
    """A number for a message: None for what is not known, NaN or infinite."""
    return float(value) if math.isfinite(value) else None
