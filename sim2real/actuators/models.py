"""From a position target and the joint's motion to torque, one law for each kind of drive.

    servo = PdServo.of(task.contract)                            # what the MJCF's position actuators are
    servo = MotorServo(PdServo.of(task.contract), DcMotor(supply_v=48.0, resistance_ohm=0.5, ...))
    env = NativeEnvironment(task, num_envs=64, seed=0, drive=Drive(servo, lag_s=0.004))

Shapes: `[..., J]`, J joints in policy order; parameters are `[J]` or one number for all. All quantities are at the
joint, behind the gears, unless they say otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError

Parameter = np.ndarray | float
"""`[J]`, or one number for all joints."""


class Servo(Protocol):
    """A law without memory."""

    def effort(self, target: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """Torque `[..., J]` N m from targets and positions `[..., J]` rad and velocities `[..., J]` rad/s."""


@dataclass(frozen=True)
class PdServo:
    """Stiffness times error minus damping times velocity, within limits of effort and velocity."""

    stiffness: Parameter
    damping: Parameter
    effort_max: Parameter = np.inf
    velocity_max: Parameter = np.inf
    """From this speed on, the drive no longer pushes in the direction of motion; it still brakes."""

    def __post_init__(self) -> None:
        _require_positive(self, "stiffness", "effort_max", "velocity_max")
        if np.any(np.asarray(self.damping) < 0):
            raise ShoalError(f"PdServo.damping: {self.damping} must not be negative.")

    @classmethod
    def of(cls, contract: Contract) -> Self:
        """The MJCF's own servos, without a velocity limit: MuJoCo's position actuators have none."""
        joints = contract.robot.joints
        names = ("stiffness", "damping", "effort_max")
        return cls(*(np.array([getattr(joint, name) for joint in joints]) for name in names))

    def effort(self, target: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """See `Servo`."""
        wanted = self.stiffness * (target - position) - self.damping * velocity
        high = np.where(velocity >= self.velocity_max, 0.0, self.effort_max)
        low = np.where(velocity <= -np.asarray(self.velocity_max), 0.0, -np.asarray(self.effort_max))
        return np.asarray(np.clip(wanted, low, high))


@dataclass(frozen=True)
class DcMotor:
    """A motor behind gears: torque k N i, back-EMF k N q', and i = (V - k N q') / R.

    k is the torque constant, which in SI units is also the back-EMF's, and N the gear ratio. Inductance is left out:
    its time constant, well under a millisecond, is shorter than a physics step. Friction and rotor inertia are the
    joint's own (`damping`, `frictionloss`, `armature` in the MJCF).
    """

    supply_v: Parameter
    resistance_ohm: Parameter
    torque_constant_nm_a: Parameter
    """Of the motor itself, before the gears."""
    gear_ratio: Parameter = 1.0
    current_max_a: Parameter = np.inf

    def __post_init__(self) -> None:
        _require_positive(self, "supply_v", "resistance_ohm", "torque_constant_nm_a", "gear_ratio", "current_max_a")

    @property
    def stall_effort_nm(self) -> Parameter:
        """Torque at rest with full voltage, were there no current limit."""
        return self._constant * self.supply_v / self.resistance_ohm

    @property
    def no_load_speed_rad_s(self) -> Parameter:
        """Speed at which back-EMF eats all of the voltage."""
        return self.supply_v / self._constant

    @property
    def _constant(self) -> Parameter:
        """N m per A, and V s per rad, at the joint."""
        return self.torque_constant_nm_a * self.gear_ratio

    def effort_of_voltage(self, voltage_v: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """Torque at a voltage within the supply's, `[..., J]`."""
        voltage = np.clip(voltage_v, -np.asarray(self.supply_v), self.supply_v)
        current = (voltage - self._constant * velocity) / self.resistance_ohm
        return np.asarray(self._constant * np.clip(current, -np.asarray(self.current_max_a), self.current_max_a))

    def limits(self, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest torque at a velocity, `[..., J]` each: the torque-speed curve."""
        supply = np.broadcast_to(np.asarray(self.supply_v, np.float64), np.shape(velocity))
        return self.effort_of_voltage(-supply, velocity), self.effort_of_voltage(supply, velocity)


@dataclass(frozen=True)
class MotorServo:
    """A servo that asks for torque from a motor, whose current loop gives what the torque-speed curve allows."""

    servo: PdServo
    motor: DcMotor

    def effort(self, target: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """See `Servo`."""
        return np.asarray(np.clip(self.servo.effort(target, position, velocity), *self.motor.limits(velocity)))


@dataclass(frozen=True)
class Drive:
    """A servo whose torque follows what its law wants with a first-order lag."""

    servo: Servo
    lag_s: Parameter = 0.0
    """Time constant of the torque."""

    def __post_init__(self) -> None:
        if np.any(np.asarray(self.lag_s) < 0):
            raise ShoalError(f"Drive.lag_s: {self.lag_s} must not be negative.")

    def step(
        self, effort: np.ndarray, target: np.ndarray, position: np.ndarray, velocity: np.ndarray, dt_s: float
    ) -> np.ndarray:
        """Torque during the next `dt_s` from the torque `effort` until now, `[..., J]` N m; the lag is exact."""
        wanted = self.servo.effort(target, position, velocity)
        with np.errstate(divide="ignore"):
            share = -np.expm1(-dt_s / np.asarray(self.lag_s, np.float64))
        return np.asarray(effort + share * (wanted - effort))


def _require_positive(model: Any, *names: str) -> None:
    for name in names:
        if not np.all(np.asarray(getattr(model, name)) > 0):
            raise ShoalError(f"{type(model).__name__}.{name}: {getattr(model, name)} must be above 0.")
