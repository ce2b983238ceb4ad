"""A tick whose every result is thrown away, run just before the one that counts.

Between two ticks a processor sleeps or runs something else, and comes back with other code and data in its caches. The
first pass through safety layer and policy then takes several times as long as the second. So the loop takes the first
pass early, on a core of its own that nothing follows.
"""

from __future__ import annotations

import math

import numpy as np

from runtime.control.policy_controller import PolicyController
from runtime.goals.messages import ResolvedGoal
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
        self._readings.joint_position[:] = [joint.home_position for joint in contract.robot.joints]
        self._readings.end_effector_orientation[0] = 1.0
        checker = core.safety.geometry_checker
        if checker is not None and not checker.no_tool_pose:
            pose = checker.tool_pose(self._readings.joint_position.tolist())
            self._readings.end_effector_position[:], self._readings.end_effector_orientation[:] = pose[:3], pose[3:]
        self._command = np.zeros(len(contract.robot.joints))
        self._period_s = contract.timing.control_dt_s
        middle = np.add(contract.goal.position_min_m, contract.goal.position_max_m) / 2
        self._readings.object_position[:] = middle[: self._readings.object_position.size]
        x, y, z = (float(value) for value in middle)
        goal = ResolvedGoal("warm-up", (x, y, z), contract.default_orientation_wxyz, 0.01, 1.0, math.inf)
        self._core.set_goal(goal, number=1, now_s=0.0)

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
        safety.resume(readings.joint_position, State.ACTIVE, FOLLOWING)
        readings.time_s += self._period_s
        self._core.step(readings, readings.time_s, self._command)
