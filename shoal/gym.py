"""Every task as a Gymnasium environment; see `sim2real.gym`.

import gymnasium, shoal.gym

env = gymnasium.make("shoal/franka_reach-v0")
"""

from __future__ import annotations

from sim2real.gym import register

__all__ = ["register"]
