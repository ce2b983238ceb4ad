"""What the safety layer asks about the robot's geometry; `runtime.safety.geometry` answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from runtime.robot.readings import Float64
from runtime.safety.limits import Path
from runtime.status import Reason

Pose = list[float]
"""`[7]`, position m and orientation wxyz, in the contract's goal frame."""


class GeometryChecker(Protocol):
    """Judges joint positions by the robot's geometry."""

    pairs: list[tuple[int, int]]
    """Parts of the robot whose distance is kept."""
    first_look: str
    """In words, whether most paths can be cleared by a look at simpler shapes."""
    no_tool_pose: str
    """Why the joints do not say where the tool is; empty when they do."""

    def blocks(self, path: Path, present: list[float]) -> Reason:
        """`FOLLOWING`, or why the robot must not take a path `[P, J]` rad from `present` `[J]` rad."""

    def tool_pose(self, joints: Sequence[float] | Float64) -> Pose:
        """Where joint positions `[J]` rad put the tool, unless `no_tool_pose`."""
