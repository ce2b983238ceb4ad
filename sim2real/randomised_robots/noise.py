"""Random numbers that are functions of where and when, the same in NumPy and JAX.

A generator with a state would give the two simulation backends different noise and would have to be saved with every
checkpoint. Here, noise is a hash of seed, stream, environment and time step: both backends see the same, a resumed run
goes on with the same, and any moment can be looked at again.

The mixing function is "lowbias32" by Chris Wellons (nullprogram.com/blog/2018/07/31, public domain).
Shapes: `N` environments, `W` numbers for each. `xp` is the array namespace, `numpy` or `jax.numpy`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

Array = Any
"""A NumPy or JAX array; which one follows `xp`."""


def _mixed(xp: ModuleType, bits: Array) -> Array:
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> xp.uint32(shift))) * xp.uint32(factor)
    return bits ^ (bits >> xp.uint32(16))


def uniform(xp: ModuleType, seed: int, stream: int, time: Array, envs: int, width: int) -> Array:
    """`[N, W]` float32 in (0, 1), for `time` `[N]` or `[]`, unsigned steps. Streams of one seed are independent."""
    keys = np.random.SeedSequence([seed, stream]).generate_state(2)
    row = _mixed(xp, xp.arange(envs, dtype=xp.uint32) ^ xp.uint32(keys[0]))
    row = _mixed(xp, row + xp.asarray(time).astype(xp.uint32))
    bits = _mixed(xp, (row[:, None] ^ xp.uint32(keys[1])) + xp.arange(width, dtype=xp.uint32) * xp.uint32(0x9E3779B9))
    return ((bits >> xp.uint32(8)).astype(xp.float32) + xp.float32(0.5)) * xp.float32(2.0**-24)


def normal(xp: ModuleType, seed: int, stream: int, time: Array, envs: int, width: int) -> Array:
    """`[N, W]` float32 of mean 0 and deviation 1 (Box and Muller 1958)."""
    first, second = (uniform(xp, seed, 2 * stream + half, time, envs, width) for half in (0, 1))
    return xp.sqrt(-2 * xp.log(first)) * xp.cos(xp.float32(2 * np.pi) * second)
