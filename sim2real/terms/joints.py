"""Readings of the robot's own joints, in policy order."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from sim2real.terms.reading import Array, Reading, Source, Stage
from sim2real.terms.sides import Mirrored

if TYPE_CHECKING:
    from sim2real.contract import Contract
    from sim2real.terms.scene import Scene, Simulated
    from sim2real.terms.sides import Sides


class _PerJoint(Reading):
    per_joint: ClassVar[bool] = True

    frame: str = "joint"

    def _of_joints(self, scene: Scene, unit: str) -> Self:
        return self.stated(size=len(scene.robot.joints), unit=unit)

    def mirrored(self, sides: Sides) -> Mirrored:
        """As joints do."""
        return sides.joints


class JointPosition(_PerJoint):
    """Positions of all joints: rad of hinges, m of slides. Of joints that turn without end a network sees cosines, and
    behind all others their sines.
    """

    kind: str = "joint_position"
    source: Source | None = "encoder"
    slides: tuple[int, ...] = ()
    """Which of the joints slide, so that theirs are lengths."""
    endless: tuple[int, ...] = ()
    """Which of the joints turn without end."""

    def completed(self, scene: Scene) -> Self:
        """One for every joint."""
        joints = scene.robot.joints
        slides = tuple(i for i, joint in enumerate(joints) if joint.kind == "slide")
        endless = tuple(i for i, joint in enumerate(joints) if joint.continuous)
        return self._of_joints(scene, "rad").model_copy(update={"slides": slides, "endless": endless})

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """The joints' part of qpos."""
        return sim.joint_position

    def mirrored(self, sides: Sides) -> Mirrored:
        """As joints do; of those without end, cosines stay what they are."""
        joints, ends = sides.joints, list(self.endless)
        sign = joints.sign.copy()
        sign[ends] = 1.0
        sines = [self.size + self.endless.index(int(other)) for other in joints.order[ends]]
        return Mirrored(np.array([*joints.order, *sines]), np.concatenate([sign, joints.sign[ends]]))

    @property
    def encoded_size(self) -> int:
        """One more for every joint without end."""
        return self.size + len(self.endless)

    def encode(self, xp: ModuleType, value: Array) -> Array:
        """A full turn of a joint without end is no turn."""
        if not self.endless:
            return value
        turns = value[..., np.array(self.endless)]
        mask = np.isin(np.arange(self.size), self.endless)
        return xp.concatenate([xp.where(mask, xp.cos(value), value), xp.sin(turns)], axis=-1)

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """[-1, 1] over the limits."""
        low, high = (bound.copy() for bound in contract.position_limits)
        low[list(self.endless)], high[list(self.endless)] = -1, 1
        more = np.ones(len(self.endless))
        return np.concatenate([(low + high) / 2, 0 * more]), np.concatenate([2 / (high - low), more])

    def usual(self, contract: Contract) -> tuple[float, ...]:
        """Home."""
        return tuple(contract.home_positions.tolist())

    def metric(self, rotation_m: float) -> np.ndarray:
        """A radian counts as a rotation of the tool's; metres of slides are metres."""
        lengths = np.full(self.encoded_size, rotation_m)
        lengths[list(self.slides)] = 1.0
        return lengths

    def distance(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The slide that is farthest away, in m, and the hinge that is, in degrees."""
        apart = np.abs(first - second).astype(np.float64)[..., : self.size]
        for rank, joint in enumerate(self.endless):
            (a, b), (c, d) = ((x[..., joint], x[..., self.size + rank]) for x in (first, second))
            apart[..., joint] = np.abs(np.arctan2(a * d - b * c, a * c + b * d))
        slides = np.isin(np.arange(self.size), self.slides)
        return (apart * slides).max(axis=-1), np.degrees((apart * ~slides).max(axis=-1))

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """The joints' limits."""
        return contract.position_limits

    def from_home(self, contract: Contract, encoded: Array) -> Array:
        """How far joints `[..., J]` stand from home, as a share of half their range; 0 for joints without end.

        `encoded` are the scaled entries of the observation.
        """
        offset, scale = self.scaling(contract)
        home = contract.home_positions
        bounded = ~np.isin(np.arange(self.size), self.endless)
        return (encoded[..., : self.size] - np.float32((home - offset[: self.size]) * scale[: self.size])) * bounded

    def decoded(self, xp: ModuleType, contract: Contract, encoded: Array) -> Array:
        """Positions `[..., J]` from the scaled entries of the observation; of joints without end within a turn."""
        offset, scale = (np.float32(x) for x in self.scaling(contract))
        values = encoded / scale + offset
        if not self.endless:
            return values
        joints = values[..., : self.size]
        sines = np.zeros((len(self.endless), self.size), np.float32)
        sines[np.arange(len(self.endless)), list(self.endless)] = 1
        turns = xp.arctan2(values[..., self.size :] @ sines, joints)
        return xp.where(np.isin(np.arange(self.size), self.endless), turns, joints)


class JointVelocity(_PerJoint):
    """Velocities of all joints: rad/s of hinges, m/s of slides."""

    kind: str = "joint_velocity"
    source: Source | None = "encoder"

    def completed(self, scene: Scene) -> Self:
        """One for every joint."""
        return self._of_joints(scene, "rad/s")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """The joints' part of qvel."""
        return sim.joint_velocity

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """[-1, 1] over the velocity limit."""
        return np.zeros(self.size), 1 / np.array([joint.velocity_max for joint in contract.robot.joints])

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """The joints' limits."""
        speed = np.array([joint.velocity_max for joint in contract.robot.joints])
        return -speed, speed


class JointEffort(_PerJoint):
    """Efforts of all drives: N m at hinges, N at slides."""

    kind: str = "joint_effort"
    stage: ClassVar[Stage] = "acceleration"
    source: Source | None = "torque_sensor"

    def completed(self, scene: Scene) -> Self:
        """One for every joint."""
        return self._of_joints(scene, "N m")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """What the actuators do to the joints."""
        return sim.scene.addresses.joint_velocity(sim.qfrc_actuator)

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """[-1, 1] over the effort limit."""
        return np.zeros(self.size), 1 / np.array([joint.effort_max for joint in contract.robot.joints])

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """The drives' limits."""
        effort = np.array([joint.effort_max for joint in contract.robot.joints])
        return -effort, effort


class JointPositionTarget(_PerJoint):
    """What the joints were commanded last. A network sees how far they still have to go."""

    kind: str = "joint_position_target"
    source: Source | None = "last_command"
    measured: str = "joint_position"
    """Name of the reading of the joints' positions."""

    def completed(self, scene: Scene) -> Self:
        """One for every joint."""
        return self._of_joints(scene, "rad")

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """The targets of the last control step."""
        return sim.target

    def observed(self, xp: ModuleType, readings: Mapping[str, Array]) -> Array:
        """Target minus position."""
        return readings[self.name] - readings[self.measured]

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """1 is two of the largest steps away."""
        return np.zeros(self.size), 0.5 / np.array(contract.action.step_max)

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """The limits of the joints' positions."""
        return contract.position_limits


class JointCommand(_PerJoint):
    """What the drives were told last, whatever it is: positions, velocities or efforts."""

    kind: str = "joint_command"
    source: Source | None = "last_command"

    def completed(self, scene: Scene) -> Self:
        """One for every joint."""
        units = {"position": "rad", "velocity": "rad/s", "effort": "N m"}
        modes = dict.fromkeys(joint.mode for joint in scene.robot.joints)
        return self._of_joints(scene, ", ".join(units[mode] for mode in modes))

    def sense(self, xp: ModuleType, sim: Simulated) -> Array:
        """The commands of the last control step."""
        return sim.target

    def scaling(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """[-1, 1] over the range of commands."""
        low, high = self.limits(contract)
        return (low + high) / 2, 2 / (high - low)

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        """The range of commands; a turn of joints without end."""
        low, high = contract.command_limits
        least, most = contract.position_limits
        return np.where(np.isfinite(low), low, least), np.where(np.isfinite(high), high, most)
