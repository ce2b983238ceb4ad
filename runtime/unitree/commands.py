"""What the motors are told: positions with the contract's gains, or damping, and nothing for slots without a motor."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
from cyclonedds.core import DDSException

from runtime.robot.mujoco_robot import interpolate
from runtime.robot.readings import Float64
from runtime.ros2.domain import RELIABLE, Participant
from runtime.unitree.dds.messages import (
    HEAD,
    LOW_CMD,
    LOW_LEVEL,
    NO_MODE,
    NO_POSITION,
    NO_VELOCITY,
    SERVO_MODE,
    LowCmd,
)
from runtime.unitree.dds.packets import Packet
from runtime.unitree.motors import MotorMap
from sim2real.contract import Contract


class MotorCommands:
    """Writes `rt/lowcmd`. Targets are `[J]` rad, policy order; several references go out on the straight way from one
    to the next, because a motor jumps to what it is sent. Threads may take turns.
    """

    def __init__(
        self, participant: Participant, topic: str, motors: MotorMap, contract: Contract, *, command_hz: float
    ) -> None:
        joints = contract.robot.joints
        self.steps = max(1, round(command_hz * contract.timing.control_dt_s))
        """References in one control period."""
        self.sent_s = -math.inf
        """When the last command went out, monotonic."""
        self.silent = False
        """Whether nothing is sent: somebody else commands the robot."""
        self._motors = motors
        self._stiffness = np.array([joint.stiffness for joint in joints])
        self._damping = np.array([joint.damping for joint in joints])
        self._writer = participant.writer(topic, LowCmd, RELIABLE)
        self._packet = packet = Packet(LOW_CMD)
        packet["head"], packet["level_flag"] = HEAD, LOW_LEVEL
        self._slots = packet["motor_cmd"]
        self._slots["q"], self._slots["dq"], self._slots["mode"] = NO_POSITION, NO_VELOCITY, NO_MODE
        self._slots["mode"][motors.slots] = SERVO_MODE
        self._previous, self._target, self._between = (np.zeros(len(joints)) for _ in range(3))
        self._lock = threading.Lock()

    def begin(self, position: Float64) -> None:
        """The robot stands here, and no target is in force."""
        self._previous[:] = self._target[:] = self._between[:] = position

    def send(self, target: Float64) -> str:
        """A new target; what went wrong, or nothing. Never waits."""
        self._previous[:], self._target[:] = self._target, target
        return self.send_between(1 / self.steps)

    def send_between(self, fraction: float) -> str:
        """The reference at this fraction of the way from the target before to the newest."""
        interpolate(self._previous, self._target, fraction, self._between)
        return self.send_now(self._between)

    def send_now(self, reference: Float64) -> str:
        """One reference `[J]` rad, at once."""
        return self._send(reference * self._motors.signs, 0.0, self._stiffness, self._damping)

    def damp(self, damping: float) -> str:
        """No stiffness, and every motor resists being moved by so many N m s/rad."""
        return self._send(NO_POSITION, 0.0, 0.0, damping)

    def listeners(self) -> int:
        """How many robots take what is sent."""
        return len(self._writer.get_matched_subscriptions())

    def _send(self, q: Float64 | float, dq: float, kp: Float64 | float, kd: Float64 | float) -> str:
        if self.silent:
            return ""
        with self._lock:
            slots, where = self._slots, self._motors.slots
            slots["q"][where], slots["dq"][where], slots["kp"][where], slots["kd"][where] = q, dq, kp, kd
            self._packet.seal()
            try:
                self._writer.write(LowCmd(self._packet.cdr()))
            except DDSException as error:
                return f"a command could not be sent ({error.msg})"
            self.sent_s = time.monotonic()
        return ""


class Holding:
    """A thread that keeps sending one posture until the control loop commands the robot, since motors that are told
    nothing let go.
    """

    def __init__(self, commands: MotorCommands, posture: Float64, period_s: float) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(commands, posture.copy(), period_s), name="unitree-holding", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """Send no more."""
        self._ended.set()
        self._thread.join()

    def _run(self, commands: MotorCommands, posture: Float64, period_s: float) -> None:
        while not self._ended.wait(period_s):
            commands.send_now(posture)
