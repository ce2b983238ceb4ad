"""Goals in the slot of requests: how they are written and read."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from runtime.goals.messages import AnyGoal, ResolvedGoal

_FIELDS = (
    "request",
    "position_tolerance_m",
    "angle_tolerance_deg",
    "valid_for_s",
    "speed",
)


class RequestedGoal(NamedTuple):
    """A goal and how it stands to the others."""

    number: int
    goal: ResolvedGoal
    priority: int = 0
    queue: bool = False
    """Waits behind the goals of the same priority instead of taking their place."""
    stamped: bool = False
    """Its time runs from its making, even while it waits."""
    leased: bool = False
    """Given by the holder of the lease."""
    age_s: float = 0.0
    """Since it was written."""


def write_goal(requests: np.void, number: int, goal: ResolvedGoal, message: AnyGoal, *, leased: bool) -> bool:
    """Put a goal into an empty place; False when there is none."""
    empty = np.flatnonzero(requests["goals"]["number"] == 0)
    if not len(empty):
        return False
    entry = requests["goals"][empty[0]]
    entry["number"], entry["cancelled"], entry["written_ns"] = number, 0, time.monotonic_ns()
    entry["id"] = goal.id.encode()
    for field in _FIELDS:
        entry[field] = getattr(goal, field)
    entry["priority"], entry["queue"] = message.priority, message.queue
    entry["stamped"], entry["leased"] = message.stamp is not None, leased
    return True


def find_goal(requests: np.void, goal: ResolvedGoal, message: AnyGoal, *, leased: bool) -> set[int]:
    """Numbers of goals with the same id that say the same, whenever that was, and that nobody has cancelled."""
    fields = [field for field in _FIELDS if field != "valid_for_s"]
    return {
        int(entry["number"])
        for entry in requests["goals"][live_goals(requests)]
        if entry["id"] == goal.id.encode()
        and (entry["priority"], entry["queue"], entry["leased"]) == (message.priority, message.queue, leased)
        and all(np.array_equal(entry[field], getattr(goal, field)) for field in fields)
    }


def read_goal(entry: np.void) -> RequestedGoal:
    """The goal in one place."""
    goal = ResolvedGoal(
        id=bytes(entry["id"]).decode(),
        request=tuple(entry["request"].tolist()),
        position_tolerance_m=float(entry["position_tolerance_m"]),
        angle_tolerance_deg=float(entry["angle_tolerance_deg"]),
        valid_for_s=float(entry["valid_for_s"]),
        speed=float(entry["speed"]),
    )
    return RequestedGoal(
        number=int(entry["number"]),
        goal=goal,
        priority=int(entry["priority"]),
        queue=bool(entry["queue"]),
        stamped=bool(entry["stamped"]),
        leased=bool(entry["leased"]),
        age_s=(time.monotonic_ns() - int(entry["written_ns"])) / 1e9,
    )


def live_goals(requests: np.void) -> np.ndarray:
    """Which places hold a goal that no request has ended: booleans `[MAX_GOALS]`."""
    entries = requests["goals"]
    live: np.ndarray = (entries["number"] > max(requests["estop"], requests["cancel"])) & (entries["cancelled"] == 0)
    return live
