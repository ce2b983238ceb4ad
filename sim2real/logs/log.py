"""Recordings of `runtime serve --record`: the file as it is, and the arrays that reports work on.

    recording = read_recording(Path("run.mcap"))     # every message, also of a writer that was killed
    log = Log.of(recording)                          # columns, `[T]` and `[T, J]`, policy order

Reports need recordings on machines that have no robot, so reading them is part of this room; the runtime writes them.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from sim2real.contract import Contract
from sim2real.errors import ShoalError

METADATA = "shoal"
"""Name of the MCAP metadata record with the contract and what made the recording."""


@dataclass(frozen=True)
class Recording:
    """A whole recording in memory."""

    path: Path
    contract: Contract
    facts: dict[str, str]
    """What made it: policy file, driver, options."""
    messages: list[tuple[str, dict[str, Any]]]
    """Topic and message of `/tick` and `/event`, in order."""
    complete: bool
    """False when the writer did not close the file."""

    @property
    def ticks(self) -> list[dict[str, Any]]:
        """Messages of `/tick`."""
        return [message for topic, message in self.messages if topic == "/tick"]

    def column(self, name: str) -> np.ndarray:
        """One field of all ticks, `[T]` or `[T, size]`, float64; unknown numbers are NaN."""
        values = [message[name] for message in self.ticks]
        rows = [[number(x) for x in value] if isinstance(value, list) else number(value) for value in values]
        return np.array(rows, np.float64)


@dataclass(frozen=True)
class LoggedGoal:
    """A goal as it was given."""

    time_s: float
    """On the log's clock."""
    position: tuple[float, float, float]
    """m, in the contract's goal frame."""
    orientation_wxyz: tuple[float, float, float, float]
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
    end_effector_position: np.ndarray
    """`[T, 3]` m."""
    end_effector_orientation: np.ndarray
    """`[T, 4]` wxyz."""
    command: np.ndarray
    """`[T, J]` rad, approached linearly over the control period that begins with the tick."""
    goals: tuple[LoggedGoal, ...] = ()
    tick_us: np.ndarray | None = None
    """`[T]`, what each tick took from reading to command, where known."""
    missed_periods: int = 0

    @classmethod
    def of(cls, recording: Recording) -> Log:
        """The ticks in which the robot was commanded and all numbers are known; `ShoalError` when there are none."""
        joints = len(recording.contract.joint_names)
        ticks = [tick for tick in recording.ticks if tick["commanding"]]
        commanded = Recording(recording.path, recording.contract, recording.facts, [("/tick", t) for t in ticks], True)
        if not ticks:
            raise ShoalError(f"{recording.path}: no tick of this recording commanded the robot; send it goals.")
        arrays = {
            name: commanded.column(name)
            for name in (
                "now_s",
                "measured_s",
                "joint_position",
                "joint_velocity",
                "end_effector_position",
                "end_effector_orientation",
                "command",
                "tick_us",
            )
        }
        finite = np.all([np.isfinite(value.reshape(len(ticks), -1)).all(axis=1) for value in arrays.values()], axis=0)
        kept = {name: value[finite] for name, value in arrays.items()}
        if kept["command"].shape[1:] != (joints,):
            raise ShoalError(f"{recording.path}: commands do not have the {joints} joints of its contract.")
        return cls(
            contract=recording.contract,
            source=recording.path.name,
            time_s=kept.pop("now_s"),
            goals=_goals(recording),
            missed_periods=int(ticks[-1]["missed_periods"]),
            **kept,
        )

    def __len__(self) -> int:
        """Number of ticks."""
        return len(self.time_s)

    def part(self, begin: int, end: int) -> Log:
        """Ticks `begin` to `end`, without the goals."""
        columns = (
            "time_s",
            "measured_s",
            "joint_position",
            "joint_velocity",
            "end_effector_position",
            "end_effector_orientation",
            "command",
        )
        return Log(self.contract, self.source, **{name: getattr(self, name)[begin:end] for name in columns})

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


def read_recording(path: Path) -> Recording:
    """Read a recording; `ShoalError` when the file is none."""
    if not path.is_file():
        raise ShoalError(f"recording: no file at {path}.")
    facts: dict[str, str] | None = None
    messages: list[tuple[str, dict[str, Any]]] = []
    complete = False
    for kind, content in _records(path):
        if kind == "metadata":
            facts = content
        elif kind == "end":
            complete = bool(content)
        else:
            messages.append((kind, content))
    if facts is None or "contract" not in facts:
        raise ShoalError(f"{path}: not a recording of runtime serve (no metadata record {METADATA!r}).")
    try:
        contract = Contract.model_validate_json(facts.pop("contract"))
    except ValidationError as error:
        raise ShoalError(f"{path}: the contract inside is damaged; {len(messages)} messages were read.") from error
    return Recording(path, contract, facts, messages, complete)


def number(value: float | None) -> float:
    """A number of a message; null is NaN."""
    return math.nan if value is None else float(value)


def _goals(recording: Recording) -> tuple[LoggedGoal, ...]:
    return tuple(
        LoggedGoal(
            time_s=number(message["now_s"]),
            position=tuple(message["position"]),
            orientation_wxyz=tuple(message["orientation_wxyz"]),
            position_tolerance_m=message["position_tolerance_m"],
            angle_tolerance_deg=message["angle_tolerance_deg"],
        )
        for topic, message in recording.messages
        if topic == "/event" and message["kind"] == "goal"
    )


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        from mcap import exceptions, records
        from mcap.stream_reader import StreamReader
    except ImportError as error:
        raise ShoalError(f"recordings need the package mcap: pip install 'shoal[log]' ({error}).") from error
    topics: dict[int, str] = {}
    with path.open("rb") as file:
        try:
            for record in StreamReader(file, record_size_limit=None).records:
                if isinstance(record, records.Channel):
                    topics[record.id] = record.topic
                elif isinstance(record, records.Metadata) and record.name == METADATA:
                    yield "metadata", dict(record.metadata)
                elif isinstance(record, records.Message) and topics.get(record.channel_id) in ("/tick", "/event"):
                    yield topics[record.channel_id], json.loads(record.data)
            yield "end", True
        except exceptions.InvalidMagic as error:
            raise ShoalError(f"{path}: not an MCAP file.") from error
        except (exceptions.McapError, struct.error, ValueError, OSError):
            # The writer was killed in the middle of a record; what came before it is whole.
            yield "end", False
