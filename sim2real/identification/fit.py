"""Fits a model's parameters to logs and says how well each is known.

    problem = make_problem(str(task.mjcf_path), task.contract, ["friction_loss", "payload_mass", "action_delay"])
    result = fit(problem, log.segments())
    result.estimates[0].value, result.estimates[0].low, result.estimates[0].high

The model is run open loop through the commands of each stretch of log and compared with the readings (output error).
Servos forget how they started, so the first half second of each stretch is not compared. Fit and noise estimate take
turns, see `sim2real.identification.noise`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sim2real.errors import ShoalError
from sim2real.identification import noise
from sim2real.identification.parameters import Problem, Quantity, require_sysid
from sim2real.logs.log import Log
from sim2real.logs.openloop import simulate

Signal = Literal["joint_position", "joint_velocity"]

CONFIDENCE = 0.95
_PRIOR_STD = 0.5
"""Of each quantity in unit coordinates: half the width of its bounds."""
_SETTLE_S = 0.5
_STEP = 1e-5
"""Finite-difference step, unit coordinates."""
_ROUNDS = 3
_GUESS = {"joint_position": 1e-3, "joint_velocity": 1e-2}
_FLOOR = {"joint_position": 1e-7, "joint_velocity": 1e-6}
"""Noise below this is the simulation's own rounding."""

Report = Callable[[int, int, str], None]
"""`(steps done, steps in all, what comes now)`."""


@dataclass(frozen=True)
class Estimate:
    """One fitted quantity."""

    quantity: Quantity
    value: float
    std: float
    low: float
    high: float
    """Of the interval at `CONFIDENCE`, within the bounds."""

    @property
    def share_of_bounds(self) -> float:
        """Width of the interval over the width of the bounds: 1 where the log says nothing."""
        return (self.high - self.low) / (self.quantity.high - self.quantity.low)


@dataclass(frozen=True)
class Identified:
    """What a fit found. `P` quantities."""

    problem: Problem
    estimates: tuple[Estimate, ...]
    covariance: np.ndarray
    """`[P, P]`, unit coordinates."""
    information: np.ndarray
    """`[P, P]`, unit coordinates, of the log alone: the inverse squares of what it leaves open."""
    noise_std: np.ndarray
    """`[J]` per signal, of the residual, in its unit."""
    correlation_left: float
    samples: int
    duration_s: float
    signals: tuple[Signal, ...]


def fit(
    problem: Problem,
    stretches: Sequence[Log],
    *,
    signals: Sequence[Signal] = ("joint_position",),
    settle_s: float = _SETTLE_S,
    threads: int = 0,
    progress: Report = lambda done, total, what: None,
) -> Identified:
    """Fit `problem` to stretches of log without gaps.

    Velocities are not used unless asked for: most robots filter them in a way that nobody documents.
    """
    if not stretches:
        raise ShoalError("log: no stretch of a second or more without a gap; record longer.")
    sysid = require_sysid()
    residual = Residual(problem, stretches, tuple(signals), settle_s, threads)
    parameters = problem.parameters.copy()
    for turn in range(_ROUNDS):
        progress(turn, _ROUNDS + 1, f"fit {turn + 1} of {_ROUNDS}")
        parameters, _ = sysid.optimize(
            parameters.move_off_bounds(fraction=0.02),
            lambda x, _: ([residual.rows(x)], [], []),
            optimizer="mujoco",
            verbose=False,
            max_iters=40,
            eps=_STEP,
            xtol=1e-5,
            output=io.StringIO(),  # MuJoCo would print a line for each iteration.
        )
        residual.learn_noise(parameters.as_vector())
    progress(_ROUNDS, _ROUNDS + 1, "intervals")
    return _summary(residual, parameters.as_vector())


