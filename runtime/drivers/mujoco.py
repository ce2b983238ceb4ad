"""A simulated robot: C MuJoCo with the MJCF that the policy was trained on.

Simulated time follows wall time times `speed`, in whole control periods: when the loop misses periods, the
robot meanwhile holds its last target, as a real one does, and joints that are told velocities or efforts get 0.
Speed 0 advances one period per tick, as fast as it can. Within a period the commands move linearly, one
increment per physics step, as in training.
"""

from __future__ import annotations

import mujoco
import numpy as np

from runtime.drivers.base import DriverOptions
from runtime.drivers.pace import Pace
from runtime.drivers.pictures.video import Video
from runtime.drivers.pictures.viewer import Viewer
from runtime.goals.markers import markers
from runtime.goals.messages import ResolvedGoal
from runtime.robot.model import load_model, shipped_mjcf
from runtime.robot.mujoco_robot import MujocoRobot, interpolate, require_rate
from runtime.robot.readings import Float64, Readings
from sim2real.contract import Contract

_GOAL_BODY = "goal"
HEARD_FOR = 2
"""Control periods for which a velocity or an effort is kept up without a new command, before it becomes 0."""


class MujocoDriver:
    """See `runtime.drivers.base.Driver`. Starts at the contract's home."""

    modes = ("position", "velocity", "effort")

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        self._contract = contract
        self._pace = Pace(options.speed, contract.timing.control_dt_s)
        path = options.mjcf or shipped_mjcf(contract.robot.name)
        self.model = load_model(contract, path)
        self.model.opt.timestep = contract.timing.physics_dt_s
        self._substeps = require_rate(self.model.opt.timestep, contract)
        self._robot = MujocoRobot(self.model, contract)
        home = np.array([joint.home_position for joint in contract.robot.joints])
        self.data = self._robot.addresses.home_data(self.model)
        self.joint_names = contract.joint_names
        self.owns_clock, self.period_s = self._pace.owns_clock, self._pace.period_s
        self.description = f"mujoco {mujoco.__version__}, {path.name}, {self._pace.description}"
        at_rest = contract.robot.at_rest(np, home)
        self._previous, self._target, self._between = at_rest.copy(), at_rest.copy(), at_rest.copy()
        self._at_zero = [i for i, joint in enumerate(contract.robot.joints) if joint.mode != "position"]
        self._unheard = 0
        """Control periods since the last command."""
        self._goal_mocap = _mocap_of(self.model, _GOAL_BODY)
        self._viewer = Viewer(mjcf=path, model=self.model, wait=self.owns_clock) if options.viewer else None
        self._video: Video | None = None
        if options.video is not None:
            self._video = Video(
                options.video, mjcf=path, model=self.model, period_s=self.period_s, wait=self.owns_clock
            )

    def read(self, out: Readings) -> None:
        """Advance to the present, then measure."""
        for _ in range(self._pace.due_periods()):
            self._advance_period()
        self._robot.read(self.data, out)
        self._robot.read_simulated(self.data, out)
        for onlooker in (self._viewer, self._video):
            if onlooker is not None:
                onlooker.add(self.data)

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad, rad/s or N m for the coming control period."""
        self._previous[:] = self._target
        self._target[:] = command
        self._unheard = 0

    def now_s(self) -> float:
        """Simulated time."""
        return float(self.data.time)

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Move the mocap body `goal`, where the model has one, to where the goal is or the first of its places."""
        places = markers(self._contract, goal.request)
        if self._goal_mocap >= 0 and places:
            self.data.mocap_pos[self._goal_mocap] = places[0].position
            turn = places[0].orientation_wxyz or self._contract.default_orientation_wxyz
            self.data.mocap_quat[self._goal_mocap] = turn

    def close(self) -> None:
        """Complete the video, close the window."""
        for onlooker in (self._viewer, self._video):
            if onlooker is not None:
                onlooker.close()

    def _advance_period(self) -> None:
        self._unheard += 1
        if self._at_zero and self._unheard > HEARD_FOR:
            self._target[self._at_zero] = 0.0
        actuator = self._robot.addresses.actuator
        for step in range(self._substeps):
            interpolate(self._previous, self._target, (step + 1) / self._substeps, self._between)
            self.data.ctrl[actuator] = self._robot.addresses.control(self._between)
            mujoco.mj_step(self.model, self.data)
        np.copyto(self._previous, self._target)


def _mocap_of(model: mujoco.MjModel, body: str) -> int:
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, body)
    return int(model.body_mocapid[index]) if index >= 0 else -1
