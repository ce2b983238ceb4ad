"""A Franka FR3 (or Panda) through libfranka, by way of franky: `runtime serve --robot franka --host 172.16.0.2`.

The servo is a joint impedance controller at 1 kHz in libfranka's own thread, with the contract's stiffness and
damping; its reference is moved here, linearly within each control period and `servo_steps` times in it, as in training.
When the arm leaves control (a reflex, the user stop, a lost connection) the last target no longer holds anything:
readings age, the loop holds, and `read` tries to recover. After a recovery the loop begins anew from the measured
joints.

The robot's load and frames (F_T_EE, EE_T_K) are left as configured in Desk: the tool's pose comes from the contract's
own kinematics, not from them.
"""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

import mujoco
import numpy as np

from runtime.drivers.base import DriverOptions
from runtime.drivers.mujoco import require_same_model, shipped_mjcf
from runtime.goals import ResolvedGoal
from runtime.mujoco_robot import MujocoRobot, interpolate
from runtime.safety import Float64, Readings
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.model import load_mjcf

_SERVO_HZ = 250.0
_RECOVER_EVERY_S = 1.0
_JOINTS = 7
_START_TOLERANCE_RAD = 0.05


class FrankaDriver:
    """See `runtime.drivers.base.ServoDriver`. Raises `ShoalError` when the robot cannot be reached or taken over."""

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        if not options.host:
            raise ShoalError("--host: give the address of the robot's control box, for example --host 172.16.0.2.")
        if len(contract.joint_names) != _JOINTS:
            raise ContractMismatch(
                f"robot.joints: {len(contract.joint_names)} in the policy, {_JOINTS} on a Franka arm."
            )
        self._franky = _import_franky()
        self._host = options.host
        path = shipped_mjcf(contract.robot.name)
        model = load_mjcf(path)
        require_same_model(model, contract, path)
        self._kinematics, self._data = MujocoRobot(model, contract), mujoco.MjData(model)
        self._stiffness = np.array([joint.stiffness_nm_rad for joint in contract.robot.joints])
        self._damping = np.array([joint.damping_nms_rad for joint in contract.robot.joints])
        self.joint_names = contract.joint_names
        self.owns_clock = False
        self.period_s = contract.timing.control_dt_s
        self.servo_steps = max(1, round(self.period_s * _SERVO_HZ))
        self.restarts = 0
        self._robot = self._connect()
        self._robot_time, self._measured_s, self._recovered_s = -1.0, 0.0, time.monotonic()
        measured = self._position()
        self._previous, self._target, self._between = measured.copy(), measured.copy(), measured.copy()
        self._tracker = self._take_control()
        self.description = f"franka at {options.host}, franky {_version()}, servo {_SERVO_HZ:g} Hz"

    def read(self, out: Readings) -> None:
        """The latest state that libfranka received; it ages while the connection or the control is lost."""
        if not self._robot.is_in_control:
            self._recover()
        try:
            state = self._robot.state
        except self._franky.NetworkException:
            return  # `out.time_s` grows old, which makes the loop hold
        stamp = state.time.to_sec()
        if stamp != self._robot_time:
            self._robot_time, self._measured_s = stamp, time.monotonic()
        addresses = self._kinematics.addresses
        self._data.qpos[addresses.qpos], self._data.qvel[addresses.dof] = state.q, state.dq
        self._kinematics.read(self._data, out)
        out.time_s = self._measured_s

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad for the coming control period."""
        np.copyto(self._previous, self._target)
        np.copyto(self._target, command)
        self.servo(1 / self.servo_steps)

    def servo(self, fraction: float) -> None:
        """Move the servo's reference to a fraction of the way to the newest target."""
        interpolate(self._previous, self._target, fraction, self._between)
        if self._robot.is_in_control:
            self._tracker.set_target(self._between)

    def now_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Ramp the torques down; the arm's own brakes and servo hold it."""
        try:
            self._tracker.stop()
        except self._franky.ControlException as error:
            print(f"franka: the arm had left control before the end ({_first_line(error)})", file=sys.stderr)

    def _connect(self) -> Any:
        franky = self._franky
        try:
            robot = franky.Robot(self._host, realtime_config=franky.RealtimeConfig.Ignore)
            robot.recover_from_errors()
        except (franky.NetworkException, franky.ControlException, franky.CommandException, RuntimeError) as error:
            raise ShoalError(
                f"--host: no Franka robot answers at {self._host} ({_first_line(error)}); check the cable, and that "
                "FCI is activated in Desk."
            ) from error
        return robot

    def _take_control(self) -> Any:
        franky = self._franky
        try:
            tracker = franky.JointImpedanceTracker(self._robot, stiffness=self._stiffness, damping=self._damping)
        except (franky.ControlException, franky.CommandException, RuntimeError) as error:
            raise ShoalError(
                f"franka: {self._host} refuses control ({_first_line(error)}); unlock the joints, and release the stop."
            ) from error
        return tracker

    def _recover(self) -> None:
        """Try, once a second, to take the arm over again where it stands; never raises."""
        now = time.monotonic()
        if now - self._recovered_s < _RECOVER_EVERY_S:
            return
        self._recovered_s = now
        try:
            self._tracker.stop()
        except Exception as error:  # joining a motion that ended in a reflex raises what ended it
            print(f"franka: left control: {_first_line(error)}", file=sys.stderr, flush=True)
        try:
            self._robot.recover_from_errors()
            measured = self._position()
            self._tracker = self._take_control()
        except Exception as error:  # still down: the readings stay old, the loop holds, the next second tries again
            print(f"franka: not yet recovered: {_first_line(error)}", file=sys.stderr, flush=True)
            return
        for array in (self._previous, self._target):
            np.copyto(array, measured)
        self.restarts += 1
        print("franka: recovered, going on from where the arm stands", file=sys.stderr, flush=True)

    def _position(self) -> Float64:
        return np.asarray(self._robot.current_joint_state.position, np.float64).reshape(_JOINTS)


def _import_franky() -> Any:
    try:
        return importlib.import_module("franky")
    except ImportError as error:
        raise ShoalError(f"--robot franka needs franky: pip install 'shoal[franka]' ({error}).") from error


def _version() -> str:
    from importlib import metadata

    return metadata.version("franky-control")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
