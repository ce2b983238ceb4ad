"""From where the robot lies to where the policy begins: a scripted way in joint space, slow, and watched all along."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from runtime.robot.readings import Float64
from runtime.unitree.config import StandUp
from runtime.unitree.motors import MOTORS, MotorMap
from sim2real.contract import Contract

_STANDS_RAD = 0.3
"""As near to home the robot stands already, and need not fold its legs first."""
_FASTEST = math.pi / 2
"""Of the speed on a way that begins and ends at rest as a cosine does, over its mean."""


def way(contract: Contract, motors: MotorMap, config: StandUp, position: Float64, period_s: float) -> Iterator[Float64]:
    """References `[J]` rad, policy order, one for each `period_s`, from the measured `position` to home."""
    home = np.array([joint.home_position for joint in contract.robot.joints])
    stands = bool((np.abs(position - home) < _STANDS_RAD).all())
    here = position.copy()
    for posture in (home,) if stands else (folded(contract, motors, config), home):
        yield from _between(here, posture, config.speed_rad_s, period_s)
        here = posture
    for _ in range(round(config.settle_s / period_s)):
        yield home


def folded(contract: Contract, motors: MotorMap, config: StandUp) -> Float64:
    """The folded posture `[J]` rad, policy order, within the joints' limits."""
    names = {motor.slot: motor.name for motor in MOTORS}
    by_part = dict(zip(("hip", "thigh", "calf"), config.folded_rad, strict=True))
    posture = [by_part[names[int(slot)].split("_")[1]] for slot in motors.slots]
    ranges = np.array([joint.position_range for joint in contract.robot.joints])
    return np.clip(np.array(posture) * motors.signs, ranges[:, 0], ranges[:, 1])


def _between(start: Float64, end: Float64, speed_rad_s: float, period_s: float) -> Iterator[Float64]:
    """All joints begin and end at rest together, none faster than `speed_rad_s`."""
    longest = float(np.abs(end - start).max())
    steps = max(1, math.ceil(_FASTEST * longest / speed_rad_s / period_s))
    for step in range(1, steps + 1):
        yield start + (1 - math.cos(math.pi * step / steps)) / 2 * (end - start)
