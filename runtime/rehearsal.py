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
    """Callable; one step from the `readings` that the loop saw last, or from home before there were any, towards the
    middle of the goal box, by `core`'s policy and a safety layer like `core`'s.

    It writes the policy's inputs and outputs, which the next tick of `core` writes again, and nothing else of `core`;
    a guard, which only judges, is asked as in a tick.
    """

    def __init__(self, core: Core, readings: Readings) -> None:
        contract = core.contract
        self._real, self._seen = core, readings
        self._core = Core(core.policy, safety=core.safety.config, guard=core.safety.guard)
        self._readings = Readings.of(contract)
        self._readings.joint_position[:] = [joint.home_rad for joint in contract.robot.joints]
        self._readings.end_effector_orientation[0] = 1.0
        self._readings.object_position.fill(0.0)
        self._command = np.zeros(len(contract.robot.joints))
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
        if self._real.safety.started:
            readings.vector[:] = self._seen.vector
        # From where the joints are, each time: what was rehearsed before is not what they did.
        self._core.safety.start(readings.joint_position)
        readings.time_s += self._period_s
        self._core.step(readings, readings.time_s, self._command)
