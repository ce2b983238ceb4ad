"""A Franka FR3 (or Panda) through libfranka, by way of franky: `runtime serve --robot franka --host 172.16.0.2`.

Every control period sends one joint velocity: that at which the contract's own servo would move. A stiff, strongly
damped position servo is a first-order lag of `damping / stiffness` seconds; `Reference` follows it in closed form, and
what the measured joints differ from it is fed back slowly. (Feeding the whole difference back within a period, or
sending torques over the network with the contract's gains, makes the arm oscillate; both were tried with franky-sim.)
libfranka's motion generator keeps the arm's velocity, acceleration and jerk limits. A velocity is good for
`_VALID_MS`: when this process dies the arm comes to rest by itself.

When the arm leaves control (a reflex, the user stop, a lost connection) the last target no longer holds anything:
readings
age, the loop holds, and `read` tries to recover. After a recovery the loop begins anew from the measured
joints.

The robot's load and frames (F_T_EE, EE_T_K) are left as configured in Desk: the tool's pose comes from the contract's
own kinematics, not from them.
"""

from __future__ import annotations

import importlib
import math
import sys
import time
from typing import Any

import numpy as np

from runtime.drivers.base import DriverOptions
from runtime.goals.messages import ResolvedGoal
from runtime.robot.model import load_model
from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Float64, Readings
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError, first_line

_VALID_MS = 200
_OF_LIMIT = 0.99
_FEEDBACK_HZ = 3.0
"""How fast the difference between reference and measured joints is fed back, 1/s."""
_RECOVER_EVERY_S = 1.0
_JOINTS = 7


class Reference:
    """Where the contract's servo would be: joint velocities for a robot that takes those, `[J]` each."""

    def __init__(self, contract: Contract, measured: Float64) -> None:
        joints = contract.robot.joints
        self._period_s = contract.timing.control_dt_s
        lag = np.array([joint.damping / joint.stiffness for joint in joints])
        self._decay = np.exp(-self._period_s / np.maximum(lag, 1e-6))
        self._ramp_share = 1 - lag / self._period_s * (1 - self._decay)
        self.start(measured)

    def start(self, measured: Float64) -> None:
        """Stand still at the measured joints, rad."""
        self.position, self._previous = measured.copy(), measured.copy()

    def velocity(self, target: Float64, measured: Float64, out: Float64) -> None:
        """Joint velocities, rad/s, for the coming period, in which the servo's target moves linearly to `target`."""
        error = self.position - measured
        change = (self._decay - 1) * (self.position - self._previous) + self._ramp_share * (target - self._previous)
        np.add(change / self._period_s, _FEEDBACK_HZ * error, out=out)
        self.position += change
        np.copyto(self._previous, target)


