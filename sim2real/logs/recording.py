"""A recording of `runtime serve --record` as it stands in its file, every message checked.

    recording = read_recording(Path("run.mcap"))     # up to its end, its writer's or its first damage
    recording.note                                   # empty, or why there is not more of it

Reports need recordings on machines that have no robot, so reading them is part of this room; the runtime writes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Annotated,
    Any,
    NotRequired,  # pydantic reads typing's own only from Python 3.12 on
)

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from sim2real.contract import Contract
from sim2real.errors import ShoalError, problems
from sim2real.logs.mcap_file import McapMessage, McapMetadata, McapWalk

METADATA = "shoal"
"""Name of the MCAP metadata record with the contract and what made the recording."""
_LARGEST_MESSAGE = 256 * 1024
_STRICT = ConfigDict(strict=True, extra="allow")

Number = float | None
"""JSON has no NaN: a number that is not known is null."""
Count = Annotated[int, Field(ge=0, lt=2**63)]


@with_config(_STRICT)
class Tick(TypedDict):
    """What every message of `/tick` has beside the contract's readings; those of the runtime have more."""

    tick: Count
    now_s: Number
    measured_s: Number
    joint_effort: list[Number]
    command: list[Number]
    commanding: bool
    state: str
    reason: str
    missed_periods: Count
    tick_us: Number
    timestamp: dict[str, int]


@with_config(_STRICT)
class Event(TypedDict):
    """What every message of `/event` has: what happened just before the next tick."""

    kind: str
    now_s: Number
    goal_number: Count


@with_config(_STRICT)
class Goal(TypedDict):
    """A goal; earlier versions knew poses only, which `_upgraded` brings into the contract's layout."""

    request: NotRequired[list[Number]]
    """`[K]`, laid out by `contract.goal.layout(contract)`."""
    position: NotRequired[Annotated[list[Number], Field(min_length=3, max_length=3)]]
    orientation_wxyz: NotRequired[Annotated[list[Number], Field(min_length=4, max_length=4)]]
    position_tolerance_m: Number
    angle_tolerance_deg: Number
    valid_for_s: Number
    speed: NotRequired[Number]


@with_config(_STRICT)
class GoalEvent(Event, Goal):
    """Event of the kind `goal`."""

    goal_id: str


@with_config(_STRICT)
class ImposeEvent(Event):
    """Event of the kind `impose`."""

    reason: str


@with_config(_STRICT)
class Memory(TypedDict):
    """What the control loop remembers; all but the goal in force is for the version that wrote it."""

    goal: Goal | None


@with_config(_STRICT)
class MemoryEvent(Event):
    """Event of the kind `memory`: what the control loop remembers after a tick.

    A recording that begins in the middle, or lost some ticks, can be replayed from there.
    """

    tick: Count
    memory: Memory


_TICK = TypeAdapter(Tick)
_ARRAYS = TypeAdapter(dict[str, list[Number]], config=ConfigDict(strict=True))
_EVENT = TypeAdapter(Event)
_EVENTS: dict[str, TypeAdapter[Any]] = {
    "goal": TypeAdapter(GoalEvent),
    "impose": TypeAdapter(ImposeEvent),
    "memory": TypeAdapter(MemoryEvent),
}


@dataclass(frozen=True)
class Recording:
    """A whole recording in memory."""

    path: Path
    contract: Contract
    facts: dict[str, str]
    """What made it: policy file, driver, options."""
    messages: list[tuple[str, dict[str, Any]]]
    """Topic and message of `/tick` and `/event`, in order; see `Tick` and `Event`."""
    complete: bool
    """False when the writer did not close the file, or it is damaged."""
    damage: str = ""
    """What is wrong at the place where reading ended; empty where the file merely stops."""

    @property
    def ticks(self) -> list[dict[str, Any]]:
        """Messages of `/tick`."""
        return [message for topic, message in self.messages if topic == "/tick"]

    @property
    def note(self) -> str:
        """A sentence about what is missing; empty for a complete recording."""
        if self.complete:
            return ""
        why = f"is damaged ({self.damage})" if self.damage else "stops where its writer was killed"
        return f"{self.path.name} {why}: {len(self.ticks)} ticks before that were read."

    def column(self, name: str) -> np.ndarray:
        """One field of all ticks, `[T]` or `[T, size]`, float64; unknown numbers are NaN."""
        values = [message[name] for message in self.ticks]
        rows = [[number(x) for x in value] if isinstance(value, list) else number(value) for value in values]
        return np.array(rows, np.float64)


