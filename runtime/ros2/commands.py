"""Joint targets as messages that controllers of ros2_control take."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from cyclonedds.core import DDSException
from cyclonedds.idl import IdlStruct
from cyclonedds.pub import DataWriter

from runtime.robot.mujoco_robot import interpolate
from runtime.robot.readings import Float64
from runtime.ros2 import messages as ros
from runtime.ros2.domain import Participant
from runtime.ros2.robot_config import ForwardCommand, Ros2RobotConfig, TrajectoryCommand
from sim2real.errors import ContractMismatch

_Message = TypeVar("_Message", bound=IdlStruct)


class Commands(Protocol):
    """Where targets `[J]` rad go, in the order of `names`."""

    steps: int
    """References sent in one control period."""

    def begin(self, position: Float64) -> None:
        """The robot stands here, and nothing was sent yet."""

    def send(self, target: Float64) -> str:
        """A new target; what went wrong, or nothing. Never waits."""

    def send_between(self, fraction: float) -> str:
        """The reference at this fraction of the way from the target before."""

    def listeners(self) -> int:
        """How many controllers take what is sent."""


def make_commands(
    participant: Participant, config: Ros2RobotConfig, names: tuple[str, ...], period_s: float
) -> Commands:
    """The commands of the configured kind."""
    command, topic = config.command, config.topic(config.command.topic)
    if isinstance(command, TrajectoryCommand):
        return _Trajectories(participant.writer(topic, ros.JointTrajectory), names, period_s)
    return _Arrays(participant.writer(topic, ros.Float64MultiArray), command, names, period_s)


class _Trajectories:
    """One point, to be reached one control period after it arrives: the controller interpolates."""

    steps = 1

    def __init__(self, writer: DataWriter[ros.JointTrajectory], names: tuple[str, ...], period_s: float) -> None:
        self._writer, self._names = writer, list(names)
        seconds, fraction = divmod(period_s, 1.0)
        self._due = ros.Duration(int(seconds), round(1e9 * fraction))
        # A stamp of zero begins at once, whatever the two clocks say.
        self._header = ros.Header(ros.Time(0, 0), "")

    def begin(self, position: Float64) -> None:
        """Nothing to remember."""

    def send(self, target: Float64) -> str:
        """See `Commands`."""
        point = ros.JointTrajectoryPoint(target.tolist(), [], [], [], self._due)
        return _written(self._writer, ros.JointTrajectory(self._header, self._names, [point]))

    def send_between(self, fraction: float) -> str:
        """Nothing: the controller does it."""
        return ""

    def listeners(self) -> int:
        """See `Commands`."""
        return len(self._writer.get_matched_subscriptions())


class _Arrays:
    """Positions alone, several to a period, because such a controller jumps to what it is sent."""

    def __init__(
        self,
        writer: DataWriter[ros.Float64MultiArray],
        command: ForwardCommand,
        names: tuple[str, ...],
        period_s: float,
    ) -> None:
        joints = command.joints or names
        if sorted(joints) != sorted(names):
            raise ContractMismatch(
                f"--robot-config: command.joints: {list(joints)} in the file, {list(names)} in the policy, as the "
                "robot calls them."
            )
        self._writer = writer
        self._order = np.array([names.index(name) for name in joints])
        self.steps = max(1, round(command.rate_hz * period_s))
        self._layout = ros.MultiArrayLayout([], 0)
        self._previous, self._target, self._between = (np.zeros(len(names)) for _ in range(3))

    def begin(self, position: Float64) -> None:
        """See `Commands`."""
        self._previous[:] = self._target[:] = position

    def send(self, target: Float64) -> str:
        """See `Commands`."""
        self._previous[:], self._target[:] = self._target, target
        return self.send_between(1 / self.steps)

    def send_between(self, fraction: float) -> str:
        """See `Commands`."""
        interpolate(self._previous, self._target, fraction, self._between)
        return _written(self._writer, ros.Float64MultiArray(self._layout, self._between[self._order].tolist()))

    def listeners(self) -> int:
        """See `Commands`."""
        return len(self._writer.get_matched_subscriptions())


def _written(writer: DataWriter[_Message], message: _Message) -> str:
    try:
        writer.write(message)
    except DDSException as error:
        return f"a command could not be sent ({error.msg})"
    return ""
