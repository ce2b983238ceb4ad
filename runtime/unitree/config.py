"""Where the robot is and how it is driven: the YAML of `runtime serve --robot unitree --robot-config robot.yaml`.

    interface: enp2s0
    odometry: {kind: odometry, topic: utlidar/robot_odom}

Every field has a default, which fits `runtime simulate --protocol unitree`, so that the file may be left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sim2real.files import read_model
from sim2real.frozen import Frozen, NonNegative, Positive


class OdometrySource(Frozen):
    """Where the base's pose comes from, for policies that read it. Motors and inertial unit do not tell."""

    kind: Literal["sport_mode_state", "odometry"] = "sport_mode_state"
    """The robot's own motion service (unitree_go/SportModeState), which is silent while that is released, as it is on a
    real robot that takes low-level commands; or nav_msgs/Odometry, of a lidar say."""
    topic: str = ""
    """`sportmodestate` or `utlidar/robot_odom` if not given; the DDS topic begins with `rt/`."""
    max_age_s: Positive = 0.2
    """Beyond which nobody knows where the base is; the robot then holds its stance."""
    origin: Literal["source", "start"] = "source"
    """Where goals count from: the source's own origin, or where the robot is when the driver starts, facing along x."""

    @property
    def topic_name(self) -> str:
        """The topic without `rt/`."""
        return self.topic or ("sportmodestate" if self.kind == "sport_mode_state" else "utlidar/robot_odom")


class StandUp(Frozen):
    """How the robot gets from where it lies to the policy's home before the policy takes over: by a straight way in
    joint space to a folded posture, and from there to home.
    """

    folded_rad: tuple[float, float, float] = (0.0, 1.36, -2.65)
    """Hip, thigh and calf of a robot that lies on its belly, legs under it."""
    speed_rad_s: Positive = 1.0
    """Of the joint with the longest way, at most."""
    settle_s: NonNegative = 0.5
    """How long it stands before the policy takes over."""
    error_max_rad: Positive = 0.6
    """How far a joint may be from where it is sent."""
    tilt_max_deg: Positive = 40.0
    """How far the base may lean."""
    max_age_s: Positive = 0.1
    """How old the newest state may be."""


class UnitreeConfig(Frozen):
    """Topics, motors, odometry and posture ramp."""

    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:@-]*$")] = ""
    """Network interface that leads to the robot, enp2s0 say; only the loopback interface if not given."""
    joint_names: dict[str, str] = Field(default_factory=dict)
    """The robot's name of a joint of the contract, where it is none that `runtime.unitree.motors` knows."""
    reversed: tuple[str, ...] = ()
    """Joints of the contract that turn the other way round."""
    command_hz: Annotated[float, Field(ge=50, le=1000)] = 500.0
    """How often a reference is sent on the straight way from one target to the next."""
    motor_watchdog_s: Positive = 0.1
    """After so long without a command the motors have let go, so that the robot is taken over anew from where it is."""
    odometry: OdometrySource = OdometrySource()
    stand_up: StandUp = StandUp()
    damping: Positive = 8.0
    """N m s/rad, of all joints at the end, when nothing else holds them."""
    damp_for_s: Positive = 1.0
    """How long that is sent before the driver leaves."""
    wait_s: Positive = 10.0
    """How long to wait for the robot at the start."""


def load_config(path: Path | None) -> UnitreeConfig:
    """From a YAML file, or all defaults; raises `ShoalError` on anything invalid."""
    if path is None:
        return UnitreeConfig()
    return read_model(UnitreeConfig, path, what="--robot-config", may_be_empty=True)
