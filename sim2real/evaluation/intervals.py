"""How sure a share of episodes is."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(successes: int, episodes: int, confidence: float) -> tuple[float, float]:
    """Two-sided interval of a share (E. B. Wilson, 1927)."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, weight = successes / episodes, z * z / episodes
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / episodes + weight / (4 * episodes))
    return max(0.0, centre - half), min(1.0, centre + half)
