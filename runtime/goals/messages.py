"""Goals: the typed messages, their validation against a contract, and files of them.

Positions are metres, quaternions wxyz, angles of `rpy` radians about the fixed x, y and z axes in that order
(R = Rz(yaw) Ry(pitch) Rx(roll), as in ROS). Everything is in the frame named by `frame`.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from runtime.robot.rotations import quaternion_of_rpy
from sim2real.contract import Contract, Positive, Quaternion, Vector3
from sim2real.errors import ShoalError, printable, shown
from sim2real.files import read_yaml

_FUTURE_S = 1.0
_SHORTEST, _LONGEST = 1e-3, 1e3
"""Lengths between which a quaternion or a direction is taken for one that was not normalised."""
_MOST_RAD = 4 * math.pi
_STANDOFF_M, _FROM_ABOVE = 0.1, (0.0, 0.0, -1.0)


class GoalRefused(ShoalError):
    """A goal that must not be followed; the sentence names the field, its value and what is allowed."""


def _angle(value: float) -> float:
    if abs(value) > _MOST_RAD:
        raise ValueError(f"an angle beyond two turns ({_MOST_RAD:.4g} rad); is it in degrees?")
    return value


Angle = Annotated[float, AfterValidator(_angle)]
"""rad."""


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
    """Put the tool here, or the object where the policy moves one. The orientation is normalised."""

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
    """Put the tool where these joint positions put it, rad by joint name, all joints of the contract.

    The policy gets the tool's pose, so that a redundant arm may arrive there with another elbow.
    """

    joints: dict[str, float]


class GoalPlanar(GoalOptions):
    """Put the tool over this place on the table, turned by yaw about the vertical from the contract's default."""

    planar: tuple[float, float, Angle]
    """x and y in m, yaw in rad."""
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


AnyGoal = GoalPose | GoalJoints | GoalPlanar | GoalObject
_Goal = TypeVar("_Goal", bound=GoalOptions)


class ForwardKinematics(Protocol):
    """Where joint positions put the tool."""

    def __call__(self, joint_position: Sequence[float]) -> tuple[Vector3, Quaternion]:
        """Position in m and orientation wxyz, in the contract's goal frame, of `[J]` rad in policy order."""


class ResolvedGoal(NamedTuple):
    """A validated goal with every default filled in."""

    id: str
    position: Vector3
    orientation_wxyz: Quaternion
    position_tolerance_m: float
    angle_tolerance_deg: float
    valid_for_s: float
    """From now; infinite without a timeout."""
    speed: float = 1.0
    """Share of the largest step that the policy may command in a control period."""


def validate_goal(contract: Contract, goal: GoalPose, now: float) -> ResolvedGoal:
    """Check a goal against a contract at Unix time `now` and fill in its defaults; raises `GoalRefused`."""
    goal = parse_goal(dict(goal))
    limits = contract.goal
    if goal.frame != limits.frame:
        raise GoalRefused(f"goal.frame is {shown(goal.frame)}, but this policy takes goals in {limits.frame!r}.")
    for axis, value, low, high in zip("xyz", goal.position, limits.position_min_m, limits.position_max_m, strict=True):
        if not low <= value <= high:
            raise GoalRefused(
                f"goal.position {axis}={value:g} m is outside the workspace [{low:g}, {high:g}] m "
                f"(box {_box(limits.position_min_m)} to {_box(limits.position_max_m)})."
            )
    quaternion = goal.quaternion()
    if not contract.turns and (quaternion is not None or goal.angle_tolerance_deg is not None):
        raise GoalRefused("goal.orientation was given, but this policy reaches positions only; leave it out.")
    return ResolvedGoal(
        id=goal.id,
        position=goal.position,
        orientation_wxyz=quaternion if quaternion is not None else contract.default_orientation_wxyz,
        position_tolerance_m=goal.position_tolerance_m or limits.coarse_position_m,
        angle_tolerance_deg=goal.angle_tolerance_deg or limits.coarse_angle_deg,
        valid_for_s=_remaining(goal, now),
        speed=goal.speed,
    )


def as_pose(contract: Contract, goal: AnyGoal, kinematics: ForwardKinematics) -> GoalPose:
    """Any goal as the tool pose that it means; raises `GoalRefused` when this contract cannot have it."""
    # `model_construct` and `model_copy` check nothing.
    goal = _parse(type(goal), dict(goal))
    if isinstance(goal, GoalJoints):
        return pose_of_joints(contract, goal, kinematics)
    if isinstance(goal, GoalObject):
        return pose_of_object(contract, goal)
    return pose_of_plane(contract, goal) if isinstance(goal, GoalPlanar) else goal


