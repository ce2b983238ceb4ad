"""What no law explains: a small network that adds to a servo's torque what logs say is missing.

    residual = fit_residual(servo, target, position, velocity, effort, seed=0)   # arrays of a log, [T, J] each
    drive = Drive(residual)
    residual.save(path); ResidualServo.load(path, servo)

As in Hwangbo et al. 2019 (arXiv 1901.08652), the network sees position error and velocity; unlike there, it learns the
difference to a physical law, not the torque itself, and its output is bounded by what the log showed, so that it cannot
run away where the log has nothing to say. One network serves all joints, with every joint's own scales.

Shapes: `T` samples, `J` joints, `W` hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from sim2real.actuators.models import Servo
from sim2real.errors import ShoalError

_INPUTS = 2


@dataclass(frozen=True)
class ResidualServo:
    """A servo's torque plus a network's, for each joint on its own."""

    servo: Servo
    weights: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """`[J, 2, W]`, `[J, W]`, `[J, W]` and `[J]`: one layer of tanh for every joint."""
    input_scale: np.ndarray
    """`[J, 2]`, size of position errors (rad) and velocities (rad/s) in the log."""
    effort_scale_nm: np.ndarray
    """`[J]`, largest torque that the network may add."""

    def residual(self, target: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """What the network adds, `[..., J]` N m."""
        output, _ = _network(self.weights, np.stack([target - position, velocity], axis=-1) / self.input_scale)
        return np.asarray(self.effort_scale_nm * np.tanh(output))

    def effort(self, target: np.ndarray, position: np.ndarray, velocity: np.ndarray) -> np.ndarray:
        """See `Servo`."""
        return np.asarray(self.servo.effort(target, position, velocity) + self.residual(target, position, velocity))

    def save(self, path: Path) -> None:
        """Write the network, without the servo, as `.npz`."""
        partial = path.with_suffix(".partial.npz")
        arrays: dict[str, Any] = {f"weights_{index}": value for index, value in enumerate(self.weights)}
        np.savez(partial, **arrays, input_scale=self.input_scale, effort_scale_nm=self.effort_scale_nm)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, servo: Servo) -> Self:
        """Read `save`'s file; `ShoalError` where it is none."""
        try:
            with np.load(path, allow_pickle=False) as file:
                first, second, third, fourth = (file[f"weights_{index}"] for index in range(4))
                return cls(servo, (first, second, third, fourth), file["input_scale"], file["effort_scale_nm"])
        except (OSError, KeyError, ValueError) as error:
            raise ShoalError(f"residual: {path} is not a residual actuator's .npz ({error}).") from error


def fit_residual(
    servo: Servo,
    target: np.ndarray,
    position: np.ndarray,
    velocity: np.ndarray,
    effort: np.ndarray,
    *,
    hidden: int = 16,
    weight_decay: float = 1e-4,
    iterations: int = 300,
    seed: int = 0,
) -> ResidualServo:
    """Least squares over a log, `[T, J]` each, in rad, rad/s and N m. L-BFGS, a second or so per joint."""
    if not (target.shape == position.shape == velocity.shape == effort.shape and target.ndim == 2):
        shapes = (target.shape, position.shape, velocity.shape, effort.shape)
        raise ShoalError(f"residual: target, position, velocity and effort must all be [T, J], got {shapes}.")
    if len(target) < 10 * hidden:
        raise ShoalError(f"residual: {len(target)} samples for {hidden} hidden units; give at least {10 * hidden}.")
    missing = effort - servo.effort(target, position, velocity)
    if not np.all(np.isfinite(missing)):
        raise ShoalError("residual: the log has values that are not finite.")
    rng, joints = np.random.default_rng(seed), target.shape[1]
    scale = np.stack([(target - position).std(axis=0), velocity.std(axis=0)], axis=-1)
    inputs = np.stack([target - position, velocity], axis=-1) / np.maximum(scale, 1e-9)
    bound = 1.2 * np.abs(missing).max(axis=0) + 1e-9
    fitted = [
        _fit_joint(inputs[:, [joint]], missing[:, [joint]] / bound[joint], hidden, weight_decay, iterations, rng)
        for joint in range(joints)
    ]
    first, second, third, fourth = (np.concatenate(layer) for layer in zip(*fitted, strict=True))
    return ResidualServo(servo, (first, second, third, fourth), np.maximum(scale, 1e-9), bound)


def _network(weights: tuple[np.ndarray, ...], inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Output before the bound `[..., J]` and hidden units `[..., J, W]`."""
    hidden = np.tanh(np.einsum("...ji,jiw->...jw", inputs, weights[0]) + weights[1])
    return (hidden * weights[2]).sum(axis=-1) + weights[3], hidden


def _fit_joint(
    inputs: np.ndarray, wanted: np.ndarray, hidden: int, decay: float, iterations: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Weights of one joint's network, from inputs `[T, 1, 2]` and outputs in units of the bound `[T, 1]`."""
    shapes = [(1, _INPUTS, hidden), (1, hidden), (1, hidden), (1,)]
    borders = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def unpack(flat: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(shape) for part, shape in zip(np.split(flat, borders), shapes, strict=True)]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = unpack(flat)
        raw, units = _network(tuple(weights), inputs)
        error = np.tanh(raw) - wanted
        slope = 2 * error * (1 - np.tanh(raw) ** 2) / len(error)
        back = slope[..., None] * weights[2] * (1 - units**2)
        gradients = [
            np.einsum("tji,tjw->jiw", inputs, back),
            back.sum(axis=0),
            (slope[..., None] * units).sum(axis=0),
            slope.sum(axis=0),
        ]
        gradient = np.concatenate([part.ravel() for part in gradients]) + 2 * decay * flat / flat.size
        return float((error**2).mean() + decay * (flat**2).mean()), gradient

    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise ShoalError("residual: fitting needs the analysis extra, pip install 'shoal[analysis]'.") from error
    start = rng.normal(size=int(borders[-1]) + 1) * np.sqrt(1 / _INPUTS)
    return unpack(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": iterations}).x)
