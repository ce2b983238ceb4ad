"""The part of a task file that names the robot: its MJCF, the joints of the task, home, limits and drives."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sim2real.frozen import Frozen, Name, NonNegative, Positive


class Servo(Frozen):
    """A position servo that the task declares, in the place of whatever drives the joint in the MJCF."""

    stiffness: Positive
    """N m/rad, or N/m for slides."""
    damping: NonNegative
    """N m s/rad, or N s/m for slides."""
    effort_max: Positive | None = None
    """N m, or N for slides; where it is not given, the limit that the MJCF has."""


class RobotConfig(Frozen):
    """Which MJCF, and which of its names the task uses."""

    name: Name
    mjcf: str
    """Path of the MJCF, relative to the task file."""
    joints: Annotated[list[str], Field(min_length=1)]
    """Actuated joints, or tendons that an actuator pulls, in policy order."""
    velocity_max: list[Positive]
    """Velocity limit of each joint, rad/s or m/s; MJCF has no field for it."""
    end_effector_site: str | None = None
    """The site, or body, at the tool; robots without a tool have none."""
    home: str | int | dict[str, float | list[float]] | None = None
    """A keyframe by name or number, or the position of each joint that is not zero: seven numbers of a free joint,
    which may be called by its body."""
    home_keyframe: str = "home"
    """A keyframe by name, where `home` is not given."""
    servo: Servo | dict[str, Servo] | None = None
    """Position servos in the place of the MJCF's actuators, or for want of any: one for all joints, or one by name."""

    def servos(self) -> dict[str, Servo]:
        """The declared servos by joint."""
        if self.servo is None:
            return {}
        return self.servo if isinstance(self.servo, dict) else dict.fromkeys(self.joints, self.servo)
