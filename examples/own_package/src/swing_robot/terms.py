"""How far the arm is folded, which its task tells the policy."""

from __future__ import annotations

from types import ModuleType
from typing import Any, Self

from sim2real.terms import Reading, Scene, Simulated, Source


class Fold(Reading):
    """The sum of the joints' sizes, rad."""

    kind: str = "swing_fold"
    source: Source | None = "encoder"

    def completed(self, scene: Scene) -> Self:
        """One number."""
        return self.stated(size=1, unit="rad", frame="joint")

    def sense(self, xp: ModuleType, sim: Simulated) -> Any:
        """From the joints' positions."""
        return xp.abs(sim.joint_position).sum(axis=-1, keepdims=True)
