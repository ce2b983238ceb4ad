"""Joints that a safety machine commands, tick by tick: as they are told, or with an inertia that efforts accelerate."""

from __future__ import annotations

import numpy as np

from runtime.robot.readings import Readings
from runtime.safety import Safety, SafetyConfig
from runtime.status import Reason
from sim2real.contract import Contract

INERTIA = np.array([0.1, 0.04])


class Arm:
    """Joints that do exactly as they are told."""

    def __init__(self, contract: Contract, config: SafetyConfig) -> None:
        self.safety, self.readings, self.now_s = Safety(contract, config), Readings.of(contract), 0.0
        self.period_s = contract.timing.control_dt_s
        self.speeds = np.array([joint.mode == "velocity" for joint in contract.robot.joints])
        self.position = np.array([joint.home_position for joint in contract.robot.joints])
        self.safety.start(self.position)

    def tick(self, command: np.ndarray, speed: float = 1.0) -> Reason:
        safety, before = self.safety, self.safety.target.copy()
        self.now_s += self.period_s
        self.readings.joint_position[:], self.readings.time_s = self.position, self.now_s
        self.readings.joint_velocity[:] = self.measured_velocity(before)
        self.readings.end_effector_orientation[0] = 1
        if (checker := safety.geometry_checker) is not None:
            pose = checker.tool_pose(self.position)
            self.readings["end_effector_position"][:] = pose[:3]
            self.readings["end_effector_orientation"][:] = pose[3:]
        reason = safety.check(self.readings, self.now_s)
        if reason is Reason.FOLLOWING and safety.may_follow:
            reason = safety.limit(command, speed)
        safety.settle(reason)
        self.obey(before, safety.target)
        return reason

    def measured_velocity(self, target: np.ndarray) -> np.ndarray:
        """With this target in force."""
        return np.where(self.speeds, target, 0.0)

    def obey(self, before: np.ndarray, target: np.ndarray) -> None:
        """Move for a period, from one target to the next."""
        moved = self.position + (before + target) / 2 * self.period_s
        self.position = np.where(self.speeds, moved, target)


class HeavyArm(Arm):
    """Joints with an inertia and stops, which efforts accelerate."""

    def __init__(self, contract: Contract, config: SafetyConfig) -> None:
        super().__init__(contract, config)
        self.velocity = np.zeros(len(self.position))
        self.low, self.high = (np.array([j.position_range[end] for j in contract.robot.joints]) for end in (0, 1))

    def measured_velocity(self, target: np.ndarray) -> np.ndarray:
        """Whatever the target."""
        return self.velocity

    def obey(self, before: np.ndarray, target: np.ndarray) -> None:
        """Move for a period, and come to rest at a stop."""
        self.velocity = self.velocity + target / INERTIA * self.period_s
        moved = self.position + self.velocity * self.period_s
        self.position = np.clip(moved, self.low, self.high)
        self.velocity = np.where(moved == self.position, self.velocity, 0.0)
