"""Terms of a package that is not Shoal's: a reading, a goal and a termination."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Self

import numpy as np

from sim2real.contract import Contract
from sim2real.terms import Goal, Part, Reading, Scene, Simulated, Source, Termination


class Fold(Reading):
    """How far the arm is folded: the sum of its joints' sizes, rad."""

    kind: str = "tests.sim2real.terms.outside:Fold"
    source: Source | None = "encoder"

    def completed(self, scene: Scene) -> Self:
        return self.stated(name=self.name or "fold", size=1, unit="rad", frame="joint")

    def sense(self, xp: ModuleType, sim: Simulated) -> Any:
        return xp.abs(sim.joint_position).sum(axis=-1, keepdims=True)

    def metric(self, rotation_m: float) -> np.ndarray:
        return np.full(1, rotation_m)

    def distance(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = np.degrees(np.abs(first - second)[..., 0])
        return np.zeros_like(angle), angle

    def limits(self, contract: Contract) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(1), np.full(1, 5.0)


class FoldGoal(Goal):
    """Fold the arm by so much."""

    kind: str = "tests.sim2real.terms.outside:FoldGoal"
    orientation_weight_m: float = 0.3

    def parts(self) -> tuple[Part, ...]:
        return (Part("fold", "goal_fold", (0.0,), (4.0,)),)


class Stretched(Termination):
    """The arm has come out straight."""

    kind: str = "tests.sim2real.terms.outside:Stretched"
    less_than_rad: float

    def require(self, scene: Scene) -> None:
        return

    def over(self, xp: ModuleType, sim: Simulated) -> Any:
        return xp.abs(sim.joint_position).sum(axis=-1) < self.less_than_rad
