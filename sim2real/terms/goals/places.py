"""Goals in space: a tool, or an object, at a place or in a pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import model_validator

from sim2real.frozen import Positive, Quaternion, Vector3
from sim2real.terms.goals.base import Goal, Part, Settings, require_box
from sim2real.terms.reading import Reading

if TYPE_CHECKING:
    from sim2real.terms.scene import Scene


_MOVING_AN_OBJECT = Settings(
    gamma=0.97, action_penalty=0.05, posture_weight=0.05, moving_goal_share=0.75, random_posture_share=0.5
)


class _Place(Goal):
    position_min_m: Vector3
    """Lower corner of the box in which it may be asked for."""
    position_max_m: Vector3

    @model_validator(mode="after")
    def _box(self) -> Self:
        require_box(self.position_min_m, self.position_max_m)
        return self

    def box(self) -> tuple[Vector3, Vector3] | None:
        """The box of its positions."""
        return self.position_min_m, self.position_max_m


class ToolPosition(_Place):
    """Put the tool at a place, in whatever orientation."""

    kind: str = "tool_position"
    position: str = "end_effector_position"
    """Name of the reading that is to get there."""
    input: str = "goal_position"
    """Name of the graph's input."""

    def parts(self) -> tuple[Part, ...]:
        """The tool's or the object's place."""
        return (Part(self.position, self.input, self.position_min_m, self.position_max_m),)

    def settings(self) -> Settings:
        """Joints are left free, so that moving and leaving home cost something."""
        return Settings(gamma=0.9, action_penalty=0.2, posture_weight=0.1)


class ObjectPosition(_Place):
    """Bring an object to a place."""

    kind: str = "object_position"
    position: str = "object_position"
    """Name of the reading that is to get there."""
    input: str = "goal_position"
    anywhere: bool = False
    """Drawn anywhere in the box, in the air too, rather than from where starts have the object."""

    @property
    def drawn(self) -> Literal["reached", "between"]:
        """As `anywhere` says."""
        return "between" if self.anywhere else "reached"

    def parts(self) -> tuple[Part, ...]:
        """The tool's or the object's place."""
        return (Part(self.position, self.input, self.position_min_m, self.position_max_m),)

    def settings(self) -> Settings:
        """Going round an object and pushing it takes long, and objects rest most of the time."""
        return _MOVING_AN_OBJECT


class _Pose(_Place):
    orientation_weight_m: Positive
    default_orientation_wxyz: Quaternion | None = None
    """Used when a position is given without an orientation; that at home if not given."""
    position_input: str = "goal_position"
    orientation_input: str = "goal_orientation"
    position: str
    orientation: str

    def completed(self, scene: Scene, readings: Sequence[Reading]) -> Self:
        """The goal turned as at home, unless told otherwise."""
        found = [reading for reading in readings if reading.name == self.orientation]
        if self.default_orientation_wxyz is not None or not found:
            return self
        w, x, y, z = (round(float(value), 9) + 0.0 for value in scene.at_home(found[0]))
        return self.model_copy(update={"default_orientation_wxyz": (w, x, y, z)})

    def parts(self) -> tuple[Part, ...]:
        """A place, and how to be turned there."""
        return (
            Part(self.position, self.position_input, self.position_min_m, self.position_max_m),
            Part(self.orientation, self.orientation_input, default=self.default_orientation_wxyz),
        )


class ToolPose(_Pose):
    """Put the tool at a place, turned in a certain way."""

    kind: str = "tool_pose"
    position: str = "end_effector_position"
    orientation: str = "end_effector_orientation"

    def settings(self) -> Settings:
        """Settings for goals that leave at most one joint free."""
        return Settings(gamma=0.9, posture_weight=0.05)


class ObjectPose(_Pose):
    """Bring an object to a place, turned in a certain way."""

    kind: str = "object_pose"
    position: str = "object_position"
    orientation: str = "object_orientation"

    def settings(self) -> Settings:
        """Settings as for its position alone."""
        return _MOVING_AN_OBJECT