def pose_of_object(contract: Contract, goal: GoalObject) -> GoalPose:
    """The same goal as a place of the object, or as a tool pose before it. Raises `GoalRefused`."""
    options = goal.model_dump(include=set(GoalOptions.model_fields))
    if contract.tracked is not None:
        if goal.standoff_m is not None or goal.approach is not None:
            raise GoalRefused(
                f"goal.standoff_m or goal.approach was given, but this policy brings {contract.tracked_body!r} "
                "itself to object_position; leave them out."
            )
        return parse_goal(options | {"position": goal.object_position, "frame": goal.frame})
    approach = goal.approach or _FROM_ABOVE
    back = (_STANDOFF_M if goal.standoff_m is None else goal.standoff_m) / math.hypot(*approach)
    (x, y, z), (a, b, c) = goal.object_position, approach
    return parse_goal(options | {"position": (x - back * a, y - back * b, z - back * c), "frame": goal.frame})


def pose_of_plane(contract: Contract, goal: GoalPlanar) -> GoalPose:
    """The same goal as a tool pose: yaw, then the contract's default orientation. Raises `GoalRefused`."""
    if not contract.turns:
        raise GoalRefused("goal.planar was given, but this policy reaches positions only; give a position.")
    x, y, yaw = goal.planar
    low, high = contract.goal.position_min_m[2], contract.goal.position_max_m[2]
    z = (low + high) / 2 if goal.height_m is None else goal.height_m
    c, s = math.cos(yaw / 2), math.sin(yaw / 2)
    a, b, d, e = contract.default_orientation_wxyz
    turned = (c * a - s * e, c * b - s * d, c * d + s * b, c * e + s * a)
    options = goal.model_dump(include=set(GoalOptions.model_fields))
    return parse_goal(options | {"position": (x, y, z), "orientation_wxyz": turned, "frame": goal.frame})


def pose_of_joints(contract: Contract, goal: GoalJoints, kinematics: ForwardKinematics) -> GoalPose:
    """The same goal as a tool pose; raises `GoalRefused` for missing, unknown or out-of-limit joints."""
    if not contract.turns:
        raise GoalRefused("goal.joints was given, but this policy reaches positions only; give a position.")
    names = contract.joint_names
    if set(goal.joints) != set(names):
        raise GoalRefused(f"goal.joints must name exactly {list(names)}, got {shown(list(goal.joints))}.")
    for joint in contract.robot.joints:
        value, low, high = goal.joints[joint.name], *joint.position_range
        if not low <= value <= high:
            raise GoalRefused(
                f"goal.joints {joint.name}={value:g} rad is outside the joint's limits [{low:g}, {high:g}]."
            )
    position, orientation = kinematics([goal.joints[name] for name in names])
    options = goal.model_dump(include=set(GoalOptions.model_fields))
    pose = {"position": position, "orientation_wxyz": orientation, "frame": contract.goal.frame}
    return parse_goal(options | pose)


def parse_goal(data: Any) -> GoalPose:
    """A goal pose from plain data; raises `GoalRefused` naming the first wrong field."""
    return _parse(GoalPose, data)


def parse_any_goal(data: Any) -> AnyGoal:
    """A goal of any kind, told by its fields; raises `GoalRefused` naming the first wrong field."""
    fields = data if isinstance(data, dict) else {}
    if "joints" in fields:
        return _parse(GoalJoints, data)
    if "planar" in fields:
        return _parse(GoalPlanar, data)
    return _parse(GoalObject, data) if "object_position" in fields else _parse(GoalPose, data)


def load_goals(path: Path) -> list[AnyGoal]:
    """Goals from a YAML file: a list of mappings with the fields of a goal; raises `ShoalError`."""
    data = read_yaml(path, what="goals")
    if not isinstance(data, list) or not data:
        raise ShoalError(
            f"goals: {path} must hold a list of goals, each with a position, joints, planar or object_position."
        )
    goals = []
    for index, item in enumerate(data):
        try:
            goals.append(parse_any_goal(item))
        except GoalRefused as error:
            raise GoalRefused(f"goals: entry {index} of {path.name}: {error}") from error
    return goals


def first_problem(error: ValidationError) -> str:
    """`.field: what is wrong (got value)` of a pydantic error's first entry."""
    first = error.errors(include_url=False)[0]
    where = "".join(f".{part}" if isinstance(part, int) else f".{shown(part)[1:-1]}" for part in first["loc"])
    return f"{where}: {printable(first['msg'])} (got {shown(first['input'])})"


def _parse(kind: type[_Goal], data: Any) -> _Goal:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise GoalRefused(f"goal{first_problem(error)}.") from error


def _remaining(goal: GoalPose, now: float) -> float:
    if goal.stamp is not None and not goal.stamp <= now + _FUTURE_S:
        raise GoalRefused(f"goal.stamp is {goal.stamp - now:.1f} s in the future; set the sender's clock right.")
    if goal.timeout_s is None:
        return math.inf
    age = 0.0 if goal.stamp is None else max(0.0, now - goal.stamp)
    if age >= goal.timeout_s:
        raise GoalRefused(f"goal.stamp is {age:.3g} s old, so its timeout_s of {goal.timeout_s:g} has already passed.")
    return goal.timeout_s - age


def _box(corner: Vector3) -> str:
    return "(" + ", ".join(f"{value:g}" for value in corner) + ")"