def read_recording(path: Path) -> Recording:
    """Read a recording up to its end or its first damage; `ShoalError` when the file is none."""
    if not path.is_file():
        raise ShoalError(f"recording: no file at {path}.")
    walk = McapWalk(path)
    items = iter(walk)
    facts = next((item.values for item in items if isinstance(item, McapMetadata) and item.name == METADATA), {})
    if "contract" not in facts and walk.damage:
        raise ShoalError(f"{path}: damaged before its contract: {walk.damage}.")
    if "contract" not in facts:
        raise ShoalError(f"{path}: not a recording of runtime serve (no metadata record {METADATA!r}).")
    try:
        contract = Contract.model_validate_json(facts.pop("contract"))
    except ValidationError as error:
        raise ShoalError(f"{path}: the contract inside is damaged: {problems(error)}.") from error
    messages: list[tuple[str, dict[str, Any]]] = []
    damage = _read_messages(items, contract, messages) or walk.damage
    return Recording(path, contract, facts, messages, walk.complete and not damage, damage)


def goal_of(message: dict[str, Any]) -> dict[str, Any] | None:
    """The `Goal` that a message gives, or says to be in force; None for one that does neither."""
    found: dict[str, Any] | None = {"goal": message, "memory": message.get("memory", {}).get("goal")}.get(
        message.get("kind", "")
    )
    return found


def number(value: float | None) -> float:
    """A number of a message; null is NaN."""
    return math.nan if value is None else float(value)


def _read_messages(
    items: Iterator[McapMetadata | McapMessage], contract: Contract, into: list[tuple[str, dict[str, Any]]]
) -> str:
    """Append messages up to the first one that is none of ours; what is wrong with that one, or an empty string."""
    sizes, last, goals = _sizes(contract), 0, contract.goal.layout(contract).size
    for item in items:
        if not isinstance(item, McapMessage) or item.topic not in ("/tick", "/event"):
            continue
        what = f"message {len(into) + 1}, {item.topic}"
        if len(item.data) > _LARGEST_MESSAGE:
            return f"{what}: has {len(item.data)} bytes"
        try:
            message = _parse(item)
            goal = _upgraded(message, contract)
        except ValidationError as error:
            return f"{what}: {problems(error)}"
        if goal and len(goal["request"]) != goals:
            return f"{what}: request has {len(goal['request'])} numbers, by the contract {goals}"
        if item.topic == "/tick":
            try:
                arrays = _ARRAYS.validate_python({name: message[name] for name in sizes if name in message})
            except ValidationError as error:
                return f"{what}: {problems(error)}"
            for name, size in sizes.items():
                if len(arrays.get(name, ())) != size:
                    return f"{what}: {name} has {len(arrays.get(name, ()))} numbers, by the contract {size}"
            if message["tick"] <= last:
                return f"{what}: tick {message['tick']} comes after tick {last}"
            last = message["tick"]
        into.append((item.topic, message))
    return ""


def _parse(item: McapMessage) -> dict[str, Any]:
    """Raises `ValidationError`."""
    if item.topic == "/tick":
        return dict(_TICK.validate_json(item.data))
    event = _EVENT.validate_json(item.data)
    kind = _EVENTS.get(event["kind"])
    return dict(event if kind is None else kind.validate_json(item.data))


def _upgraded(message: dict[str, Any], contract: Contract) -> dict[str, Any] | None:
    """The goal that a message holds, in place as the present version says it."""
    goal = goal_of(message)
    if goal is not None and "request" not in goal:
        said = {"goal_position": goal.get("position"), "goal_orientation": goal.get("orientation_wxyz")}
        goal["request"] = [x for name in contract.goal.layout(contract).sizes for x in said.get(name) or ()]
        for old in ("position", "orientation_wxyz"):
            goal.pop(old, None)
    return goal


def _sizes(contract: Contract) -> dict[str, int]:
    """Sizes of the arrays in a tick."""
    joints = len(contract.joint_names)
    return {"joint_effort": joints, "command": joints, **contract.measured.sizes}
