"""Any robot of ros2_control, with no ROS installation: `runtime serve --robot ros2 --robot-config robot.yaml`.

    joint_states    in    sensor_msgs/JointState             of a joint_state_broadcaster
    odom, imu       in    nav_msgs/Odometry, sensor_msgs/Imu    where a policy reads a floating base
    object_pose     in    geometry_msgs/PoseStamped          of a tracker, for policies that move an object
    /tf, /tf_static  in   tf2_msgs/TFMessage                 where the tracker's frame is, if it is another
    /clock          in    rosgraph_msgs/Clock                a simulation's time, with use_sim_time
    commands        out   trajectory_msgs/JointTrajectory    to a joint_trajectory_controller, or
                          std_msgs/Float64MultiArray         to a forward_command_controller

Whatever else the policy reads follows from the contract's own model, placed as these say. When states stop coming, or
are sent again with an old stamp, the readings grow old and the loop holds; when they come back, it begins anew from the
measured joints. In simulated time `read` waits for the simulation's next control period.
"""

from __future__ import annotations

import math
import sys
import time
from typing import TypeVar

import numpy as np
from cyclonedds.idl import IdlStruct

from runtime.drivers.base import DriverOptions
from runtime.goals.messages import ResolvedGoal
from runtime.robot.model import load_model
from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Float64, Readings
from runtime.ros2 import messages as ros
from runtime.ros2.clock import Clock, Periods, SimulatedClock, SystemClock
from runtime.ros2.commands import make_commands
from runtime.ros2.domain import LATEST, Participant, samples
from runtime.ros2.joint_states import JointStates
from runtime.ros2.others import Others
from runtime.ros2.robot_config import load_config
from sim2real.contract import Contract
from sim2real.errors import ShoalError, shown

_SILENT_S = 1.0
"""After which a robot that comes back may stand elsewhere."""
_LOOK_AGAIN_S = 0.01
_MOST_TAKEN, _MOST_SAID = 20, 20
_CHECK_LISTENERS_S = 1.0
_Message = TypeVar("_Message", bound=IdlStruct)


