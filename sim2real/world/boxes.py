"""Boxes as lines, for whatever draws them."""

from __future__ import annotations

import numpy as np


def box_edges(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The twelve edges of a box, `[12, 2, 3]`."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    pairs = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(corners[a] - corners[b]).sum() == 1]
    return np.asarray(low + corners[np.array(pairs)] * (high - low), np.float32)
