"""`runtime.safety.watch.ReadingWatch` in C."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from runtime.native.build import Unsupported
from runtime.robot.readings import Float64, Readings
from runtime.safety.compiled.library import load
from runtime.safety.config import SafetyConfig
from runtime.safety.watch import ReadingWatch
from runtime.status import Reason
from sim2real.contract import Contract

_REASONS = (
    Reason.FOLLOWING,
    Reason.READING_STALE,
    Reason.CLOCK_JUMPED,
    Reason.READING_OUT_OF_ORDER,
    Reason.READING_NOT_FINITE,
    Reason.READING_OUT_OF_RANGE,
    Reason.READING_FROZEN,
    Reason.EFFORT_TOO_HIGH,
    Reason.NOT_TRACKING,
    Reason.OBJECT_UNKNOWN,
)
"""As in watch.c."""
_WATCH = np.dtype(
    [(name, "i8") for name in ("joints", "readings", "own_readings")]
    + [(name, "u8") for name in ("low", "high", "effort_max", "same", "same_target", "values", "effort", "target")]
    + [(name, "i8") for name in ("judges_jumps", "judges_frozen", "judges_effort", "judges_tracking")]
    + [(name, "f8") for name in ("stale_after", "largest_jump", "frozen_travel", "tracking_max")]
    + [(name, "i8") for name in ("frozen_after", "effort_ticks")]
    + [(name, "f8") for name in ("now", "newest")]
    + [(name, "i8") for name in ("has_same", "same_ticks", "frozen", "effort_count", "measures_effort")]
)
_REMEMBERED = {
    "_now_s": "now",
    "_newest_s": "newest",
    "_same_ticks": "same_ticks",
    "_frozen": "frozen",
    "_effort_count": "effort_count",
    "_measures_effort": "measures_effort",
}
_CHECKED_TICKS, _TICKS_ALIKE = 600, 20


class CompiledWatch(ReadingWatch):
    """See `ReadingWatch`. Raises `Unsupported` with the reason."""

    def __init__(self, contract: Contract, config: SafetyConfig) -> None:
        check = load().shoal_check
        self._record = np.zeros((), _WATCH)
        super().__init__(contract, config)
        joints = len(self._low)
        self._arrays = {
            "low": np.array(self._low),
            "high": np.array(self._high),
            "effort_max": np.array(self._effort_max),
            "same": np.zeros(2 * joints),
            "same_target": np.zeros(joints),
        }
        record = self._record
        for name, array in self._arrays.items():
            record[name] = array.ctypes.data
        record["joints"], record["readings"] = joints, Readings.of(contract).vector.size
        record["own_readings"] = self._own_readings
        for flag, number, value in (
            ("judges_jumps", "largest_jump", config.clock_jump_s),
            ("judges_frozen", "frozen_after", config.frozen_after_periods),
            ("judges_tracking", "tracking_max", config.tracking_max_rad),
        ):
            record[flag], record[number] = value is not None, value or 0
        record["judges_effort"], record["effort_ticks"] = config.effort_share is not None, self._effort_ticks
        record["stale_after"], record["frozen_travel"] = self.stale_after_s, config.frozen_travel_rad
        self._check = partial(check, ctypes.c_void_p(record.ctypes.data))
        self._bound: tuple[Readings | None, Float64 | None] = None, None

    def restart(self) -> None:
        """See `ReadingWatch.restart`."""
        record = self._record
        for name in ("has_same", "same_ticks", "frozen", "effort_count", "measures_effort"):
            record[name] = 0
        record["now"] = record["newest"] = -np.inf

    def memory(self) -> dict[str, Any]:
        """See `Remembers`; the same as of a `ReadingWatch`."""
        record, has_same = self._record, bool(self._record["has_same"])
        kept = {name: record[field].item() for name, field in _REMEMBERED.items()}
        return kept | {
            "_same_since": self._arrays["same"].tolist() if has_same else [],
            "_same_target": self._arrays["same_target"].tolist() if has_same else [],
        }

    def recall(self, memory: dict[str, Any]) -> None:
        """See `Remembers`."""
        for name in self.remembered:
            if field := _REMEMBERED.get(name):
                self._record[field] = memory[name]
        self._record["has_same"] = bool(memory["_same_since"])
        if memory["_same_since"]:
            self._arrays["same"][:] = memory["_same_since"]
            self._arrays["same_target"][:] = memory["_same_target"]

    @property
    def measures_effort(self) -> bool:
        """Whether any reading had efforts."""
        return bool(self._record["measures_effort"])

    def check(self, readings: Readings, now_s: float, target: Float64, *, started: bool, yielding: bool) -> Reason:
        """See `ReadingWatch.check`."""
        bound = self._bound
        if readings is not bound[0] or target is not bound[1]:
            self._bind(readings, target)
        return _REASONS[self._check(now_s, readings.time_s, started, yielding)]

    def _bind(self, readings: Readings, target: Float64) -> None:
        # Kept, so that neither their memory nor their identity goes to others.
        self._bound = readings, target
        arrays = {"values": readings.vector, "effort": readings.joint_effort, "target": target}
        for name, array in arrays.items():
            self._record[name] = array.ctypes.data


def require_agreement(contract: Contract, config: SafetyConfig) -> None:
    """Show both kinds the same readings, sound ones and damaged ones; raises `Unsupported` when a verdict differs."""
    model, fast = ReadingWatch(contract, config), CompiledWatch(contract, config)
    for readings, now_s, target, started, yielding in _check_ticks(contract, config, model.stale_after_s):
        verdict = model.check(readings, now_s, target, started=started, yielding=yielding)
        if verdict is not fast.check(readings, now_s, target, started=started, yielding=yielding):
            raise Unsupported("it judges readings otherwise than Python does")


def _check_ticks(
    contract: Contract, config: SafetyConfig, stale_after_s: float
) -> Iterator[tuple[Readings, float, Float64, bool, bool]]:
    """Ticks as they may come; for a while each kind of damage is absent, rare or nearly always there."""
    rng, joints = np.random.default_rng(0), contract.robot.joints
    home, period = np.array([joint.home_position for joint in joints]), contract.timing.control_dt_s
    most = np.array([joint.effort_max for joint in joints])
    readings, target, now_s = Readings.of(contract), home.copy(), 0.0
    for number in range(_CHECKED_TICKS):
        if number % _TICKS_ALIKE == 0:
            shares = rng.choice([0.0, 0.0, 0.05, 0.95], 8)
        frozen, jumps, old, efforts, afar, damaged, begins, yields = rng.random(8) < shares
        now_s += period * (rng.choice([-3.0, 1e4]) if jumps else 1.0)
        readings.time_s = now_s - stale_after_s * rng.uniform(-1.5, 1.5) * old
        target[:] += rng.normal(0, 0.05, len(joints))
        if not frozen:
            readings.vector[:] = rng.normal(0, 1, readings.vector.size)
            readings.joint_position[:] = target + rng.normal(0, 0.05 + afar * rng.choice([0.3, 3.0]), len(joints))
            readings.joint_effort[:] = most * rng.uniform(-1, 1, len(joints)) * (1.5 if efforts else 0.1)
        if damaged:
            everything = (readings.vector, readings.joint_effort)[rng.integers(2)]
            everything[rng.integers(everything.size)] = rng.choice([np.nan, np.inf, -np.inf])
        yield readings, now_s, target, not begins, bool(yields)
