"""What a recording says about delays, as the distributions that training draws from.

    report = measure([read_log(Path("run.mcap"))], task.model)
    setting = report.apply(load_randomisation("mild"))

    reading taken ── age ──► command computed ── tick ──► sent ── beyond the model ──► motion
         measured_s                time_s                                      seen at measured_s

The age of readings is in their time stamps. The rest is found by comparing motion with the model's own on the same
commands, window by window: transport to the robot, its filters, and whatever its time stamps leave out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.logs.log import Log
from sim2real.logs.openloop import simulate
from sim2real.randomisation.config import TERMS, Randomisation
from sim2real.timing.lag import lag_between

_WINDOW_S = 4.0
_MOVES_RAD_S = 0.02
"""Mean speed of the fastest joint below which a window says nothing about delays."""
_BELIEVED = 0.8
"""Correlation below which motion is not the model's own, only later."""
_QUANTILES = np.linspace(0, 1, 9)
_SHARES = (0.01, 0.5, 0.99)


@dataclass(frozen=True)
class Latencies:
    """One value for each window of log, s."""

    age_s: np.ndarray
    """Age of the readings, the smallest in the window."""
    age_spread_s: np.ndarray
    """From that to the 95th percentile."""
    tick_spread_s: np.ndarray
    """5th to 95th percentile of the time from reading to command; empty where not recorded."""
    motion_s: np.ndarray
    """From the command to motion, beyond the model's own lag; windows without clear motion are left out."""
    from_command_s: np.ndarray
    """From the command to motion in all, with the servo's own lag."""
    ages_s: np.ndarray
    """Of every reading."""
    ticks_s: np.ndarray
    """Of every tick; empty where not recorded."""
    missed_periods: int
    ticks: int

    def terms(self) -> dict[str, Any]:
        """Terms of `Randomisation`, replaced by what was measured."""
        found: dict[str, Any] = {"observation_delay_s": _distribution("observation_delay_s", self.age_s)}
        found["observation_jitter_s"] = _distribution("observation_jitter_s", self.age_spread_s)
        if len(self.tick_spread_s):
            found["action_jitter_s"] = _distribution("action_jitter_s", self.tick_spread_s)
        if len(self.motion_s):
            found["action_delay_s"] = _distribution("action_delay_s", self.motion_s)
        return found

    def apply(self, base: Randomisation) -> Randomisation:
        """`base` with the measured terms."""
        return Randomisation.model_validate(base.model_dump(include=set(base.active)) | self.terms())

    def rows(self) -> list[tuple[str, list[float]]]:
        """Name, and 1 %, median and 99 % in s, for tables."""
        named = {
            "age of a reading": self.ages_s,
            "reading to command": self.ticks_s,
            "command to motion": self.from_command_s,
            "of that, beyond the model": self.motion_s,
        }
        return [(name, np.quantile(values, _SHARES).tolist()) for name, values in named.items() if len(values)]

    def warnings(self) -> list[str]:
        """What to think of before training on this, in words."""
        said = []
        if not len(self.motion_s):
            said.append("no window moved clearly enough to tell the delay of commands; action_delay_s stays as it was.")
        elif len(self.motion_s) < 5:
            said.append(f"only {len(self.motion_s)} windows moved clearly; record a minute of motion.")
        if not np.any(self.ages_s):
            said.append(
                "every reading claims to be taken at the very tick: this driver stamps when it reads, so their "
                "age is part of the delay beyond the model."
            )
        if len(self.motion_s) and np.median(self.motion_s) < -1e-3:
            said.append("motion comes before the model's: the real servo is stiffer or less damped; identify it first.")
        return said


def measure(logs: Sequence[Log], model: mujoco.MjModel) -> Latencies:
    """Latencies of recordings of one robot; `ShoalError` where no stretch is long enough."""
    stretches = [stretch for log in logs for stretch in log.segments()]
    windows = [window for stretch in stretches for window in _windows(stretch, model)]
    if not windows:
        raise ShoalError(f"log: no stretch of {_WINDOW_S:g} s without a gap; record longer.")
    ages = [log.time_s - log.measured_s for log, _ in windows]
    ticks = np.concatenate([log.tick_us for log in logs if log.tick_us is not None] or [np.zeros(0)]) / 1e6
    size = max(2, round(_WINDOW_S / logs[0].contract.timing.control_dt_s))
    beyond, whole = [], []
    for log, expected in windows:
        speed = np.abs(np.diff(expected, axis=0)).sum(axis=0).max() / _WINDOW_S
        model_lag = lag_between(log.measured_s, expected, log.joint_position)
        command_lag = lag_between(log.measured_s, log.command, log.joint_position)
        if speed > _MOVES_RAD_S and model_lag and command_lag and model_lag.correlation > _BELIEVED:
            beyond.append(model_lag.seconds)
            whole.append(command_lag.seconds)
    spreads = [np.subtract(*np.quantile(ticks[i : i + size], [0.95, 0.05])) for i in range(0, len(ticks), size)]
    return Latencies(
        age_s=np.array([age.min() for age in ages]),
        age_spread_s=np.array([np.quantile(age, 0.95) - age.min() for age in ages]),
        tick_spread_s=np.array(spreads),
        motion_s=np.array(beyond),
        from_command_s=np.array(whole),
        ages_s=np.concatenate(ages),
        ticks_s=ticks,
        missed_periods=sum(log.missed_periods for log in logs),
        ticks=sum(len(log) for log in logs),
    )


def _windows(stretch: Log, model: mujoco.MjModel) -> list[tuple[Log, np.ndarray]]:
    """Parts of a stretch, each with the model's own motion `[T, J]` on its commands."""
    size = round(_WINDOW_S / stretch.contract.timing.control_dt_s)
    if len(stretch) < size:
        return []
    expected = simulate([model], stretch).joint_position[0]
    begins = range(0, len(stretch) - size + 1, size)
    return [(stretch.part(begin, begin + size), expected[begin : begin + size]) for begin in begins]


def _distribution(term: str, values: np.ndarray) -> dict[str, Any]:
    measured = np.clip(values, TERMS[term].low, TERMS[term].high)
    rounded = np.round(np.quantile(measured, _QUANTILES), 6).tolist()
    return {"quantiles": rounded}