class FrankaDriver:
    """A `runtime.drivers.base.RecoveringDriver`. Raises `ShoalError` when the arm cannot be reached or taken over."""

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        if not options.host:
            raise ShoalError("--host: give the address of the robot's control box, for example --host 172.16.0.2.")
        if len(contract.joint_names) != _JOINTS:
            raise ContractMismatch(
                f"robot.joints: {len(contract.joint_names)} in the policy, {_JOINTS} on a Franka arm."
            )
        self._franky = _import_franky()
        self._host, self._recover_reflexes, self._said = options.host, options.recover_reflexes, ""
        model = load_model(contract)
        self._kinematics = MujocoRobot(model, contract)
        self._data = self._kinematics.addresses.home_data(model)
        self.joint_names = contract.joint_names
        self.owns_clock = False
        self.period_s = contract.timing.control_dt_s
        self.restarts = 0
        self._robot = self._connect()
        # libfranka aborts at its own limit, which may be lower than the contract's.
        own = np.asarray(self._robot.joint_velocity_limit.get(), np.float64).reshape(_JOINTS)
        contracted = np.array([joint.velocity_max for joint in contract.robot.joints])
        self._velocity_max = np.minimum(contracted, _OF_LIMIT * own)
        self._robot_time, self._measured_s = -1.0, 0.0
        # The motion that takes control runs out when the first command is long in coming: then try at once.
        self._recovered_s = -math.inf
        self._velocity = np.zeros(_JOINTS)
        self._reference = Reference(contract, self._position())
        self._move()
        self.description = f"franka at {options.host}, franky {_version()}"

    def read(self, out: Readings) -> None:
        """The latest state that libfranka received; it ages while the connection or the control is lost."""
        if not self._robot.is_in_control:
            self._recover()
        try:
            state = self._robot.state
        except (self._franky.NetworkException, RuntimeError):
            return  # `out.time_s` grows old, which makes the loop hold
        stamp = state.time.to_sec()
        if stamp != self._robot_time:
            self._robot_time, self._measured_s = stamp, time.monotonic()
        addresses = self._kinematics.addresses
        addresses.place(self._data.qpos, state.q)
        addresses.place_velocity(self._data.qvel, state.dq)
        self._kinematics.read(self._data, out)
        out.joint_effort[:] = state.tau_J
        out.time_s = self._measured_s

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad for the coming control period."""
        if not self._robot.is_in_control:
            return
        self._reference.velocity(command, self._position(), self._velocity)
        np.clip(self._velocity, -self._velocity_max, self._velocity_max, out=self._velocity)
        self._move()

    def now_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Do nothing: the robot has no display."""

    def close(self) -> None:
        """Come to rest; the arm's own servo holds it."""
        franky = self._franky
        try:
            self._robot.move(franky.JointVelocityStopMotion(), asynchronous=True)
            self._robot.join_motion()
        except (franky.ControlException, franky.NetworkException, franky.CommandException, RuntimeError) as error:
            print(f"franka: the arm had left control before the end ({first_line(error)})", file=sys.stderr)

    def _connect(self) -> Any:
        franky = self._franky
        try:
            robot = franky.Robot(self._host, realtime_config=franky.RealtimeConfig.Ignore)
            robot.recover_from_errors()
        except (franky.NetworkException, franky.ControlException, franky.CommandException, RuntimeError) as error:
            raise ShoalError(
                f"--host: no Franka robot answers at {self._host} ({first_line(error)}); check the cable, and that "
                "FCI is activated in Desk."
            ) from error
        return robot

    def _move(self) -> None:
        """Send the present velocity; a refusal at the start is an error, later ones lead to a recovery."""
        franky = self._franky
        motion = franky.JointVelocityMotion(self._velocity, duration=franky.Duration(_VALID_MS))
        try:
            self._robot.move(motion, asynchronous=True)
        except (franky.ControlException, franky.CommandException, RuntimeError) as error:
            if self._robot_time < 0:
                raise ShoalError(
                    f"franka: {self._host} refuses control ({first_line(error)}); unlock the joints, and release "
                    "the stop."
                ) from error

    def _position(self) -> Float64:
        return np.asarray(self._robot.current_joint_state.position, np.float64).reshape(_JOINTS)

    def _recover(self) -> None:
        """Try, once a second, to take the arm over again where it stands; never raises.

        A new connection may keep the loop waiting, while nothing of it reaches the arm anyway.
        """
        if time.monotonic() - self._recovered_s < _RECOVER_EVERY_S:
            return
        try:
            self._robot.join_motion()
        except Exception as error:  # joining a motion that ended in a reflex raises what ended it
            self._say(f"left control: {first_line(error)}")
        try:
            self._take_over()
        except Exception as error:  # still down: the readings stay old, the loop holds, the next second tries again
            self._say(f"not yet recovered: {first_line(error)}")
        else:
            self.restarts += 1
            self._say("recovered, going on from where the arm stands")
        self._recovered_s = time.monotonic()

    def _take_over(self) -> None:
        franky = self._franky
        try:
            reflex = bool(self._robot.has_errors)
        except Exception:  # the connection itself is gone
            self._robot, reflex = self._connect(), False
        if reflex and not self._recover_reflexes:
            raise ShoalError(
                "the arm stopped itself in a reflex; look at it, then start again (--recover-reflexes does so unasked)."
            )
        self._robot.recover_from_errors()
        self._velocity[:] = 0.0
        self._reference.start(self._position())
        self._robot.move(
            franky.JointVelocityMotion(self._velocity, duration=franky.Duration(_VALID_MS)), asynchronous=True
        )

    def _say(self, sentence: str) -> None:
        """Say it on standard error, once."""
        if sentence != self._said:
            self._said = sentence
            print(f"franka: {sentence}", file=sys.stderr, flush=True)


def _import_franky() -> Any:
    try:
        return importlib.import_module("franky")
    except ImportError as error:
        raise ShoalError(f"--robot franka needs franky: pip install 'shoal[franka]' ({error}).") from error


def _version() -> str:
    from importlib import metadata

    return metadata.version("franky-control")
