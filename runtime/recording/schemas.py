"""Channels of a recording that are read again, as JSON with JSON schemas.

    /tick    shoal.Tick   readings, command, state, timing: all that a replay needs
    /event   shoal.Event  goals, cancellations, restarts, stops, imposed faults, and what the control loop remembers

JSON has no NaN and no infinity: a number that is not known is null, infinity is 1e999.
"""

from __future__ import annotations

import json
import math
from typing import Any

_NUMBER = {"type": ["number", "null"]}
_NUMBERS = {"type": "array", "items": _NUMBER}
_TIME = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


CHANNELS: dict[str, tuple[str, dict[str, Any]]] = {
    "/tick": (
        "shoal.Tick",
        _object(
            timestamp=_TIME,
            tick={"type": "integer"},
            now_s=_NUMBER,
            measured_s=_NUMBER,
            goal_number={"type": "integer"},
            joint_position=_NUMBERS,
            joint_velocity=_NUMBERS,
            joint_effort=_NUMBERS,
            end_effector_position=_NUMBERS,
            end_effector_orientation=_NUMBERS,
            object_position=_NUMBERS,
            command=_NUMBERS,
            commanding={"type": "boolean"},
            state={"type": "string"},
            reason={"type": "string"},
            reached={"type": "boolean"},
            within_tolerance={"type": "boolean"},
            distance_m=_NUMBER,
            angle_deg=_NUMBER,
            reachability=_NUMBER,
            clamped={"type": "integer"},
            missed_periods={"type": "integer"},
            lateness_us=_NUMBER,
            step_us=_NUMBER,
            tick_us=_NUMBER,
        ),
    ),
    "/event": (
        "shoal.Event",
        _object(
            timestamp=_TIME,
            kind={"type": "string"},
            now_s=_NUMBER,
            goal_number={"type": "integer"},
            goal_id={"type": "string"},
            position=_NUMBERS,
            orientation_wxyz=_NUMBERS,
            position_tolerance_m=_NUMBER,
            angle_tolerance_deg=_NUMBER,
            valid_for_s=_NUMBER,
            speed=_NUMBER,
            reason={"type": "string"},
            tick={"type": "integer"},
            memory={"type": "object"},
        ),
    ),
}
"""Topic to schema name and JSON schema."""


def encode(message: dict[str, Any]) -> bytes:
    """A message as JSON; floats keep every bit."""
    return (
        json.dumps({name: _plain(value) for name, value in message.items()}, allow_nan=False)
        .replace('"__inf__"', "1e999")
        .replace('"-__inf__"', "-1e999")
        .encode()
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else "__inf__" if value > 0 else "-__inf__"
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def stamp(wall_ns: int) -> dict[str, int]:
    """Foxglove's time."""
    return {"sec": wall_ns // 1_000_000_000, "nsec": wall_ns % 1_000_000_000}