class Ros2Driver:
    """A `ServoDriver` and `RecoveringDriver` of `runtime.drivers.base`. Raises `ShoalError` when no robot answers."""

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        self._config = config = load_config(options.config)
        model = load_model(contract, options.mjcf)
        self._kinematics = MujocoRobot(model, contract)
        self._data = self._kinematics.addresses.home_data(model)
        self.joint_names = contract.joint_names
        self.owns_clock = config.use_sim_time
        self.period_s = contract.timing.control_dt_s
        self.restarts = 0
        self._said: set[str] = set()
        names = config.names(contract)
        self._participant = participant = Participant(network=config.network)
        self._clock: Clock = SimulatedClock(participant, self._say) if config.use_sim_time else SystemClock()
        self._states = JointStates(names, stamps=config.stamps)
        self._state_reader = participant.reader(config.topic(config.joint_states), ros.JointState, qos=LATEST)
        self._others = Others.of(model, contract, config, participant, self._clock, say=self._say)
        self._commands = make_commands(participant, config, names, self.period_s)
        self.servo_steps = self._commands.steps
        self._listeners_checked_s = time.monotonic()
        try:
            self._wait_for_robot()
        except ShoalError:
            participant.close()
            raise
        self._commands.begin(self._states.position)
        self._measured_s, self._resets = self._measured(), self._clock.resets
        self._periods = None
        if isinstance(self._clock, SimulatedClock):
            self._periods = Periods(self._clock, self.period_s, self._commands.steps, self.servo, self._say)
        kind, topic = config.command.kind, config.topic(config.command.topic)
        simulated = ", simulated time" if config.use_sim_time else ""
        self.description = f"ros2_control, {kind} commands on {topic}, {participant.description}{simulated}"

    def read(self, out: Readings) -> None:
        """The newest states that have arrived; without any, `out` stays as it is and grows old."""
        if self._periods is not None:
            self._periods.wait()
        self._take()
        measured_s = self._measured()
        if self._clock.resets != self._resets:
            self._resets = self._clock.resets
            self._begin_anew("the simulation began again")
        if measured_s == self._measured_s and out.time_s == measured_s:
            return
        if measured_s - self._measured_s > _SILENT_S:
            self._begin_anew("joint states are back")
        self._measured_s = measured_s
        addresses = self._kinematics.addresses
        addresses.place(self._data.qpos, self._states.position)
        addresses.place_velocity(self._data.qvel, self._states.velocity)
        self._kinematics.read(self._data, out)
        self._others.write(self._kinematics, self._data, out)
        np.copyto(out.joint_effort, self._states.effort)
        out.time_s = measured_s

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad for the coming control period."""
        self._say(self._commands.send(command))
        if time.monotonic() - self._listeners_checked_s > _CHECK_LISTENERS_S:
            self._listeners_checked_s = time.monotonic()
            if not self._commands.listeners():
                self._say(f"no controller listens on {self._config.command.topic}: the robot does not get its commands")

    def servo(self, fraction: float) -> None:
        """The reference on the way to the newest target, where the controller doesn't interpolate."""
        self._say(self._commands.send_between(fraction))

    def now_s(self) -> float:
        """Monotonic time, or the simulation's."""
        return self._clock.now_s()

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Nothing to show; `runtime ros2` publishes the goal's status."""

    def close(self) -> None:
        """Leave the domain; controllers hold the last target."""
        del self._commands, self._state_reader, self._others
        self._clock.close()
        self._participant.close()

    def _begin_anew(self, why: str) -> None:
        self.restarts += 1
        self._commands.begin(self._states.position)
        self._say(f"{why}; going on from where the robot stands", again=True)

    def _take(self) -> None:
        self._clock.take()
        now_s, stamp_s = self._clock.now_s(), self._clock.stamp_s()
        for message in samples(self._state_reader, ros.JointState, self._say):
            self._states.take(message, arrived_s=now_s, stamp_s=stamp_s)
        self._say(self._states.problem)
        self._others.take(self._data)

    def _measured(self) -> float:
        """When the oldest of all that is needed was measured, monotonic; -inf until all was."""
        return min(self._states.measured_s, self._others.measured_s)

    def _wait_for_robot(self) -> None:
        deadline = time.monotonic() + self._config.wait_s
        while not math.isfinite(self._measured()) or not self._commands.listeners():
            self._take()
            if time.monotonic() > deadline:
                raise ShoalError(self._who_is_missing())
            time.sleep(_LOOK_AGAIN_S)
        if not np.isfinite(self._states.velocity).all():
            raise ShoalError(
                f"--robot ros2: {self._config.joint_states} tells no velocity; let the joint_state_broadcaster publish "
                "the velocity interface of every joint, which the policy needs."
            )

    def _who_is_missing(self) -> str:
        config, missing = self._config, self._states.missing()
        where = f"in {self._participant.description}"
        if not self._clock.known:
            return f"--robot ros2: nothing came on /clock {where}, and use_sim_time is true; does the simulation run?"
        if not missing and self._others.measured_s == -math.inf:
            return f"--robot ros2: {self._others.missing()} {where}, which the policy reads."
        if not missing:
            return (
                f"--robot ros2: no controller listens on {config.topic(config.command.topic)} {where}; is it active, "
                f"and is it of kind {config.command.kind!r} (--robot-config)?"
            )
        topic = config.topic(config.joint_states)
        if len(missing) == len(self.joint_names) and not self._states.others:
            reach = "" if config.network else " Robots on other machines are found with network: true (--robot-config)."
            return f"--robot ros2: nothing came on {topic} {where}; is the joint_state_broadcaster active?{reach}"
        seen = ", ".join(map(shown, sorted(self._states.others)[:20])) or "no other joint"
        return (
            f"--robot ros2: {topic} tells nothing of {', '.join(missing)}, but of {seen}; map joint_names in "
            "--robot-config."
        )

    def _say(self, sentence: str, *, again: bool = False) -> None:
        """On standard error, once."""
        if sentence and (again or sentence not in self._said) and len(self._said) < _MOST_SAID:
            self._said.add(sentence)
            print(f"ros2: {sentence}", file=sys.stderr, flush=True)
