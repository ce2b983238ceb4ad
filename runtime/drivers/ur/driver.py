"""An arm of Universal Robots through RTDE, by way of ur_rtde: `runtime serve --robot ur --host 192.168.0.10`.

ur_rtde runs a program of its own on the robot's controller, which reads its commands from RTDE's input registers, and
receives the controller's state up to 500 times a second. Between two commands of the policy the reference moves in a
straight line, sent 125 times a second with `servoJ`, whose look-ahead time is the lag of the contract's servo, within
what `servoJ` takes. A watchdog on the controller ends the program, and with it any motion, when nothing comes for a
quarter of a second: then this process, or the network, is gone.

When the program does not run (a protective or an emergency stop, somebody stopped it on the pendant, a lost connection)
the readings age and the loop holds. The connection is taken up again as soon as it can be; a program that was stopped
begins again by itself only with `--recover-reflexes`. The loop then begins anew from the measured joints.

Payload and tool centre point are left as configured on the pendant: the tool's pose comes from the contract's own
kinematics, not from them.
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
from runtime.robot.mujoco_robot import MujocoRobot, interpolate
from runtime.robot.readings import Float64, Readings
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError, first_line

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
"""In the controller's order. The contract's names are these with any prefix, and `_joint` or nothing behind."""
_VARIABLES = ["timestamp", "actual_q", "actual_qd", "robot_status_bits", "safety_status_bits", "speed_scaling"]
_SERVO_S = 0.008
_LOOKAHEAD_S = (0.03, 0.2)
"""The least and the most that `servoJ` takes."""
_GAIN = 300.0
"""Of `servoJ`, which takes 100 to 2000: its own default."""
_WATCHDOG_HZ = 4.0
_PROGRAM_RUNNING = 0b10
"""Of the robot's status bits."""
_STOPS = {
    2: "a protective stop",
    4: "a safeguard stop",
    5: "an emergency stop of the system",
    6: "an emergency stop of the robot",
    7: "an emergency stop",
    8: "a violation of its safety limits",
    9: "a fault",
    10: "a stop for safety",
}
"""By their number among the bits of the safety status."""
_LOST_S = 0.5
"""After which a connection that tells nothing counts as lost."""
_RECOVER_EVERY_S = 1.0
_NO_CONNECTION = "the connection is lost"


