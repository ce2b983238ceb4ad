"""What the residual's noise is like, so that intervals say what the log is worth.

A residual has one column for each joint. Its noise is taken as an autoregression of its own for each joint: white
encoder noise is order zero; jitter, slip and what the model leaves out make neighbours alike. Whitening by it (Cochrane
and Orcutt 1949) weighs every joint and frequency by what it is worth, and what correlation is left over enters the
covariance by a sandwich estimate with Bartlett's kernel (Newey and West 1987).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MAX_ORDER = 8


@dataclass(frozen=True)
class Noise:
    """An autoregression for each of `J` joints."""

    coefficients: tuple[np.ndarray, ...]
    """`J` arrays of as many entries as the joint's order: e_t = sum_i c_i e_(t-1-i) + w_t."""
    innovation_std: np.ndarray
    """`[J]`, standard deviation of w, in the residual's unit."""

    @property
    def order(self) -> int:
        """The largest order."""
        return max(len(c) for c in self.coefficients)

    def whiten(self, residual: np.ndarray) -> np.ndarray:
        """`[..., T, J]` to `[..., T - order, J]` of unit variance where the noise is what it is taken for."""
        order, length = self.order, residual.shape[-2]
        columns = []
        for joint, coefficients in enumerate(self.coefficients):
            white = residual[..., order:, joint].copy()
            for lag, coefficient in enumerate(coefficients, start=1):
                white -= coefficient * residual[..., order - lag : length - lag, joint]
            columns.append(white / self.innovation_std[joint])
        return np.stack(columns, axis=-1)


def white(std: np.ndarray) -> Noise:
    """White noise of the given standard deviations `[J]`."""
    return Noise(tuple(np.zeros(0) for _ in std), std)


def estimate(residuals: list[np.ndarray], *, parameters: int, floor: float) -> Noise:
    """Estimate the noise from residuals `[T, J]` of several stretches of log; orders by Akaike's information criterion,
    since an order too low leaves correlation, and one too high costs next to nothing.

    `parameters` is how many numbers were fitted to these residuals, `floor` the smallest standard deviation believed.
    """
    joints = residuals[0].shape[1]
    fits = [_fit([residual[:, joint] for residual in residuals]) for joint in range(joints)]
    samples = sum(residual.size for residual in residuals)
    # The fit has eaten some of the noise: that many degrees of freedom are gone.
    eaten = np.sqrt(samples / max(samples - parameters, 1))
    std = np.maximum(np.array([std for _, std in fits]) * eaten, floor)
    return Noise(tuple(coefficients for coefficients, _ in fits), std)


def _fit(series: list[np.ndarray]) -> tuple[np.ndarray, float]:
    best: tuple[float, np.ndarray, float] | None = None
    for order in range(_MAX_ORDER + 1):
        rows = [_lagged(x, order) for x in series if len(x) > 4 * _MAX_ORDER]
        if not rows:
            break
        past, present = (np.concatenate(part) for part in zip(*rows, strict=True))
        coefficients = np.linalg.lstsq(past, present, rcond=None)[0] if order else np.zeros(0)
        variance = float(np.mean((present - past @ coefficients) ** 2)) or np.finfo(float).tiny
        criterion = len(present) * np.log(variance) + 2 * order
        if best is None or criterion < best[0]:
            best = criterion, coefficients, variance
    if best is None:
        return np.zeros(0), float(np.std(np.concatenate(series)))
    return best[1], float(np.sqrt(best[2]))


def _lagged(x: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    # All orders are compared on the same samples.
    present = x[_MAX_ORDER:]
    past = (
        np.stack([x[_MAX_ORDER - lag : len(x) - lag] for lag in range(1, order + 1)], axis=1)
        if order
        else (np.zeros((len(present), 0)))
    )
    return past, present


def score_covariance(scores: list[np.ndarray]) -> np.ndarray:
    """Long-run covariance `[P, P]` of the sum of scores, from stretches `[T, P]`; Newey and West's kernel and width."""
    total = sum(len(score) for score in scores)
    width = int(4 * (total / 100) ** (2 / 9))
    result = np.zeros((scores[0].shape[1],) * 2)
    for score in scores:
        result += score.T @ score
        for lag in range(1, min(width, len(score) - 1) + 1):
            cross = score[lag:].T @ score[:-lag]
            result += (1 - lag / (width + 1)) * (cross + cross.T)
    return result


def left_over_correlation(whitened: list[np.ndarray]) -> float:
    """Largest autocorrelation over joints and the first few lags that whitening did not take away."""
    worst = 0.0
    for joint in range(whitened[0].shape[1]):
        columns = [white[:, joint] for white in whitened]
        power = sum(float(x @ x) for x in columns)
        for lag in range(1, 6):
            worst = max(worst, abs(sum(float(x[lag:] @ x[:-lag]) for x in columns)) / max(power, 1e-300))
    return worst
