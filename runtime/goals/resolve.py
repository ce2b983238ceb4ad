"""What a goal asks of a policy: any message as values of the readings that the contract's goal is about.

    goal = validate_goal(contract, GoalPose(position=(0.5, 0.1, 0.4)), time.time())
    goal.request                        # [K], laid out by contract.goal.layout(contract)

Places, poses, joints and objects are ways to say values; which of them a policy takes follows from its goal's terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from runtime.goals.messages import (
    AnyGoal,
    GoalJoints,
    GoalObject,
    GoalOptions,
    GoalPlanar,
    GoalRefused,
    GoalValues,
    ResolvedGoal,
    parsed_again,
)
from sim2real.contract import Contract, Quaternion, Reading, Vector3
from sim2real.errors import shown
from sim2real.terms import Part

_FUTURE_S = 1.0
_STANDOFF_M, _FROM_ABOVE = 0.1, (0.0, 0.0, -1.0)
_UPRIGHT = 1e-3
"""Largest sine of half an angle about a horizontal axis that a pose on the ground may have."""

Values = Mapping[str, Sequence[float]]
"""By the name of the graph's input."""


class ForwardKinematics(Protocol):
    """Where joint positions put the tool."""

    def __call__(self, joint_position: Sequence[float]) -> tuple[Vector3, Quaternion]:
        """Position in m and orientation wxyz, in the contract's goal frame, of `[J]` rad in policy order."""


def validate_goal(
    contract: Contract, goal: AnyGoal, now: float, kinematics: ForwardKinematics | None = None
) -> ResolvedGoal:
    """Check a goal against a contract at Unix time `now` and fill in its defaults; raises `GoalRefused`.

    `kinematics` is asked where joints are to stand for a pose of the tool; without it those are refused.
    """
    goal = parsed_again(goal)
    limits = contract.goal
    frame = getattr(goal, "frame", limits.frame)
    if frame != limits.frame:
        raise GoalRefused(f"goal.frame is {shown(frame)}, but this policy takes goals in {limits.frame!r}.")
    values = _values(contract, goal, kinematics)
    request: list[float] = []
    for part, reading in zip(limits.parts(), limits.readings(contract), strict=True):
        request += _checked(contract, part, reading, values.get(part.input, part.default), _field(goal, part, reading))
    if refusal := limits.refusal(contract, np.array(request)):
        raise GoalRefused(f"goal: {refusal}.")
    if not has_angles(contract) and goal.angle_tolerance_deg is not None:
        raise GoalRefused("goal.angle_tolerance_deg was given, but this policy reaches positions only; leave it out.")
    return ResolvedGoal(
        id=goal.id,
        request=tuple(request),
        position_tolerance_m=goal.position_tolerance_m or limits.coarse_position_m,
        angle_tolerance_deg=goal.angle_tolerance_deg or limits.coarse_angle_deg,
        valid_for_s=_remaining(goal, now),
        speed=goal.speed,
    )


def middle_goal(contract: Contract, goal_id: str) -> ResolvedGoal:
    """The goal in the middle of what may be asked for, with a narrow tolerance and no timeout."""
    request: list[float] = []
    for part, reading in zip(contract.goal.parts(), contract.goal.readings(contract), strict=True):
        if part.low is not None and part.high is not None:
            request += [(low + high) / 2 for low, high in zip(part.low, part.high, strict=True)]
        else:
            request += part.default or reading.usual(contract)
    return ResolvedGoal(goal_id, tuple(request), 0.01, 1.0, math.inf)


def example_arguments(contract: Contract) -> str:
    """What `runtime goal` is given to ask for the goal in the middle."""
    readings, request = contract.goal.readings(contract), middle_goal(contract, "middle").request
    sizes = contract.goal.layout(contract).sizes
    numbers = [f"{number:.3g}" for number in request]
    if not is_one_pose(contract):
        parts = {}
        for name, size in sizes.items():
            parts[name], numbers = numbers[:size], numbers[size:]
        return "--set " + " ".join(f"{name}={','.join(values)}" for name, values in parts.items())
    axes = max(reading.axes for reading in readings)
    told = any(
        reading.turned and part.default is None for part, reading in zip(contract.goal.parts(), readings, strict=True)
    )
    if axes == 2:
        return f"--planar {' '.join(numbers[:2])}" + (" 0" if told else "")
    return f"--position {' '.join(numbers[:3])}" + (" --rpy 0 0 0" if told else "")


def is_one_pose(contract: Contract) -> bool:
    """Whether a goal says where one thing is to be, and maybe how it is to be turned there."""
    readings = contract.goal.readings(contract)
    placed = all(reading.axes or reading.turned for reading in readings) and any(reading.axes for reading in readings)
    return placed and len({reading.about for reading in readings}) == 1


