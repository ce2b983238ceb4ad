"""What a ros2_control robot calls things: the YAML of `runtime serve --robot ros2 --robot-config robot.yaml`.

    namespace: /arm
    joint_names: {fr3_joint1: left_joint_1, fr3_joint2: left_joint_2}    # the contract's name: the robot's
    command: {kind: trajectory, topic: joint_trajectory_controller/joint_trajectory}

Every field has a default, which is what ros2_control calls it, so that the file may be left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.files import read_model
from sim2real.frozen import Frozen, Positive


class TrajectoryCommand(Frozen):
    """A joint_trajectory_controller: every target as a trajectory of one point, due one control period later."""

    kind: Literal["trajectory"] = "trajectory"
    topic: str = "joint_trajectory_controller/joint_trajectory"


class ForwardCommand(Frozen):
    """A forward_command_controller or position_controllers/JointGroupPositionController: an array of positions."""

    kind: Literal["forward"] = "forward"
    topic: str = "forward_position_controller/commands"
    joints: tuple[str, ...] = ()
    """The controller's joints in its own order, as the robot calls them; the contract's order if not given."""
    rate_hz: Positive = 250.0
    """How often a reference is sent on the straight way from one target to the next; such controllers jump to it."""


class ObjectPose(Frozen):
    """Where a tracker's poses of the object come from, for policies that move one."""

    topic: str = "object_pose"
    frame: str = "world"
    """What the robot calls the policy's frame; no other `header.frame_id` is taken, unless `tf` is true."""
    tf: bool = False
    """Whether poses in other frames are carried there by /tf and /tf_static, which the control loop then reads."""
    tf_max_age_s: Positive = 1.0
    """How long a transform on /tf counts after it came."""
    max_age_s: Positive = 0.5
    """Beyond which the object's place is unknown again."""


class BaseTopics(Frozen):
    """Where a floating base is and how it turns, for policies that read it."""

    odometry: str = "odom"
    """nav_msgs/Odometry: the pose in the policy's world, the twist in the base's own frame."""
    imu: str = "imu"
    """sensor_msgs/Imu, in the base's own frame."""


class Ros2RobotConfig(Frozen):
    """Topics, names and the kind of controller."""

    namespace: str = ""
    """Before every topic's name."""
    joint_states: str = "joint_states"
    joint_names: dict[str, str] = Field(default_factory=dict)
    """The robot's name of each of the contract's joints, where it is another."""
    command: Annotated[TrajectoryCommand | ForwardCommand, Field(discriminator="kind")] = TrajectoryCommand()
    object_pose: ObjectPose = ObjectPose()
    base: BaseTopics = BaseTopics()
    stamps: Literal["arrival", "header"] = "arrival"
    """How old readings are: since they arrived, or since their header's stamp, for machines whose clocks agree."""
    use_sim_time: bool = False
    """Whether time is a simulation's, on /clock: the loop then goes as fast as that does, and waits while it waits."""
    wait_s: Positive = 10.0
    """How long to wait for the robot at the start."""
    network: bool = False
    """Let robots on other machines be found. Without this, only the loopback interface is used."""

    def topic(self, name: str) -> str:
        """A topic's whole name."""
        prefix = self.namespace.strip("/")
        return f"{prefix}/{name}" if prefix and not name.startswith("/") else name

    def names(self, contract: Contract) -> tuple[str, ...]:
        """What the robot calls the contract's joints, in policy order."""
        unknown = sorted({*self.joint_names} - {*contract.joint_names})
        if unknown:
            raise ContractMismatch(
                f"--robot-config: joint_names: {', '.join(map(repr, unknown))} in the file, "
                f"{list(contract.joint_names)} in the policy."
            )
        names = tuple(self.joint_names.get(name, name) for name in contract.joint_names)
        if len({*names}) < len(names):
            raise ShoalError(f"--robot-config: joint_names give one name to two joints: {list(names)}.")
        return names


def load_config(path: Path | None) -> Ros2RobotConfig:
    """From a YAML file, or all defaults; raises `ShoalError` on anything invalid."""
    if path is None:
        return Ros2RobotConfig()
    return read_model(Ros2RobotConfig, path, what="--robot-config", may_be_empty=True)
