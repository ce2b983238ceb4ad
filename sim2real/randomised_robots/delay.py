"""Delay lines: what a signal was some steps ago. Written once for NumPy and JAX, for readings and commands alike.

A history holds the newest `H` samples of a signal, oldest first; a delay of `k` steps, at most H - 1, reads the sample
that many steps before the newest. MuJoCo has delays of its own (`delay`, `nsample`), but MJX ignores them, so both
simulation backends use these.

    samples 0.9 1.0 1.1 1.2 arrive while the history is [0.5 0.6 0.7 0.8] and the delay is 3 steps

    history      0.5  0.6  0.7  0.8 |
    samples                         | 0.9  1.0  1.1  1.2
    comes out                         0.6  0.7  0.8  0.9

Shapes: `N` signals with delays of their own, `H` samples of history, `S` new samples, `...` whatever one sample is.
`xp` is the array namespace, `numpy` or `jax.numpy`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""


def steps_of(xp: ModuleType, delay_s: Array, step_s: float) -> Array:
    """The whole number of steps nearest to a delay in seconds, int32."""
    return xp.rint(delay_s / step_s).astype(xp.int32)


def full_of(xp: ModuleType, sample: Array, length: int) -> Array:
    """`[N, H, ...]`: the history of a signal that has been at `sample` `[N, ...]` for long."""
    return xp.repeat(sample[:, None], length, axis=1)


def shifted(xp: ModuleType, history: Array, samples: Array) -> Array:
    """The history `[N, H, ...]` after samples `[N, S, ...]`, oldest first, have arrived."""
    return xp.concatenate([history, samples], axis=1)[:, samples.shape[1] :]


def read(xp: ModuleType, history: Array, steps: Array) -> Array:
    """`[N, ...]`: the signal `steps` `[N]` before its newest sample."""
    return history[xp.arange(history.shape[0]), history.shape[1] - 1 - steps]


def delayed(xp: ModuleType, history: Array, samples: Array, steps: Array) -> Array:
    """`[N, S, ...]`: what comes out `steps` `[N]` late while samples `[N, S, ...]` go in behind the history."""
    line = xp.concatenate([history, samples], axis=1)
    index = history.shape[1] + xp.arange(samples.shape[1]) - steps[:, None]
    return line[xp.arange(history.shape[0])[:, None], index]