def about_the_tool(contract: Contract) -> bool:
    """Whether goals are places of the robot's tool, and of nothing else."""
    placed = [reading for reading in contract.goal.readings(contract) if reading.axes]
    return bool(placed) and all(reading.about == contract.robot.end_effector_frame for reading in placed)


def takes_joints(contract: Contract) -> bool:
    """Whether joint positions can stand for a goal: as it is, or as the pose of the tool there."""
    readings = contract.goal.readings(contract)
    own = len(readings) == 1 and readings[0].per_joint
    return own or (is_one_pose(contract) and contract.turns and about_the_tool(contract))


def has_angles(contract: Contract) -> bool:
    """Whether nearness to a goal may be an angle."""
    return any(not reading.axes or reading.turned for reading in contract.goal.readings(contract))


def _values(contract: Contract, goal: AnyGoal, kinematics: ForwardKinematics | None) -> Values:
    if isinstance(goal, GoalValues):
        return _named(contract, goal)
    if isinstance(goal, GoalJoints):
        return _of_joints(contract, goal, kinematics)
    if isinstance(goal, GoalObject):
        return _of_pose(contract, "object_position", place_of_object(contract, goal), None)
    if isinstance(goal, GoalPlanar):
        return _of_plane(contract, goal)
    return _of_pose(contract, "position", goal.position, goal.quaternion())


def _named(contract: Contract, goal: GoalValues) -> Values:
    sizes = contract.goal.layout(contract).sizes
    unknown = [name for name in goal.values if name not in sizes]
    if unknown:
        known = ", ".join(f"{name} [{size}]" for name, size in sizes.items())
        raise GoalRefused(f"goal.values: no {shown(unknown[0])}; the goals of this policy are {known}.")
    return goal.values


def _of_pose(contract: Contract, field: str, position: Vector3, orientation: Quaternion | None) -> Values:
    """A pose of whatever the policy moves, which must be one thing."""
    parts, readings = contract.goal.parts(), contract.goal.readings(contract)
    _require_one_pose(contract, field)
    turned = any(reading.turned for reading in readings)
    if orientation is not None and not turned:
        what = "planar has a yaw" if field == "planar" else "orientation was given"
        raise GoalRefused(f"goal.{what}, but this policy reaches positions only; leave it out.")
    if max(reading.axes for reading in readings) == 2:
        _require_flat(field, position, orientation)
    found = {}
    for part, reading in zip(parts, readings, strict=True):
        if reading.turned and orientation is None:
            if part.default is None:
                raise GoalRefused(_NOT_TURNED.get(field, _NOT_TURNED["position"]))
            continue
        turn = np.array(orientation if orientation is not None else (1.0, 0.0, 0.0, 0.0))
        found[part.input] = tuple(np.asarray(reading.of_pose(np, np.array(position), turn), np.float64).tolist())
    return found


_NOT_TURNED = {
    "planar": "goal.planar is x and y, but this policy is told how to be turned, too: --planar takes x y yaw.",
    "position": "goal.orientation is missing, but this policy is told how to be turned; give orientation or rpy, too.",
}
"""By the field that says where."""


def _require_one_pose(contract: Contract, field: str) -> None:
    if not is_one_pose(contract):
        named = ", ".join(part.input for part in contract.goal.parts())
        raise GoalRefused(
            f"goal.{field} was given, but this policy's goals are not one pose; give values of {named}: runtime goal "
            f"{example_arguments(contract)}."
        )


def _require_flat(field: str, position: Vector3, orientation: Quaternion | None) -> None:
    if position[2] != 0.0:
        raise GoalRefused(
            f"goal.{field} z={position[2]:g} m was given, but this policy's goals are on the ground; give 0."
        )
    if orientation is not None and math.hypot(orientation[1], orientation[2]) > _UPRIGHT:
        raise GoalRefused(
            "goal.orientation is turned about a horizontal axis, but this policy's goals are on the ground."
        )


def place_of_object(contract: Contract, goal: GoalObject) -> Vector3:
    """Where the object should be, or where the tool should, before it."""
    if not about_the_tool(contract):
        if contract.tracked is None:
            raise GoalRefused("goal.object_position was given, but this policy brings neither a tool nor an object.")
        if goal.standoff_m is not None or goal.approach is not None:
            raise GoalRefused(
                f"goal.standoff_m or goal.approach was given, but this policy brings {contract.tracked_body!r} "
                "itself to object_position; leave them out."
            )
        return goal.object_position
    approach = goal.approach or _FROM_ABOVE
    back = (_STANDOFF_M if goal.standoff_m is None else goal.standoff_m) / math.hypot(*approach)
    (x, y, z), (a, b, c) = goal.object_position, approach
    return x - back * a, y - back * b, z - back * c


