"""A tick whose every result is thrown away, run just before the one that counts.

Between two ticks a processor sleeps or runs something else, and comes back with other code and data in its caches. The
first pass through safety layer and policy then takes several times as long as the second. So the loop takes the first
pass early, on a core of its own that nothing follows.
"""

from __future__ import annotations

import math

import numpy as np

from runtime.core import Core
from runtime.goals import ResolvedGoal
from runtime.safety import Readings
from runtime.status import State


class Rehearsal:
    """Callable; runs `core`'s policy and a copy of its safety layer on the `readings` that the loop saw last, save that
    the joints are where the rehearsal sent them.

    It writes the policy's inputs and outputs, which the next tick of `core` writes again, and nothing else of `core`.
    A guard by the robot's geometry is not rehearsed.
    """

    def __init__(self, core: Core, readings: Readings) -> None:
        contract = core.contract
        joints = len(contract.robot.joints)
        self._core = Core(core.policy, safety=core.safety.config)
        self._seen, self._readings = readings, Readings(joints)
        self._command = np.array([joint.home_rad for joint in contract.robot.joints])
        self._period_s = contract.timing.control_dt_s
        middle = np.add(contract.goal.position_min_m, contract.goal.position_max_m) / 2
        x, y, z = (float(value) for value in middle)
        goal = ResolvedGoal("rehearsal", (x, y, z), contract.goal.default_orientation_wxyz, 0.01, 1.0, math.inf)
        self._core.set_goal(goal, number=1, now_s=0.0)

    @property
    def state(self) -> State:
        """`ACTIVE` or `RAMP_IN` when the whole of a tick is rehearsed."""
        return self._core.safety.state

    def __call__(self) -> None:
        """One tick."""
        readings = self._readings
        np.copyto(readings.vector, self._seen.vector)
        np.copyto(readings.joint_position, self._command)
        readings.time_s += self._period_s
        self._core.step(readings, readings.time_s, self._command)
