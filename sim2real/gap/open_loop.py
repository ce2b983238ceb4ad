"""How far a model strays from a log on the log's own commands: over the whole log, one step ahead, and several.

The whole run shows what a servo's steady errors are. One step ahead from every measured state shows the error that a
policy meets, before feedback corrects it. Errors in between tell when the model's memory matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mujoco
import numpy as np

from sim2real.errors import ShoalError
from sim2real.logs.log import Log
from sim2real.logs.openloop import own_readings, simulate, simulate_from
from sim2real.timing.lag import Lag, lag_between

HORIZONS = (1, 2, 5, 10, 25)
"""Control steps."""
_STARTS = 100
"""Measured states from which steps ahead are simulated."""


@dataclass(frozen=True)
class SignalError:
    """Error of one signal over the whole run; measured minus simulated."""

    name: str
    unit: str
    rms: float
    bias: float
    worst: float
    worst_at_s: float
    motion_rms: float
    """Root mean square of the signal's own motion, to hold the error against."""


@dataclass(frozen=True)
class OpenLoopGap:
    """Measured against simulated on one stretch of log, `T` ticks, `J` joints."""

    log: Log
    joint_position: np.ndarray
    """`[T, J]` rad, simulated."""
    joint_velocity: np.ndarray
    """`[T, J]` rad/s, simulated."""
    signals: tuple[SignalError, ...]
    horizon_rms: dict[int, np.ndarray]
    """Control steps ahead to the RMS error of each joint's position `[J]` rad."""
    lag: Lag | None
    """Of the measured motion behind the simulated."""
    frequency_hz: np.ndarray
    """`[F]`."""
    measured_spectrum: np.ndarray
    """`[F, J]`, power density of joint speed, (rad/s)^2/Hz."""
    simulated_spectrum: np.ndarray
    """`[F, J]`."""
    error_spectrum: np.ndarray
    """`[F, J]`."""


def compare(log: Log, model: mujoco.MjModel) -> OpenLoopGap:
    """Run `model` through the commands of a log without gaps; `ShoalError` for a base that floats."""
    if log.contract.robot.base == "floating":
        raise ShoalError(
            "gap: the robot's base floats, and no log tells all of where it is and how it moves, so that no model can "
            "be started from what was measured; compare what the policy does instead (sim2real stress)."
        )
    from scipy.signal import welch

    simulated = simulate([model], log)
    position, velocity = simulated.joint_position[0], simulated.joint_velocity[0]
    others = own_readings(model, log.contract, position, velocity)
    period = log.contract.timing.control_dt_s
    window = min(len(log), max(16, round(4.0 / period)))
    spectra = [
        welch(series, fs=1 / period, nperseg=window, axis=0)
        for series in (log.joint_velocity, velocity, log.joint_velocity - velocity)
    ]
    return OpenLoopGap(
        log=log,
        joint_position=position,
        joint_velocity=velocity,
        signals=_signals(log, position, velocity, others),
        horizon_rms=_horizons(log, model),
        lag=lag_between(log.measured_s, position, log.joint_position),
        frequency_hz=spectra[0][0],
        measured_spectrum=spectra[0][1],
        simulated_spectrum=spectra[1][1],
        error_spectrum=spectra[2][1],
    )


def _signals(
    log: Log, position: np.ndarray, velocity: np.ndarray, others: Mapping[str, np.ndarray]
) -> tuple[SignalError, ...]:
    found = []
    for index, joint in enumerate(log.contract.joint_names):
        found.append(_signal(f"{joint} position", "rad", log, log.joint_position[:, index], position[:, index]))
    for index, joint in enumerate(log.contract.joint_names):
        found.append(_signal(f"{joint} velocity", "rad/s", log, log.joint_velocity[:, index], velocity[:, index]))
    for name, simulated in others.items():
        reading = log.contract.reading(name)
        if not reading.turned:  # whose numbers one by one say nothing
            rows = zip(reading.entries(log.contract), reading.units, log.measured(name).T, simulated.T, strict=True)
            found += [_signal(f"{reading.about} {entry}".rstrip(), unit, log, a, b) for entry, unit, a, b in rows]
    return tuple(found)


def _signal(name: str, unit: str, log: Log, measured: np.ndarray, simulated: np.ndarray) -> SignalError:
    error = measured - simulated
    worst = int(np.argmax(np.abs(error)))
    return SignalError(
        name=name,
        unit=unit,
        rms=float(np.sqrt(np.mean(error**2))),
        bias=float(error.mean()),
        worst=float(error[worst]),
        worst_at_s=float(log.time_s[worst] - log.time_s[0]),
        motion_rms=float(measured.std()),
    )


def _horizons(log: Log, model: mujoco.MjModel) -> dict[int, np.ndarray]:
    horizons = [steps for steps in HORIZONS if steps < len(log) - 1]
    if not horizons:
        return {}
    last = len(log) - 1 - horizons[-1]
    starts = np.unique(np.linspace(0, last, min(_STARTS, last + 1)).astype(int))
    ahead = simulate_from(model, log, starts, horizons[-1])
    errors = {steps: log.joint_position[starts + steps] - ahead[:, steps] for steps in horizons}
    return {steps: np.sqrt(np.mean(error**2, axis=0)) for steps, error in errors.items()}
