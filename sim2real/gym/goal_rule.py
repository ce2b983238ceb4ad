"""When a goal counts as reached, and what that is worth.

Shapes: `[...]` is any batch, `G` the size of a goal vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from sim2real.contract import Contract
from sim2real.contract.interface import goal_errors
from sim2real.errors import ShoalError

Tolerance = Literal["coarse", "fine"]
Reward = Literal["sparse", "dense"]


@dataclass(frozen=True)
class GoalRule:
    """Judges achieved against desired goals, `[..., G]` each, whoever put them together: hindsight relabelling, say."""

    contract: Contract
    tolerance: Tolerance = "coarse"
    """Whether the task's `goal.coarse_...` or `goal.fine_...` count."""
    reward: Reward = "sparse"
    """`sparse`: 0 where the goal is reached, -1 elsewhere. `dense`: minus the distance between the goal vectors, m."""

    def __post_init__(self) -> None:
        for field, kind in (("tolerance", Tolerance), ("reward", Reward)):
            if getattr(self, field) not in get_args(kind):
                raise ShoalError(f"{field} {getattr(self, field)!r} should be one of {', '.join(get_args(kind))}.")

    def errors(self, achieved: np.ndarray, desired: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance in m and angle in degrees, `[...]` each; 0 for what the goal doesn't have."""
        return goal_errors(self.contract, np.asarray(achieved), np.asarray(desired))

    def reached(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Whether the tolerance holds, `[...]` bool."""
        goal = self.contract.goal
        most_m, most_deg = (getattr(goal, f"{self.tolerance}_{what}") for what in ("position_m", "angle_deg"))
        length_m, angle_deg = self.errors(achieved, desired)
        return np.asarray((length_m <= most_m) & (angle_deg <= most_deg))

    def rewards(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """`[...]` float32."""
        if self.reward == "dense":
            return np.asarray(-np.linalg.norm(np.asarray(achieved) - np.asarray(desired), axis=-1), np.float32)
        return self.reached(achieved, desired).astype(np.float32) - np.float32(1)


def flags(info: Any, name: str) -> Any:
    """A flag of one info, or `[N]` bool of a sequence of infos, as hindsight relabelling hands over whole batches."""
    if isinstance(info, dict):
        return bool(info.get(name, False))
    return np.array([bool(one.get(name, False)) for one in info], bool)
