"""A recording as the arrays that reports work on.

log = read_log(Path("run.mcap"))                 # columns, `[T]` and `[T, J]`, policy order
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.logs.recording import Recording, goal_of, number, read_recording

_LARGEST = 1e12
"""Of any number, in SI units; time stamps of Unix time are below it."""
_COLUMNS = ("measured_s", "joint_position", "joint_velocity", "command")


@dataclass(frozen=True)
class LoggedGoal:
    """A goal as it was given."""

    time_s: float
    """On the log's clock."""
    request: tuple[float, ...]
    """`[K]`, as of `sim2real.terms.goal`."""
    position_tolerance_m: float
    angle_tolerance_deg: float


@dataclass(frozen=True)
class Log:
    """What a robot was told and what it did, `T` control ticks of `J` joints, policy order."""

    contract: Contract
    source: str
    """Where it comes from, for titles and errors."""
    time_s: np.ndarray
    """`[T]`, when each command was given, on the robot's clock."""
    measured_s: np.ndarray
    """`[T]`, when each reading was taken, on the same clock."""
    joint_position: np.ndarray
    """`[T, J]` rad."""
    joint_velocity: np.ndarray
    """`[T, J]` rad/s."""
    command: np.ndarray
    """`[T, J]` rad, approached linearly over the control period that begins with the tick."""
    others: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What else was measured, `[T, size]` by the contract's names; NaN where a tracker told nothing."""
    goals: tuple[LoggedGoal, ...] = ()
    tick_us: np.ndarray | None = None
    """`[T]`, what each tick took from reading to command, where known."""
    missed_periods: int = 0
    note: str = ""
    """A sentence about what the recording lacks; empty where it is complete."""

    @classmethod
    def of(cls, recording: Recording) -> Log:
        """The ticks in which the robot was commanded and all numbers are known; `ShoalError` when there are none."""
        ticks = [tick for tick in recording.ticks if tick["commanding"]]
        commanded = replace(recording, messages=[("/tick", tick) for tick in ticks])
        if not ticks:
            raise ShoalError(f"{recording.path}: no tick of this recording commanded the robot; send it goals.")
        contract = recording.contract
        others = {name: commanded.column(name) for name in contract.measured.sizes if name not in _COLUMNS}
        arrays = {name: commanded.column(name) for name in ("now_s", *_COLUMNS, "tick_us")}
        own = {name: value for name, value in others.items() if contract.reading(name).source != "tracker"}
        # Also what no robot measures, of which physics and kinematics would make something that is not finite.
        needed = (*arrays.values(), *own.values())
        known = np.all([(np.abs(value.reshape(len(ticks), -1)) < _LARGEST).all(axis=1) for value in needed], axis=0)
        kept = {name: value[known] for name, value in arrays.items()}
        if not len(kept["command"]):
            raise ShoalError(f"{recording.path}: in no tick of this recording all numbers are known.")
        return cls(
            contract=contract,
            source=recording.path.name,
            others={name: value[known] for name, value in others.items()},
            note=recording.note,
            time_s=kept.pop("now_s"),
            goals=_goals(recording),
            missed_periods=int(ticks[-1]["missed_periods"]),
            **kept,
        )

    def measured(self, name: str) -> np.ndarray:
        """A reading by the contract's name, `[T, size]`."""
        found: np.ndarray = getattr(self, name) if name in _COLUMNS else self.others[name]
        return found

    def __len__(self) -> int:
        """Number of ticks."""
        return len(self.time_s)

    def part(self, begin: int, end: int) -> Log:
        """Ticks `begin` to `end`, without the goals."""
        columns = {name: getattr(self, name)[begin:end] for name in ("time_s", *_COLUMNS)}
        others = {name: value[begin:end] for name, value in self.others.items()}
        return Log(self.contract, self.source, **columns, others=others)

    def segments(self, *, longest_gap_periods: float = 10.0, shortest_s: float = 1.0) -> list[Log]:
        """Stretches without a gap (lost ticks, a restart); shorter ones than `shortest_s` are left out.

        Within a stretch a robot holds its last target over missed periods, as the simulated ones do.
        """
        period = self.contract.timing.control_dt_s
        step = np.diff(self.time_s)
        cuts = np.flatnonzero((step > longest_gap_periods * period) | (step <= 0)) + 1
        edges = [0, *cuts.tolist(), len(self)]
        stretches = [self.part(begin, end) for begin, end in itertools.pairwise(edges)]
        return [part for part in stretches if len(part) > 2 and part.time_s[-1] - part.time_s[0] >= shortest_s]


def read_log(path: Path) -> Log:
    """`Log.of(read_recording(path))`."""
    return Log.of(read_recording(path))


def _goals(recording: Recording) -> tuple[LoggedGoal, ...]:
    """The goals in order; with the one that was in force already when a recording began in the middle."""
    goals, seen = [], set()
    for topic, message in recording.messages:
        if topic != "/event" or message["goal_number"] in seen:
            continue
        given = goal_of(message)
        if given is not None:
            seen.add(message["goal_number"])
            goals.append(_goal(given, message["now_s"]))
    # One that memory had damaged was never followed.
    return tuple(goal for goal in goals if np.isfinite([goal.time_s, *goal.request]).all())


def _goal(given: Mapping[str, Any], now_s: float | None) -> LoggedGoal:
    return LoggedGoal(
        time_s=number(now_s),
        request=tuple(map(number, given["request"])),
        position_tolerance_m=number(given["position_tolerance_m"]),
        angle_tolerance_deg=number(given["angle_tolerance_deg"]),
    )
