"""Goals: the typed messages and files of them. What they ask of a policy is in `runtime.goals.resolve`.

Positions are metres, quaternions wxyz, angles of `rpy` radians about the fixed x, y and z axes in that order
(R = Rz(yaw) Ry(pitch) Rx(roll), as in ROS). Everything is in the frame named by `frame`.
"""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from runtime.robot.rotations import quaternion_of_rpy
from sim2real.contract import Positive, Quaternion, Vector3
from sim2real.errors import ShoalError, problems
from sim2real.files import read_yaml

_SHORTEST, _LONGEST = 1e-3, 1e3
"""Lengths between which a quaternion or a direction is taken for one that was not normalised."""
_MOST_RAD = 4 * math.pi


class GoalRefused(ShoalError):
    """A goal that must not be followed; the sentence names the field, its value and what is allowed."""


def _angle(value: float) -> float:
    if abs(value) > _MOST_RAD:
        raise ValueError(f"an angle beyond two turns ({_MOST_RAD:.4g} rad); is it in degrees?")
    return value


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) else value


Angle = Annotated[float, AfterValidator(_angle)]
"""rad."""
Numbers = Annotated[tuple[float, ...], BeforeValidator(_listed)]
"""One alone needs no brackets."""


class GoalOptions(BaseModel):
    """What every kind of goal can say. Immutable and finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    position_tolerance_m: Positive | None = None
    """When it counts as reached; the contract's coarse tolerance if not given."""
    angle_tolerance_deg: Positive | None = None
    timeout_s: Positive | None = None
    """The goal is given up after this time: from its `stamp`, else from its acceptance, or its turn in the queue."""
    stamp: float | None = None
    """When the goal was made, seconds of Unix time."""
    speed: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the largest step that the policy may command in a control period."""
    priority: Annotated[int, Field(ge=0, le=100)] = 0
    """Goals give way to those of higher priority."""
    queue: bool = False
    """Wait behind the goals of the same priority (a waypoint) instead of taking their place."""
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,32}$")] = Field(default_factory=lambda: uuid.uuid4().hex[:12])


class GoalPose(GoalOptions):
    """Put the tool here, or whatever the policy moves: an object, a base. The orientation is normalised."""

    position: Vector3
    """m."""
    orientation_wxyz: Quaternion | None = None
    """Unit quaternion; without it (and without `rpy`) a pose policy uses the contract's default."""
    rpy: tuple[Angle, Angle, Angle] | None = None
    """rad; instead of `orientation_wxyz`."""
    frame: str = "world"

    @model_validator(mode="before")
    @classmethod
    def _unit_quaternion(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("orientation_wxyz") is None:
            return data
        try:
            quaternion = [float(value) for value in data["orientation_wxyz"]]
        except (TypeError, ValueError, OverflowError):
            return data
        if not all(map(math.isfinite, quaternion)):
            return data
        length = math.hypot(*quaternion)
        if not _SHORTEST <= length <= _LONGEST:
            raise ValueError(f"orientation_wxyz has the length {length:g} and must be a unit quaternion")
        return data | {"orientation_wxyz": tuple(value / length for value in quaternion)}

    @model_validator(mode="after")
    def _one_orientation(self) -> Self:
        if self.orientation_wxyz is not None and self.rpy is not None:
            raise ValueError("give orientation_wxyz or rpy, not both")
        return self

    def quaternion(self) -> Quaternion | None:
        """The orientation as a unit quaternion wxyz, from whichever field was given."""
        return quaternion_of_rpy(*self.rpy) if self.rpy is not None else self.orientation_wxyz


class GoalJoints(GoalOptions):
    """Bring all joints of the contract to these positions, rad or m by joint name.

    A policy whose goals are poses gets that of the tool, so that a redundant arm may arrive there with another elbow.
    """

    joints: dict[str, float]


class GoalPlanar(GoalOptions):
    """Bring a base to this place on the ground, facing along yaw.

    To a policy that moves the tool: put it over this place on the table, turned by yaw about the vertical from the
    contract's default.
    """

    planar: tuple[float, float, Angle] | tuple[float, float]
    """x and y in m, yaw in rad, which goals that are places have not."""
    height_m: float | None = None
    """z; the middle of the contract's goal box if not given."""
    frame: str = "world"


class GoalObject(GoalOptions):
    """A goal about an object.

    To a policy that moves an object: bring it to `object_position`. To one that moves the tool: the object is there,
    a camera says so; put the tool `standoff_m` short of it in the direction `approach`, in the contract's default
    orientation. To come closer, send it again with less.
    """

    object_position: Vector3
    """m."""
    standoff_m: Annotated[float, Field(ge=0, le=_LONGEST)] | None = None
    """0.1 m if not given."""
    approach: Vector3 | None = None
    """Of any length between 0.001 and 1000; from above if not given."""
    frame: str = "world"

    @model_validator(mode="after")
    def _some_direction(self) -> Self:
        if self.approach is not None and not _SHORTEST <= math.hypot(*self.approach) <= _LONGEST:
            raise ValueError(f"approach has the length {math.hypot(*self.approach):g} and must be a unit vector")
        return self


class GoalValues(GoalOptions):
    """Any goal that a policy can have, by the names that its contract and graph give the parts: `runtime inspect`."""

    values: dict[str, Numbers]
    """In SI units and the contract's frames; what has a default may be left out."""


AnyGoal = GoalPose | GoalJoints | GoalPlanar | GoalObject | GoalValues
_Goal = TypeVar("_Goal", bound=GoalOptions)


class ResolvedGoal(NamedTuple):
    """A validated goal with every default filled in; see `runtime.goals.resolve`."""

    id: str
    request: tuple[float, ...]
    """`[K]`, the values that the contract's goal is about, as laid out by `contract.goal.layout(contract)`."""
    position_tolerance_m: float
    angle_tolerance_deg: float
    valid_for_s: float
    """From now; infinite without a timeout."""
    speed: float = 1.0
    """Share of the largest step that the policy may command in a control period."""


def parse_goal(data: Any) -> GoalPose:
    """A goal pose from plain data; raises `GoalRefused` naming the first wrong field."""
    return _parse(GoalPose, data)


_KINDS: dict[str, type[AnyGoal]] = {
    "position": GoalPose,
    "joints": GoalJoints,
    "planar": GoalPlanar,
    "object_position": GoalObject,
    "values": GoalValues,
}
"""By the field that says where to go, of which a goal has one."""


def parse_any_goal(data: Any) -> AnyGoal:
    """A goal of any kind, told by its fields; raises `GoalRefused` naming the first wrong field."""
    fields = data if isinstance(data, dict) else {}
    places = sorted(_KINDS.keys() & fields.keys())
    if isinstance(data, dict) and not places:
        raise GoalRefused(f"goal: it says nothing of where to go; give one of {', '.join(sorted(_KINDS))}.")
    if len(places) > 1:
        raise GoalRefused(f"goal: {' and '.join(places)} were given, and each says where to go; give one of them.")
    place = places[0] if places else "position"
    others = {name for kind in _KINDS.values() for name in kind.model_fields} - _KINDS[place].model_fields.keys()
    if strangers := sorted(others & fields.keys()):
        raise GoalRefused(f"goal.{strangers[0]} does not go with {place}; leave it out.")
    return _parse(_KINDS[place], data)


def load_goals(path: Path) -> list[AnyGoal]:
    """Goals from a YAML file: a list of mappings with the fields of a goal; raises `ShoalError`."""
    data = read_yaml(path, what="goals")
    if not isinstance(data, list) or not data:
        raise ShoalError(
            f"goals: {path} must hold a list of goals, each with a position, joints, planar, object_position or values."
        )
    goals = []
    for index, item in enumerate(data):
        try:
            goals.append(parse_any_goal(item))
        except GoalRefused as error:
            raise GoalRefused(f"goals: entry {index} of {path.name}: {error}") from error
    return goals


def parsed_again(goal: _Goal) -> _Goal:
    """Check a goal again: `model_construct` and `model_copy` check nothing. Raises `GoalRefused`."""
    return _parse(type(goal), dict(goal))


def _parse(kind: type[_Goal], data: Any) -> _Goal:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise GoalRefused(f"{problems(error, 'goal')}.") from error
