"""Channels of a recording that are read again, as JSON with JSON schemas.

    /tick    shoal.Tick   readings, command, state, timing: all that a replay needs
    /event   shoal.Event  goals, cancellations, restarts, stops, imposed faults, and what the control loop remembers

A goal's `request` is laid out by the contract's goal.

JSON has no NaN and no infinity: a number that is not known is null, infinity is 1e999.
"""

from __future__ import annotations

import json
import math
from typing import Any

from sim2real.contract import Contract
from sim2real.errors import ShoalError

_NUMBER = {"type": ["number", "null"]}
_NUMBERS = {"type": "array", "items": _NUMBER}
_TIME = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


_TICK: dict[str, Any] = {
    "timestamp": _TIME,
    "tick": {"type": "integer"},
    "now_s": _NUMBER,
    "measured_s": _NUMBER,
    "goal_number": {"type": "integer"},
    "joint_effort": _NUMBERS,
    "command": _NUMBERS,
    "commanding": {"type": "boolean"},
    "state": {"type": "string"},
    "reason": {"type": "string"},
    "reached": {"type": "boolean"},
    "within_tolerance": {"type": "boolean"},
    "distance_m": _NUMBER,
    "angle_deg": _NUMBER,
    "reachability": _NUMBER,
    "clamped": {"type": "integer"},
    "missed_periods": {"type": "integer"},
    "lateness_us": _NUMBER,
    "step_us": _NUMBER,
    "tick_us": _NUMBER,
}
_EVENT: dict[str, Any] = {
    "timestamp": _TIME,
    "kind": {"type": "string"},
    "now_s": _NUMBER,
    "goal_number": {"type": "integer"},
    "goal_id": {"type": "string"},
    "request": _NUMBERS,
    "position_tolerance_m": _NUMBER,
    "angle_tolerance_deg": _NUMBER,
    "valid_for_s": _NUMBER,
    "speed": _NUMBER,
    "reason": {"type": "string"},
    "tick": {"type": "integer"},
    "memory": {"type": "object"},
}


def channels(contract: Contract) -> dict[str, tuple[str, dict[str, Any]]]:
    """Topic to schema name and JSON schema. Readings stand in a tick under the contract's names."""
    return {
        "/tick": ("shoal.Tick", _object(**dict.fromkeys(contract.measured.sizes, _NUMBERS) | _TICK)),
        "/event": ("shoal.Event", _object(**_EVENT)),
    }


def require_names(contract: Contract) -> None:
    """Raise `ShoalError` where a reading has the name of something else in a tick."""
    taken = [name for name in contract.measured.sizes if name in _TICK and name != "joint_effort"]
    if taken:
        raise ShoalError(
            f"--record: the policy reads {', '.join(taken)}, under which a recording has something else; give the "
            "reading another name and train again."
        )


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