def _of_plane(contract: Contract, goal: GoalPlanar) -> Values:
    """Values of a planar goal: on the ground as it is, else a pose over a table: yaw, then the contract's default
    orientation.
    """
    _require_one_pose(contract, "planar")
    x, y, *angles = goal.planar
    readings = contract.goal.readings(contract)
    if all(reading.axes == 2 for reading in readings):
        if goal.height_m is not None:
            raise GoalRefused("goal.height_m was given, but this policy's goals are on the ground; leave it out.")
        turn = _about_vertical(angles[0]) if angles else None
        return _of_pose(contract, "planar", (x, y, 0.0), turn)
    box = contract.goal.box()
    if not contract.turns or box is None:
        raise GoalRefused("goal.planar was given, but this policy reaches positions only; give a position.")
    z = (box[0][2] + box[1][2]) / 2 if goal.height_m is None else goal.height_m
    c, _, _, s = _about_vertical(angles[0] if angles else 0.0)
    a, b, d, e = contract.default_orientation_wxyz
    return _of_pose(contract, "planar", (x, y, z), (c * a - s * e, c * b - s * d, c * d + s * b, c * e + s * a))


def _about_vertical(yaw: float) -> Quaternion:
    return math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)


def _of_joints(contract: Contract, goal: GoalJoints, kinematics: ForwardKinematics | None) -> Values:
    parts, readings = contract.goal.parts(), contract.goal.readings(contract)
    own = len(readings) == 1 and readings[0].per_joint
    if not own:
        _require_one_pose(contract, "joints")
    if not takes_joints(contract) or not (own or kinematics is not None):
        what = "positions only; give a position" if not contract.turns else f"{contract.goal.kind} only; give that"
        raise GoalRefused(f"goal.joints was given, but this policy reaches {what}.")
    names = contract.joint_names
    if set(goal.joints) != set(names):
        raise GoalRefused(f"goal.joints must name exactly {list(names)}, got {shown(list(goal.joints))}.")
    joints = [goal.joints[name] for name in names]
    if own:
        return {parts[0].input: joints}
    for joint, value in zip(contract.robot.joints, joints, strict=True):
        low, high = joint.position_range
        if not low <= value <= high:
            raise GoalRefused(
                f"goal.joints {joint.name}={value:g} rad is outside the joint's limits [{low:g}, {high:g}]."
            )
    assert kinematics is not None
    return _of_pose(contract, "joints", *kinematics(joints))


def _checked(
    contract: Contract, part: Part, reading: Reading, value: Sequence[float] | None, field: str
) -> tuple[float, ...]:
    """A part's value within its bounds; raises `GoalRefused`."""
    if value is None:
        raise GoalRefused(f"{field} is missing, {reading.size} numbers.")
    if len(value) != reading.size:
        raise GoalRefused(f"{field} has {len(value)} numbers, and must have {reading.size}.")
    try:
        value = reading.proper(value)
    except ValueError as error:
        raise GoalRefused(f"{field} {error}.") from error
    low, high = part.low, part.high
    if low is None or high is None:
        return tuple(value)
    rows = zip(reading.entries(contract), reading.units, value, low, high, strict=True)
    for entry, unit, number, least, most in rows:
        if not least <= number <= most:
            what = f"the workspace [{least:g}, {most:g}]" if reading.axes else f"its limits [{least:g}, {most:g}]"
            box = f" (box {_corner(low)} to {_corner(high)})" if reading.axes else ""
            name = f"{field} {entry}".rstrip()
            raise GoalRefused(f"{name}={number:g} {unit} is outside {what} {unit}{box}.")
    return tuple(value)


def _field(goal: AnyGoal, part: Part, reading: Reading) -> str:
    """What a client calls a part of its goal."""
    if isinstance(goal, GoalValues):
        return f"goal.values.{part.input}"
    if isinstance(goal, GoalJoints) and reading.per_joint:
        return "goal.joints"
    return "goal.position" if reading.axes else "goal.orientation" if reading.turned else f"goal.values.{part.input}"


def _remaining(goal: GoalOptions, now: float) -> float:
    if goal.stamp is not None and not goal.stamp <= now + _FUTURE_S:
        raise GoalRefused(f"goal.stamp is {goal.stamp - now:.1f} s in the future; set the sender's clock right.")
    if goal.timeout_s is None:
        return math.inf
    age = 0.0 if goal.stamp is None else max(0.0, now - goal.stamp)
    if age >= goal.timeout_s:
        raise GoalRefused(f"goal.stamp is {age:.3g} s old, so its timeout_s of {goal.timeout_s:g} has already passed.")
    return goal.timeout_s - age


def _corner(corner: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in corner) + ")"
