"""What became of each goal: its states, why, and the record that clients see."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

GoalStateName = Literal["accepted", "active", "reached", "refused", "timed out", "stalled", "preempted", "cancelled"]


class GoalState(IntEnum):
    """State of one goal. A goal that is not reached yet is `ACCEPTED` while it waits and `ACTIVE` while it is in force;
    all other states are final, although the robot stays at a goal that it has reached until there is another one.
    """

    ACCEPTED = 0
    ACTIVE = 1
    REACHED = 2
    REFUSED = 3
    TIMED_OUT = 4
    STALLED = 5
    PREEMPTED = 6
    CANCELLED = 7

    @property
    def label(self) -> GoalStateName:
        """The name in messages."""
        return _LABELS[self]

    @property
    def final(self) -> bool:
        """Whether it never changes again."""
        return self not in (GoalState.ACCEPTED, GoalState.ACTIVE)


_LABELS: dict[GoalState, GoalStateName] = {
    GoalState.ACCEPTED: "accepted",
    GoalState.ACTIVE: "active",
    GoalState.REACHED: "reached",
    GoalState.REFUSED: "refused",
    GoalState.TIMED_OUT: "timed out",
    GoalState.STALLED: "stalled",
    GoalState.PREEMPTED: "preempted",
    GoalState.CANCELLED: "cancelled",
}


class Why(IntEnum):
    """Why a goal is in its state, where that is not plain."""

    NONE = 0
    UNREACHABLE = 1
    OUTRANKED = 2
    REPLACED = 3
    INTERRUPTED = 4
    NO_PROGRESS = 5
    REQUEST = 6
    EMERGENCY = 7
    STOP = 8
    LEASE = 9

    @property
    def sentence(self) -> str:
        """A sentence; empty when there is nothing to say."""
        return _SENTENCES.get(self, "")


_SENTENCES = {
    Why.UNREACHABLE: "the policy's reachability is below --reachability-gate",
    Why.OUTRANKED: "a goal of higher priority is in force or waiting",
    Why.REPLACED: "a newer goal took its place",
    Why.INTERRUPTED: "it waits until the goals of higher priority are done",
    Why.NO_PROGRESS: "it came no closer for --stall-after-s and the policy's reachability is low",
    Why.REQUEST: "a client cancelled it",
    Why.EMERGENCY: "emergency stop",
    Why.STOP: "the server was stopped",
    Why.LEASE: "its client's lease ran out",
}


class GoalProgress(BaseModel):
    """One goal's record. Numbers that are not known (yet) are None."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    number: int
    """As in the reply to the request."""
    state: GoalStateName
    reason: str = ""
    final: bool
    """Whether the state never changes again."""
    in_force: bool
    """Whether the robot follows it or rests at it."""
    priority: int
    accepted_stamp: float
    """Unix time at which the control loop took it, s."""
    stamp: float
    """Unix time of the last change of state, s."""
    values: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """What was asked for, by the names of the graph's inputs."""
    position: tuple[float, float, float] | None = None
    """m, of goals that are places; of the first one where they are several."""
    orientation_wxyz: tuple[float, float, float, float] | None = None
    distance_m: float | None = None
    """To the goal, at the last change of state."""
    angle_deg: float | None = None
    reachability: float | None = None
    """The policy's estimate at the last change of state."""
    time_s: float | None = None
    """From becoming active to the last change of state, on the driver's clock."""

    @property
    def line(self) -> str:
        """The record in a line of text."""
        parts = [f"{self.id:<12} {self.state}{f' ({self.reason})' if self.reason else ''}"]
        if self.time_s is not None:
            parts.append(f"{self.time_s:.2f} s")
        if self.distance_m is not None:
            parts.append(f"{self.distance_m * 1e3:.1f} mm")
        if self.reachability is not None:
            parts.append(f"reachability {self.reachability:.2f}")
        return " | ".join(parts)
