"""What is wrong with the readings, if anything."""

from __future__ import annotations

import math

from runtime.memory import Remembers
from runtime.robot.readings import Float64, Readings, readings_size
from runtime.safety.config import SafetyConfig
from runtime.status import Reason
from sim2real.contract import Contract

_EFFORT_ROUNDING = 1e-6


class ReadingWatch(Remembers):
    """Judges each tick's readings, with a memory of the ticks before.

    Time runs in seconds of the driver's clock. Nothing here moves the robot. `runtime.safety.compiled` has a faster
    one, which is compared with this one.
    """

    remembered = (
        "_now_s",
        "_newest_s",
        "_same_ticks",
        "_same_since",
        "_same_target",
        "_frozen",
        "_effort_count",
        "_measures_effort",
    )

    def __init__(self, contract: Contract, config: SafetyConfig) -> None:
        joints, period = contract.robot.joints, contract.timing.control_dt_s
        self._config = config
        self._low = [joint.position_range[0] - config.out_of_range_rad for joint in joints]
        self._high = [joint.position_range[1] + config.out_of_range_rad for joint in joints]
        share = config.effort_share
        self._effort_max = [
            math.inf if share is None else share * joint.effort_max * (1 + _EFFORT_ROUNDING) for joint in joints
        ]
        self._own_readings = readings_size(len(joints), with_object=False)
        self._effort_ticks = math.ceil(config.effort_for_s / period - 1e-9)
        self.stale_after_s = config.stale_after_periods * period
        self._frozen_after = config.frozen_after_periods
        self.restart()

    def restart(self) -> None:
        """Forget the ticks before: the robot or its clock began anew."""
        self._now_s = self._newest_s = -math.inf
        self._same_ticks = 0
        self._same_since: list[float] = []
        self._same_target: list[float] = []
        self._frozen = False
        self._effort_count = 0
        self._measures_effort = False

    @property
    def measures_effort(self) -> bool:
        """Whether any reading had efforts."""
        return self._measures_effort

    def check(self, readings: Readings, now_s: float, target: Float64, *, started: bool, yielding: bool) -> Reason:
        """`FOLLOWING` when the readings can be trusted and show nothing wrong; `target` is where the joints were sent.

        `started` is False before the first trusted readings, when there is no target yet. While `yielding`, the target
        comes to joints that may well stand still.
        """
        jumped = self._clock_jumped(now_s)
        if not -self.stale_after_s <= now_s - readings.time_s <= self.stale_after_s:
            return Reason.READING_STALE
        if jumped:
            self._newest_s = readings.time_s
            return Reason.CLOCK_JUMPED
        if readings.time_s < self._newest_s:
            return Reason.READING_OUT_OF_ORDER
        fresh, self._newest_s = readings.time_s > self._newest_s, readings.time_s
        values = readings.vector.tolist()
        if not all(map(math.isfinite, values)):
            own = values[: self._own_readings]
            return Reason.OBJECT_UNKNOWN if all(map(math.isfinite, own)) else Reason.READING_NOT_FINITE
        position = values[: len(self._low)]
        for low, q, high in zip(self._low, position, self._high, strict=True):
            if not low <= q <= high:
                return Reason.READING_OUT_OF_RANGE
        joints = values[: 2 * len(position)]
        if started and fresh and self._is_frozen(joints, target, yielding=yielding):
            return Reason.READING_FROZEN
        reason = self._check_effort(readings)
        if reason is Reason.FOLLOWING and started:
            reason = self._check_tracking(position, target)
        return reason

    def _clock_jumped(self, now_s: float) -> bool:
        before, self._now_s = self._now_s, now_s
        largest = self._config.clock_jump_s
        if largest is None or before == -math.inf:
            return False
        return not 0 <= now_s - before <= largest

    def _is_frozen(self, measured: list[float], target: Float64, *, yielding: bool) -> bool:
        if self._frozen_after is None:
            return False
        if measured != self._same_since:
            self._same_since, self._same_ticks, self._frozen = measured, 0, False
            self._same_target = target.tolist()
        elif yielding:
            self._same_target = target.tolist()
        else:
            self._same_ticks += 1
            travelled = max(abs(x - y) for x, y in zip(target.tolist(), self._same_target, strict=True))
            if self._same_ticks >= self._frozen_after and travelled >= self._config.frozen_travel_rad:
                self._frozen = True
        return self._frozen

    def _check_effort(self, readings: Readings) -> Reason:
        if self._config.effort_share is None:
            return Reason.FOLLOWING
        effort = readings.joint_effort.tolist()
        if not all(map(math.isfinite, effort)):
            return Reason.READING_NOT_FINITE if self._measures_effort else Reason.FOLLOWING
        self._measures_effort = True
        for torque, most in zip(effort, self._effort_max, strict=True):
            if not -most <= torque <= most:
                self._effort_count += 1
                return Reason.EFFORT_TOO_HIGH if self._effort_count > self._effort_ticks else Reason.FOLLOWING
        self._effort_count = 0
        return Reason.FOLLOWING

    def _check_tracking(self, position: list[float], target: Float64) -> Reason:
        largest = self._config.tracking_max_rad
        if largest is not None:
            for q, x in zip(position, target.tolist(), strict=True):
                if not abs(q - x) <= largest:
                    return Reason.NOT_TRACKING
        return Reason.FOLLOWING
