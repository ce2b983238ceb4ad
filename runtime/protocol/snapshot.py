"""What clients see of the robot: the readings, targets and latencies of the latest control tick."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from runtime.status import GoalStatus

Numbers = tuple[float | None, ...]
"""None stands for a number that is not finite."""


class Latency(BaseModel):
    """Latency percentiles in microseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


class Snapshot(BaseModel):
    """One control tick. Joint arrays in the order of `joint_names`; everything is empty before the first tick."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: GoalStatus
    tick: int = 0
    now_s: float | None = None
    """The driver's clock."""
    stamp: float = 0.0
    """Unix time of the tick, s."""
    frame: str
    """Of the poses below."""
    joint_names: tuple[str, ...]
    readings: dict[str, Numbers] = Field(default_factory=dict)
    """Measured, by the contract's names; those below that it has, once more."""
    joint_position: Numbers = ()
    """Measured, rad."""
    joint_velocity: Numbers = ()
    """Measured, rad/s."""
    joint_effort: Numbers = ()
    """Measured, Nm; empty from a driver that measures none."""
    joint_position_target: Numbers = ()
    """Commanded, rad; empty while nothing is commanded, and of robots with other drives."""
    joint_command: Numbers = ()
    """Of those: rad/s or rad, as the contract says of each drive; empty of all others."""
    end_effector_position: Numbers = ()
    """Measured, m."""
    end_effector_orientation_wxyz: Numbers = ()
    object_position: Numbers = ()
    """m, of the object that goals are about; empty where they are about the tool."""
    goal: dict[str, Numbers] = Field(default_factory=dict)
    """What the goal in force asks for, by the names of the graph's inputs; empty without a goal."""
    goal_position: Numbers = ()
    """m, of goals that are places; of the first one where they are several."""
    goal_orientation_wxyz: Numbers = ()
    lateness: Latency
    """Wake-up after the deadline, of all ticks since this gateway started."""
    step: Latency
    """Readings to command."""
    tick_time: Latency
    """The whole tick."""
    tick_us: float | None = None
    """The whole tick, of this one alone."""
    goals: int = 0
    """Goals that the control loop began with, since this gateway started."""
    goals_reached: int = 0
    telemetry_lost: int = 0
    """Ticks that were overwritten before the gateway read them."""
