"""A policy inside your own MuJoCo loop.

    controller = Controller("student.onnx")
    controller.set_goal(GoalPose(position=(0.5, 0.1, 0.4)))
    while not controller.status.reached:
        data.ctrl[:] = controller.step(data)
        mujoco.mj_step(model, data)

`step` belongs before every physics step. When a control period has passed in `data.time` it runs the policy;
in between it moves the servo targets linearly, as in training:

    physics step k of a period of n:  ctrl = previous + (new - previous) * (k + 1) / n
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from runtime.control.policy_controller import PolicyController
from runtime.goals.messages import AnyGoal
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.options import Engine
from runtime.robot.mujoco_robot import MujocoRobot, interpolate, require_rate
from runtime.robot.readings import Readings
from runtime.safety import SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.status import GoalStatus
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_TIME_SLACK = 0.01
"""Of a physics step; `data.time` is a long sum in floating point."""


class Controller:
    """Turns the state of a simulated robot into servo targets that move its tool to a goal pose.

    `policy` is a policy file, computed by `engine`, or a loaded `Policy`. `model` is only needed when `data.model`
    does not exist.
    `safety` sets limits and fault responses; its workspace and self-collision rules use the geometry of `data`'s
    model. `stale_after_periods` overrides its age, in control periods, beyond which readings are refused.
    Without a goal the robot holds the position in which it was first seen.
    """

    def __init__(
        self,
        policy: str | Path | Policy,
        *,
        model: mujoco.MjModel | None = None,
        safety: SafetyConfig | None = None,
        stale_after_periods: float | None = None,
        engine: Engine = "auto",
    ) -> None:
        loaded = policy if isinstance(policy, Policy) else Policy(policy, engine=engine)
        self._core = PolicyController(loaded, safety=safety, stale_after_periods=stale_after_periods)
        joints = len(loaded.contract.robot.joints)
        self._readings = Readings.of(loaded.contract)
        self._previous, self._new, self._between = np.zeros(joints), np.zeros(joints), np.zeros(joints)
        self._fallback_model = model
        self._robot: MujocoRobot | None = None
        self._data: mujoco.MjData | None = None
        self._control = np.zeros(0)
        self._goal_count = 0
        self._now_s = 0.0
        self._tick_s = math.nan
        self._interval_s = math.nan
        self._commanding = False

    @property
    def contract(self) -> Contract:
        """What the policy was trained for: joints, limits, readings, goal box, rates."""
        return self._core.contract

    @property
    def status(self) -> GoalStatus:
        """Distance in m, angle in degrees, reachability, `reached` and state, as of the last control tick."""
        return self._core.status()

    def set_goal(self, goal: AnyGoal) -> None:
        """Go there from the next control tick on; raises `GoalRefused` when the goal must not be followed.

        `goal.stamp` is Unix time; `goal.timeout_s` runs in the simulation's time.
        """
        resolved = validate_goal(self.contract, goal, time.time())
        self._goal_count += 1
        self._core.set_goal(resolved, number=self._goal_count, now_s=self._now_s)

    def cancel_goal(self) -> None:
        """Forget the goal and hold position."""
        self._goal_count += 1
        self._core.cancel_goal(number=self._goal_count)

    def stop(self) -> None:
        """Hold position whatever goals arrive, until `reset`."""
        self._core.stop()

    def estop(self) -> None:
        """Emergency stop: the arm yields and comes to rest, and no goal is followed until `release`."""
        self._core.estop()

    def release(self) -> None:
        """End an emergency stop; the robot stays where it is until the next goal."""
        self._core.release()

    def reset(self) -> None:
        """Begin anew at the next `step`: targets from the measured joints, a control tick at once, goal kept.

        Happens by itself when `data.time` goes backwards or another `data` comes.
        """
        self._tick_s = math.nan
        self._commanding = False

    def step(self, data: mujoco.MjData) -> NDArray[np.float64]:
        """Controls for the coming physics step, which lead the drives to what they are told: `[nu]`, in the actuator
        order of `data`'s model.

        Actuators that the contract does not name keep `data.ctrl`. Brings the poses in `data` up to date with
        `qpos` on control ticks. Raises `ContractMismatch` at the first contact with a model that is not the
        robot of the policy. The returned array is reused by the next call.
        """
        robot = self._meet(data)
        now, period = data.time, self.contract.timing.control_dt_s
        slack = _TIME_SLACK * robot.model.opt.timestep
        if now < self._now_s - slack:
            self.reset()
        elif now > self._now_s + slack:
            self._interval_s = min(now - self._now_s, period)
        self._now_s = now
        if math.isnan(self._tick_s):
            self._interval_s = robot.model.opt.timestep
            self._core.restart(now)
            self._tick(robot, data, tick_s=now)
        elif now - self._tick_s >= period - slack:
            # On the grid of periods, so that a late call does not shift all later ticks.
            due = self._tick_s + period * math.floor((now - self._tick_s + slack) / period)
            self._tick(robot, data, tick_s=now if abs(now - due) <= slack else due)
        np.copyto(self._control, data.ctrl)
        if self._commanding:
            fraction = (now - self._tick_s + self._interval_s) / period
            # Rounding must not leave the last step of a period a hair before its end.
            interpolate(self._previous, self._new, 1.0 if fraction > 1 - 1e-9 else fraction, self._between)
            self._control[robot.addresses.actuator] = robot.addresses.control(self._between)
        return self._control

    def _tick(self, robot: MujocoRobot, data: mujoco.MjData, *, tick_s: float) -> None:
        self._tick_s = tick_s
        robot.read(data, self._readings)
        robot.read_simulated(data, self._readings)
        np.copyto(self._previous, self._new)
        started_before = self._commanding
        self._commanding = self._core.step(self._readings, data.time, self._new)
        if self._commanding and not started_before:
            np.copyto(self._previous, self.contract.robot.at_rest(np, self._readings.joints))

    def _meet(self, data: mujoco.MjData) -> MujocoRobot:
        if self._robot is not None and data is self._data:
            return self._robot
        model = getattr(data, "model", None) or self._fallback_model
        if model is None:
            raise ShoalError("controller: this MjData does not know its model; create Controller(..., model=model).")
        if self._robot is None or self._robot.model is not model:
            require_rate(model.opt.timestep, self.contract)
            self._robot = MujocoRobot(model, self.contract)
            self._core.safety.geometry_checker = geometry_checker_for(model, self.contract, self._core.safety.config)
            self._control = np.zeros(model.nu)
        self._data = data
        self._now_s = data.time
        self.reset()
        return self._robot
