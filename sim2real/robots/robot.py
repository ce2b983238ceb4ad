"""The robot part of the contract: what the policy commands, within which limits, and how everything else stands."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from sim2real.frozen import Frozen, Name, NonNegative, Positive

_LARGEST = {
    **dict.fromkeys(("position_min", "position_max", "velocity_max", "home_position"), 1e4),
    **dict.fromkeys(("effort_max", "stiffness", "damping", "command_min", "command_max"), 1e8),
}
"""In the units of a joint: beyond is no robot, but a number that was damaged or stands in another unit."""


class Joint(Frozen):
    """One actuated coordinate: a joint, or a tendon that moves several (a gripper), with its limits, drive and home.

    Units are rad and N m for hinges, m and N for slides; a tendon has those of the joints that it moves. The force is
    limited to `effort_max` both ways, and otherwise

        stiffness (command - position) - damping velocity      mode position, command in rad or m
        damping (command - velocity)                           mode velocity, command in rad/s or m/s
        command                                                mode effort, command in N m or N
    """

    name: str
    """Of the joint or tendon in the MJCF."""
    kind: Literal["hinge", "slide", "tendon"] = "hinge"
    mode: Literal["position", "velocity", "effort"] = "position"
    """What its drive is told."""
    position_min: float
    position_max: float
    continuous: bool = False
    """Turns without end: `position_min` and `position_max` are -pi and pi, for scaling only."""
    velocity_max: Positive
    effort_max: Positive
    stiffness: NonNegative
    damping: NonNegative
    home_position: float
    command_min: float | None = None
    """Least command, where the drive takes less than the joint could do; None where it takes all of it."""
    command_max: float | None = None
    """Largest command, likewise."""
    moves: tuple[tuple[str, float], ...] = ()
    """Of a tendon: joints and coefficients, so that its position is the sum of coefficient times joint position."""
    declared_servo: bool = False
    """Whether the task declares the drive as a position servo, in the place of what the MJCF has."""

    @property
    def position_range(self) -> tuple[float, float]:
        """Least and largest position; infinite where it turns without end."""
        return (-math.inf, math.inf) if self.continuous else (self.position_min, self.position_max)

    @property
    def command_range(self) -> tuple[float, float]:
        """Least and largest command, by `mode`."""
        low, high = {
            "position": self.position_range,
            "velocity": (-self.velocity_max, self.velocity_max),
            "effort": (-self.effort_max, self.effort_max),
        }[self.mode]
        return (
            low if self.command_min is None else max(low, self.command_min),
            high if self.command_max is None else min(high, self.command_max),
        )

    @property
    def command_unit(self) -> str:
        """Of what its drive is told; of a tendon as if its joints were hinges."""
        length = "m" if self.kind == "slide" else "rad"
        force = "N" if self.kind == "slide" else "N m"
        return {"position": length, "velocity": f"{length}/s", "effort": force}[self.mode]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field, largest in _LARGEST.items():
            value = getattr(self, field)
            if value is not None and abs(value) > largest:
                raise ValueError(f"joint {self.name!r}: {field} {value:g} is beyond {largest:g}, and no robot's")
        low, high = self.position_min, self.position_max
        if not low < high:
            raise ValueError(f"joint {self.name!r}: position_min {low} must be below position_max {high}")
        if not self.continuous and not low <= self.home_position <= high:
            raise ValueError(f"joint {self.name!r}: home_position {self.home_position} is outside [{low}, {high}]")
        least, largest = self.command_range
        if not least < largest:
            raise ValueError(f"joint {self.name!r}: command_min {least} must be below command_max {largest}")
        if self.mode == "position" and not least <= self.home_position <= largest:
            raise ValueError(
                f"joint {self.name!r}: home_position {self.home_position} is outside its commands [{least}, {largest}]"
            )
        needed = {"position": "stiffness", "velocity": "damping", "effort": None}[self.mode]
        if needed and getattr(self, needed) <= 0:
            raise ValueError(f"joint {self.name!r}: {needed} must be above 0 in mode {self.mode}")
        return self


class Standing(Frozen):
    """Where a body outside the task's joints stands at home, where the MJCF's zero (`qpos0`) is another place."""

    body: str
    position: tuple[float, ...]
    """Of its joints, one after the other as in `qpos`: rad, m; seven numbers of a free joint, quaternion wxyz."""


class HeldServo(Frozen):
    """A position servo that the task declares for a joint that no policy commands, so that it does not hang limp."""

    joint: str
    stiffness: Positive
    damping: NonNegative
    effort_max: Positive


class Held(Frozen):
    """The control that an actuator outside the task keeps, where it isn't 0 or where the task declares the actuator."""

    actuator: str
    control: float
    servo: HeldServo | None = None


class Robot(Frozen):
    """The robot that the policy was trained on."""

    name: Name
    mjcf_sha256: str
    """Digest of the compiled model, see `sim2real.robots.model.compiled_digest`."""
    joints: Annotated[tuple[Joint, ...], Field(min_length=1)]
    """In policy order."""
    base: Literal["fixed", "floating"] = "fixed"
    base_frame: str = "world"
    end_effector_frame: str | None
    """Name of the MJCF site, or body, of the tool; None for a robot without one."""
    standing: tuple[Standing, ...] = ()
    held: tuple[Held, ...] = ()

    @property
    def command_unit(self) -> str:
        """Of what the drives are told; several where they differ, in the joints' order."""
        return ", ".join(dict.fromkeys(joint.command_unit for joint in self.joints))

    @property
    def tells_positions(self) -> bool:
        """Whether all drives are told positions."""
        return all(joint.mode == "position" for joint in self.joints)

    def at_rest(self, xp: ModuleType, joint_position: Any) -> Any:
        """Commands `[..., J]` with which drives rest at positions `[..., J]`: these, or no velocity and no effort."""
        positions = np.array([joint.mode == "position" for joint in self.joints])
        return joint_position if self.tells_positions else xp.where(positions, joint_position, np.float32(0))

    @model_validator(mode="after")
    def _unique_joints(self) -> Self:
        names = [joint.name for joint in self.joints]
        if len(set(names)) != len(names):
            raise ValueError(f"robot.joints: names must be unique, got {names}")
        return self