class Residual:
    """Whitened differences between readings and simulation, as a function of unit coordinates."""

    def __init__(
        self, problem: Problem, stretches: Sequence[Log], signals: tuple[Signal, ...], settle_s: float, threads: int
    ) -> None:
        self.problem, self.stretches, self.signals = problem, stretches, signals
        self.prior = problem.parameters.as_nominal_vector()
        self._compared = [log.measured_s - log.measured_s[0] >= settle_s for log in stretches]
        self._threads: dict[str, int] = {"threads": threads} if threads else {}
        joints = len(problem.contract.joint_names)
        # A first guess, for the first round only; its size decides how much the prior counts there.
        self.noise = noise.white(np.concatenate([np.full(joints, _GUESS[signal]) for signal in signals]))

    @property
    def samples(self) -> int:
        """Compared ticks."""
        return int(sum(compared.sum() for compared in self._compared))

    def raw(self, units: np.ndarray) -> list[np.ndarray]:
        """Reading minus simulation for each column of `units` `[P, N]`: `[N, T, J x signals]` for each stretch."""
        problem = self.problem
        models, delays, offsets = problem.models(units), problem.delays_s(units), problem.offsets_rad(units)
        found = []
        for log, compared in zip(self.stretches, self._compared, strict=True):
            simulated = simulate(models, log, delays_s=delays, offsets_rad=offsets, **self._threads)
            parts = [getattr(log, signal) - getattr(simulated, signal) for signal in self.signals]
            found.append(np.concatenate(parts, axis=-1)[:, compared])
        return found

    def whitened(self, units: np.ndarray) -> list[np.ndarray]:
        """Residuals like `raw`, of unit variance."""
        return [self.noise.whiten(raw) for raw in self.raw(units)]

    def rows(self, x: np.ndarray) -> np.ndarray:
        """What `mujoco.sysid.optimize` squares: `[R]` for `x` `[P]`, `[R, N]` for `[P, N]`; the bounds' prior last."""
        units = x.reshape(len(self.prior), -1)
        flat = [white.reshape(units.shape[1], -1).T for white in self.whitened(units)]
        rows = np.concatenate([*flat, (units - self.prior[:, None]) / _PRIOR_STD])
        return rows if x.ndim > 1 else rows[:, 0]

    def learn_noise(self, unit: np.ndarray) -> None:
        """Estimate the noise from what is left at `unit` `[P]`."""
        floor = min(_FLOOR[signal] for signal in self.signals)
        residuals = [raw[0] for raw in self.raw(unit[:, None])]
        self.noise = noise.estimate(residuals, parameters=len(unit), floor=floor)


def not_below(plain: np.ndarray, robust: np.ndarray) -> np.ndarray:
    """`robust` `[P, P]` with no variance below that of `plain`, correlations as they are.

    A sandwich estimate from one log is itself noisy, and too small on average (Angrist and Pischke 2009, 8.1).
    """
    widen = np.sqrt(np.maximum(plain.diagonal() / robust.diagonal(), 1.0))
    return np.asarray(robust * np.outer(widen, widen))


def _summary(residual: Residual, unit: np.ndarray) -> Identified:
    from scipy import stats

    problem, count = residual.problem, len(unit)
    step = np.diag(np.where(unit > 0.5, -_STEP, _STEP)) * 10
    whitened = residual.whitened(np.concatenate([unit[:, None], unit[:, None] + step], axis=1))
    slopes = [(white[1:] - white[:1]) / step.diagonal()[:, None, None] for white in whitened]
    information = sum((np.einsum("ptj,qtj->pq", slope, slope) for slope in slopes), np.zeros((count, count)))
    scores = [np.einsum("ptj,tj->tp", slope, white[0]) for slope, white in zip(slopes, whitened, strict=True)]
    prior = np.eye(count) / _PRIOR_STD**2
    bread = np.linalg.inv(information + prior)
    covariance = not_below(bread, bread @ (noise.score_covariance(scores) + prior) @ bread)
    std = np.sqrt(covariance.diagonal())
    half = std * stats.t.ppf(0.5 + CONFIDENCE / 2, max(residual.samples - count, 1))
    low, high = np.clip(unit - half, 0, 1), np.clip(unit + half, 0, 1)
    estimates = tuple(
        Estimate(q, q.value(unit[i]), float(std[i]) * (q.high - q.low), q.value(low[i]), q.value(high[i]))
        for i, q in enumerate(problem.quantities)
    )
    left = residual.raw(unit[:, None])
    return Identified(
        problem=problem,
        estimates=estimates,
        covariance=covariance,
        information=information,
        noise_std=np.sqrt(np.mean(np.concatenate([raw[0] for raw in left]) ** 2, axis=0)),
        correlation_left=noise.left_over_correlation([white[0] for white in whitened]),
        samples=residual.samples,
        duration_s=float(sum(log.time_s[-1] - log.time_s[0] for log in residual.stretches)),
        signals=residual.signals,
    )
