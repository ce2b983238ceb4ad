"""A tick whose every result is thrown away, run just before the one that counts.

Between two ticks a processor sleeps or runs something else, and comes back with other code and data in its caches. The
first pass through safety layer and policy then takes several times as long as the second. So the loop takes the first
pass early, on a core of its own that nothing follows.
"""

from __future__ import annotations

import numpy as np

from runtime.control.policy_controller import PolicyController
from runtime.goals.resolve import middle_goal
from runtime.robot.layout import Layout
from runtime.robot.readings import Readings
from runtime.status import FOLLOWING, State


class WarmUp:
    """Callable; one step from the `readings` that the loop saw last, or from home before there were any, towards the
    middle of the goal box, by `core`'s policy and a safety layer like `core`'s.

    It writes the policy's inputs and outputs, which the next tick of `core` writes again, and nothing else of `core`;
    a geometry_checker, which only judges, is asked as in a tick.
    """

    def __init__(self, core: PolicyController, readings: Readings) -> None:
        contract = core.contract
        self._real, self._seen = core, readings
        self._core = PolicyController(
            core.policy, safety=core.safety.config, geometry_checker=core.safety.geometry_checker
        )
        self._readings = Readings.of(contract)
        for name, value in self._readings.named.items():
            value[:] = contract.reading(name).usual(contract)
        tool, checker = Layout.of(contract).tool, core.safety.geometry_checker
        if tool is not None and checker is not None and not checker.no_tool_pose:
            pose = checker.tool_pose(self._readings.joints.tolist())
            for part, measured in zip(tool, (pose[:3], pose[3:]), strict=True):
                self._readings[part.name][:] = measured
        self._command = np.zeros(len(contract.robot.joints))
        self._at_rest = contract.robot.at_rest
        self._period_s = contract.timing.control_dt_s
        self._core.set_goal(middle_goal(contract, "warm-up"), number=1, now_s=0.0)

    @property
    def state(self) -> State:
        """`ACTIVE` when the whole of a tick is warmed up."""
        return self._core.safety.state

    def __call__(self) -> None:
        """One tick."""
        readings = self._readings
        if self._real.safety.started:
            readings.vector[:] = self._seen.vector
        safety = self._core.safety
        if safety.reason is not FOLLOWING:
            safety.restart()
        # From where the joints are, each time: what was warmed up before is not what they did.
        safety.resume(self._at_rest(np, readings.joints), State.ACTIVE, FOLLOWING)
        readings.time_s += self._period_s
        self._core.step(readings, readings.time_s, self._command)
