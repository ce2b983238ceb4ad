"""Actions on joints, one number each: positions, velocities, efforts, and grippers that open and close."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import model_validator

from sim2real.errors import ShoalError
from sim2real.frozen import Positive, Share
from sim2real.terms.actions.base import Action, Array, Mode, require_alike, require_home_alike

if TYPE_CHECKING:
    from sim2real.contract import Contract, Joint
    from sim2real.terms.scene import Scene
    from sim2real.terms.sides import Mirrored


class JointPositionIncrement(Action):
    """Each joint's target moves by up to `step_max`, and stays within `window` of the measured position, against
    wind-up when the arm is blocked.
    """

    kind: str = "joint_position_increment"
    window: Positive = 0.3
    """Largest distance between target and measured position, rad or m."""

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """The last target and a step, within the window."""
        window, position = np.float32(self.window), readings[self.measured]
        wanted = readings[self.previous] + np.array(self.step_max, np.float32) * action
        return xp.minimum(xp.maximum(wanted, position - window), position + window)

    def mirrored(self, contract: Contract, joints: Mirrored) -> Mirrored:
        """As joints do."""
        require_alike(self.kind, joints, step_max=self.step_max)
        return joints

    def towards(self, xp: ModuleType, contract: Contract, present: Array, posture: Array) -> Array:
        """By the largest steps."""
        return xp.clip((posture - present) / np.array(self.step_max, np.float32), -1.0, 1.0)

    def sample_previous(self, rng: np.random.Generator, contract: Contract, measured: np.ndarray) -> np.ndarray:
        """Never farther from the positions than twice the window."""
        reach = self.window * rng.uniform(-2, 2, measured.shape)
        return np.clip(measured + reach, *contract.command_limits)


class JointPositionAboutHome(Action):
    """Each joint's target is home plus up to `reach`: for legs, whose motion goes to and fro about a stance."""

    kind: str = "joint_position_about_home"
    reach: Positive | tuple[Positive, ...] = 0.5
    """Largest distance from home, rad or m, of all joints or `[J]`."""

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """Home and a share of the reach."""
        home = np.float32(contract.home_positions)
        return home + np.array(self.reach, np.float32) * action

    def mirrored(self, contract: Contract, joints: Mirrored) -> Mirrored:
        """As joints do."""
        require_home_alike(contract, joints)
        require_alike(self.kind, joints, step_max=self.step_max, reach=self.reach)
        return joints

    def towards(self, xp: ModuleType, contract: Contract, present: Array, posture: Array) -> Array:
        """As far as the reach goes."""
        home = np.float32(contract.home_positions)
        return xp.clip((posture - home) / np.array(self.reach, np.float32), -1.0, 1.0)

    def sample_previous(self, rng: np.random.Generator, contract: Contract, measured: np.ndarray) -> np.ndarray:
        """Up to 2 rad or m from the positions."""
        return np.clip(measured + rng.uniform(-2, 2, measured.shape), *contract.command_limits)


class JointVelocityAction(Action):
    """Each drive is told a velocity, up to `velocity_share` of the joint's limit: wheels, say."""

    kind: str = "joint_velocity"
    mode: ClassVar[Mode] = "velocity"
    velocity_share: Share = 1.0
    full_speed_s: Positive = 0.2
    """From rest to the velocity limit; `step_max` follows from it where it is not given."""
    previous: str = "joint_command"

    def _step(self, joint: Joint, control_dt_s: float) -> float:
        return min(1.0, control_dt_s / self.full_speed_s) * joint.velocity_max

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """A share of the velocity limit."""
        speed = np.array([joint.velocity_max for joint in contract.robot.joints], np.float32)
        return np.float32(self.velocity_share) * speed * action

    def mirrored(self, contract: Contract, joints: Mirrored) -> Mirrored:
        """As joints do."""
        speed = [joint.velocity_max for joint in contract.robot.joints]
        require_alike(self.kind, joints, step_max=self.step_max, velocity_max=speed)
        return joints

    def towards(self, xp: ModuleType, contract: Contract, present: Array, posture: Array) -> Array:
        """Fast enough to be there in one control step, where the drive can."""
        speed = np.array([joint.velocity_max for joint in contract.robot.joints], np.float32)
        return xp.clip((posture - present) / np.float32(contract.timing.control_dt_s) / speed, -1.0, 1.0)


class JointEffortAction(Action):
    """Each drive is told an effort, N m or N, up to `effort_share` of its limit: a motor with nothing in between."""

    kind: str = "joint_effort"
    mode: ClassVar[Mode] = "effort"
    effort_share: Share = 1.0
    previous: str = "joint_command"

    def _step(self, joint: Joint, control_dt_s: float) -> float:
        return 2 * joint.effort_max

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """A share of the effort limit."""
        effort = np.array([joint.effort_max for joint in contract.robot.joints], np.float32)
        return np.float32(self.effort_share) * effort * action

    def mirrored(self, contract: Contract, joints: Mirrored) -> Mirrored:
        """As joints do."""
        effort = [joint.effort_max for joint in contract.robot.joints]
        require_alike(self.kind, joints, step_max=self.step_max, effort_max=effort)
        return joints


class Gripper(Action):
    """Opens or closes, whichever half of [-1, 1] the action lies in: a joint, a slide or the tendon of a gripper."""

    kind: str = "gripper"
    open_at: tuple[float, ...] = ()
    """Targets that are open, `[J]`, rad or m; the joints' largest positions if not given."""
    closed_at: tuple[float, ...] = ()
    """Targets that are closed; the least if not given. Where fingers meet an object, they press."""

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if self.open_at and self.closed_at and len(self.open_at) != len(self.closed_at):
            raise ValueError(f"open_at has {len(self.open_at)} entries and closed_at {len(self.closed_at)}")
        return self

    def completed(self, scene: Scene) -> Self:
        """Both ends of every joint's range of commands."""
        low, high = (tuple(ends) for ends in zip(*(j.command_range for j in scene.robot.joints), strict=True))
        given: dict[str, Any] = {"open_at": self.open_at or high, "closed_at": self.closed_at or low}
        for name, values in given.items():
            for joint, value in zip(scene.robot.joints, values, strict=False):
                least, most = joint.command_range
                if len(values) != len(low) or not (np.isfinite(value) and least <= value <= most):
                    raise ShoalError(
                        f"action: gripper.{name} {list(values)} must be one position for each of its {len(low)} "
                        f"joints, that of {joint.name!r} within [{least:g}, {most:g}]."
                    )
        return super().completed(scene).model_copy(update=given)

    def wanted(self, xp: ModuleType, contract: Contract, action: Array, readings: Mapping[str, Array]) -> Array:
        """One end or the other; speed is what `step_max` leaves."""
        ends = (np.array(ends, np.float32) for ends in (self.closed_at, self.open_at))
        return xp.where(action < 0, *ends)

    def towards(self, xp: ModuleType, contract: Contract, present: Array, posture: Array) -> Array:
        """To the end that is nearer to the posture."""
        closed, opened = (np.array(ends, np.float32) for ends in (self.closed_at, self.open_at))
        return xp.where(xp.abs(posture - closed) < xp.abs(posture - opened), -1.0, 1.0)