class UrDriver:
    """A `ServoDriver` and `RecoveringDriver` of `runtime.drivers.base`. Raises `ShoalError` when no robot answers."""

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        if not options.host:
            raise ShoalError("--host: give the address of the robot's controller, for example --host 192.168.0.10.")
        self._order = controller_order(contract)
        self._rtde_receive, self._rtde_control = _import("rtde_receive"), _import("rtde_control")
        self._host, self._restarts_program = options.host, options.recover_reflexes
        model = load_model(contract, options.mjcf)
        self._kinematics = MujocoRobot(model, contract)
        self._data = self._kinematics.addresses.home_data(model)
        self.joint_names = contract.joint_names
        self.owns_clock = False
        self.period_s = contract.timing.control_dt_s
        self.servo_steps = max(1, round(self.period_s / _SERVO_S))
        self.restarts = 0
        self._servo = (0.0, 0.0, self.period_s / self.servo_steps, lookahead_s(contract), _GAIN)
        self._position, self._velocity, self._previous, self._target, self._between = (
            np.zeros(len(JOINTS)) for _ in range(5)
        )
        self._said, self._recovered_s = "", -math.inf
        self._stamp = self._measured_s = -1.0
        self._problem_kept = ""
        """Why the arm is not in control, until it is taken over again."""
        self._lost = False
        """Whether that is the connection."""
        self._sent = True
        """Whether a reference was sent since the last reading."""
        self._receive: Any = None
        self._control: Any = None
        self._take_over()
        self.description = f"ur at {options.host}, ur_rtde {_version()}"

    def read(self, out: Readings) -> None:
        """The newest state that was received; it ages while the connection or the program is lost."""
        if problem := self._problem():
            self._recover(problem)
            return
        if self._receive.getSpeedScaling() < 1:
            self._say("the speed slider is below 100 %: the arm will lag behind what it is told")
        if not self._sent:
            self._control.kickWatchdog()
        self._sent = False
        self._take()
        addresses = self._kinematics.addresses
        addresses.place(self._data.qpos, self._position)
        addresses.place_velocity(self._data.qvel, self._velocity)
        self._kinematics.read(self._data, out)
        out.time_s = self._measured_s

    def write(self, command: Float64) -> None:
        """Targets `[J]` rad for the coming control period."""
        self._previous[:], self._target[:] = self._target, command
        self.servo(1 / self.servo_steps)

    def servo(self, fraction: float) -> None:
        """The reference on the way to the newest target. Returns at once where the program does not run."""
        interpolate(self._previous, self._target, fraction, self._between)
        # Without the program, ur_rtde would wait for it.
        if self._problem_kept or not self._runs():
            return
        try:
            self._control.servoJ(self._between[self._order].tolist(), *self._servo)
            self._sent = True
        except RuntimeError:  # the connection broke in this moment
            self._problem_kept, self._lost = _NO_CONNECTION, True

    def now_s(self) -> float:
        """Monotonic time."""
        return time.monotonic()

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Do nothing: the robot has no display."""

    def close(self) -> None:
        """Come to rest, and end the program; the arm's own brakes and servos hold it."""
        try:
            if not self._problem():
                self._control.servoStop()
                self._control.stopScript()
            self._disconnect()
        except RuntimeError as error:
            print(f"ur: the arm had left control before the end ({first_line(error)})", file=sys.stderr)

    def _take_over(self) -> None:
        """Connect, for the state and for control, start the program, and begin from where the arm stands."""
        try:
            self._receive = self._rtde_receive.RTDEReceiveInterface(self._host, -1.0, _VARIABLES)
            if stop := self._stop():
                raise ShoalError(f"ur: {self._host} is in {stop}; look at the robot, and release it on the pendant.")
            self._control = self._rtde_control.RTDEControlInterface(self._host)
            self._control.setWatchdog(_WATCHDOG_HZ)
        except (RuntimeError, ValueError) as error:
            raise ShoalError(
                f"--host: no robot of Universal Robots can be taken over at {self._host} ({first_line(error)}); check "
                "the cable, and that the robot is on and in remote control."
            ) from error
        self._stamp, self._problem_kept, self._lost, self._sent = -1.0, "", False, True
        self._take()
        self._previous[:] = self._target[:] = self._position

    def _take(self) -> None:
        stamp = self._receive.getTimestamp()
        if stamp != self._stamp:
            self._stamp, self._measured_s = stamp, time.monotonic()
            self._position[self._order] = self._receive.getActualQ()
            self._velocity[self._order] = self._receive.getActualQd()

    def _problem(self) -> str:
        """Why the arm does not do what it is told, in words; empty if it does."""
        if not self._problem_kept:
            self._problem_kept, self._lost = self._look()
        return self._problem_kept

    def _look(self) -> tuple[str, bool]:
        """What is wrong now, and whether that is the connection."""
        if not self._receive.isConnected() or not self._control.isConnected():
            return _NO_CONNECTION, True
        if self._receive.getTimestamp() == self._stamp and time.monotonic() - self._measured_s > _LOST_S:
            return f"nothing has come for {_LOST_S:g} s", True
        return self._stop() or ("" if self._runs() else "the program was stopped"), False

    def _recover(self, problem: str) -> None:
        """Try, once a second, to go on; never raises. It may keep the loop waiting, while nothing reaches the arm."""
        if time.monotonic() - self._recovered_s < _RECOVER_EVERY_S:
            return
        if not self._lost and not self._restarts_program:
            self._say(f"{problem}; look at the robot, then start again (--recover-reflexes goes on unasked)")
            return
        self._say(problem)
        try:
            self._disconnect()
            self._take_over()
        except (ShoalError, RuntimeError) as error:
            self._say(f"not yet recovered: {first_line(error)}")
        else:
            self.restarts += 1
            self._say("in control again, going on from where the arm stands")
        self._recovered_s = time.monotonic()

    def _runs(self) -> bool:
        return bool(self._receive.getRobotStatus() & _PROGRAM_RUNNING)

    def _stop(self) -> str:
        """Which stop the controller is in, if any."""
        bits = self._receive.getSafetyStatusBits()
        return next((name for bit, name in _STOPS.items() if bits >> bit & 1), "")

    def _disconnect(self) -> None:
        self._control.disconnect()
        self._receive.disconnect()

    def _say(self, sentence: str) -> None:
        """Say it on standard error, once."""
        if sentence != self._said:
            self._said = sentence
            print(f"ur: {sentence}", file=sys.stderr, flush=True)


def controller_order(contract: Contract) -> np.ndarray:
    """Where the controller's joints are in the policy's order, `[6]`; `ContractMismatch` where they are others."""
    plain = [name.removesuffix("_joint") for name in contract.joint_names]
    found = [[place for place, name in enumerate(plain) if name.endswith(joint)] for joint in JOINTS]
    if len(plain) != len(JOINTS) or any(len(places) != 1 for places in found):
        raise ContractMismatch(
            f"robot.joints: {list(contract.joint_names)} in the policy, {[f'{joint}_joint' for joint in JOINTS]} on an "
            "arm of Universal Robots, with any prefix and in any order."
        )
    return np.array([places[0] for places in found])


def lookahead_s(contract: Contract) -> float:
    """The lag of the contract's slowest servo, as far as `servoJ` can have it."""
    lag = max(joint.damping / joint.stiffness for joint in contract.robot.joints)
    return min(max(lag, _LOOKAHEAD_S[0]), _LOOKAHEAD_S[1])


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ShoalError(f"--robot ur needs ur_rtde: pip install 'shoal[ur]' ({error}).") from error


def _version() -> str:
    from importlib import metadata

    return metadata.version("ur-rtde")
