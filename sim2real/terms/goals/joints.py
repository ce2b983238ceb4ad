"""Goals of every joint, and several goals at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
from pydantic import Field

from sim2real.frozen import Positive, Vector3
from sim2real.terms.goals.base import Goal, Part, Settings
from sim2real.terms.reading import Reading
from sim2real.terms.term import any_of

if TYPE_CHECKING:
    from sim2real.terms.scene import Scene


class JointConfiguration(Goal):
    """Bring every joint to a position of its own."""

    kind: str = "joint_configuration"
    position: str = "joint_position"
    orientation_weight_m: Positive = 0.3
    coarse_angle_deg: Positive = 10.0
    fine_angle_deg: Positive = 3.0
    position_min: tuple[float, ...] = Field(default=())
    """Smallest positions that may be asked for, `[J]`; the joints' limits if not given."""
    position_max: tuple[float, ...] = Field(default=())

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """The joints' limits."""
        low, high = (tuple(getattr(j, f"position_{end}") for j in scene.robot.joints) for end in ("min", "max"))
        return self.model_copy(
            update={"position_min": self.position_min or low, "position_max": self.position_max or high}
        )

    def parts(self) -> tuple[Part, ...]:
        """All joints' positions."""
        return (Part(self.position, "goal_joint_position", self.position_min, self.position_max),)


class Together(Goal):
    """Several goals at once: two tools, say. All of them must be reached."""

    kind: str = "together"
    goals: tuple[any_of(Goal), ...] = Field(min_length=2)  # type: ignore[valid-type]

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """Complete every one of its goals. Rotations count as in the goal in which they count most, unless told."""
        weight = self.orientation_weight_m or max(goal.orientation_weight_m for goal in self.goals)
        goals = tuple(goal.completed(scene, readings) for goal in self.goals)
        return self.model_copy(update={"goals": goals, "orientation_weight_m": weight})

    def parts(self) -> tuple[Part, ...]:
        """The parts of all goals, with inputs named after their readings."""
        return tuple(part._replace(input=f"goal_{part.reading}") for goal in self.goals for part in goal.parts())

    def box(self) -> tuple[Vector3, Vector3] | None:
        """One around those of all."""
        boxes = [box for goal in self.goals if (box := goal.box()) is not None]
        if not boxes:
            return None
        low, high = (np.array(corners) for corners in zip(*boxes, strict=True))
        return tuple(low.min(axis=0).tolist()), tuple(high.max(axis=0).tolist())

    def settings(self) -> Settings:
        """The settings of the first goal."""
        first: Goal = self.goals[0]
        return first.settings()
