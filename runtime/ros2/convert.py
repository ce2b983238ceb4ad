"""Between ROS 2 messages and the runtime's own: poses carried between frames, stamps handled, quaternions reordered."""

from __future__ import annotations

import math
from collections.abc import Callable

from runtime.goals.markers import markers
from runtime.goals.messages import GoalPose, GoalRefused, parse_goal
from runtime.goals.resolve import about_the_tool, is_one_pose
from runtime.protocol.snapshot import Numbers, Snapshot
from runtime.robot.layout import Kind, Layout, Part
from runtime.ros2 import messages as ros
from runtime.ros2.clock import seconds
from runtime.ros2.tf.tree import NoTransform
from sim2real.contract import Contract, Quaternion, Vector3
from sim2real.errors import shown

_NANOSECONDS = 1_000_000_000
_ON_THE_GROUND_M = 0.01
"""How far above or below the ground a goal on it may come to lie in another frame."""

Carry = Callable[[str, str, Vector3, Quaternion], tuple[Vector3, Quaternion]]
"""A pose of the first frame as the second has it, m and wxyz; raises `NoTransform`."""


def goal_of(
    message: ros.PoseStamped,
    contract: Contract,
    *,
    frame: str,
    now: float,
    max_age_s: float,
    timeout_s: float | None,
    carry: Carry | None = None,
    to_unix_s: float = 0.0,
) -> GoalPose:
    """The goal that a pose asks for; raises `GoalRefused` naming what is wrong with it.

    `frame` is the ROS name of the contract's goal frame; poses in others are carried there, or refused without `carry`.
    A stamp of zero means now; a stamp more than `max_age_s` before `now` is refused, 0 takes any. Stamps are
    `to_unix_s` behind Unix time.
    """
    position, wxyz = _placed(message, frame, carry)
    if max(reading.axes for reading in contract.goal.readings(contract)) == 2 and message.header.frame_id != frame:
        x, y, z = position
        position = (x, y, 0.0 if abs(z) <= _ON_THE_GROUND_M else z)
    stamp = seconds(message.header.stamp)
    if stamp and max_age_s and now - stamp > max_age_s:
        raise GoalRefused(
            f"header.stamp is {now - stamp:.3g} s old, more than --max-age-s {max_age_s:g}; set the clocks right, or "
            "leave the stamp zero."
        )
    fields: dict[str, object] = {
        "position": position,
        "frame": contract.goal.frame,
        "stamp": stamp + to_unix_s if stamp and max_age_s else None,
        "timeout_s": timeout_s,
    }
    if contract.turns:
        fields["orientation_wxyz"] = wxyz
    goal = parse_goal({name: value for name, value in fields.items() if value is not None})
    assert isinstance(goal, GoalPose)
    return goal


def sighting_of(
    message: ros.PoseStamped, *, frame: str, stamped: bool, carry: Carry | None = None, to_unix_s: float = 0.0
) -> tuple[Vector3, Quaternion, float | None]:
    """Where a tracker sees the object, m, how it is turned, wxyz, and when, in Unix time (None for now); raises
    `GoalRefused`.
    """
    position, wxyz = _placed(message, frame, carry)
    if not all(map(math.isfinite, position)):
        raise GoalRefused(f"pose.position {position} of the object is not finite.")
    stamp = seconds(message.header.stamp)
    return position, wxyz, stamp + to_unix_s if stamp and stamped else None


def _placed(message: ros.PoseStamped, frame: str, carry: Carry | None) -> tuple[Vector3, Quaternion]:
    """The pose in `frame`, m and wxyz."""
    at, source = message.pose.position, message.header.frame_id
    position, wxyz = (at.x, at.y, at.z), _wxyz(message.pose.orientation)
    if source == frame:
        return position, wxyz
    if carry is None:
        raise GoalRefused(
            f"header.frame_id is {shown(source)}, but goals are taken in {frame!r}; transform the pose, leave out "
            "--no-tf, or say with --frame what your tree calls that frame."
        )
    try:
        return carry(source, frame, position, wxyz)
    except NoTransform as error:
        raise GoalRefused(
            f"header.frame_id is {shown(source)}, but goals are taken in {frame!r}, and {error}."
        ) from error


def joint_state_of(snapshot: Snapshot, frame: str) -> ros.JointState:
    """Measured joints; what is not finite is NaN, as ROS has it."""
    return ros.JointState(
        header=_header(snapshot, frame),
        name=list(snapshot.joint_names),
        position=_numbers(snapshot.joint_position),
        velocity=_numbers(snapshot.joint_velocity),
        effort=_numbers(snapshot.joint_effort),
    )


def trajectory_of(snapshot: Snapshot, frame: str, period_s: float) -> ros.JointTrajectory:
    """The command of the latest tick as a trajectory of one point, to be reached `period_s` after its stamp."""
    point = ros.JointTrajectoryPoint(
        positions=_numbers(snapshot.joint_position_target),
        velocities=[],
        accelerations=[],
        effort=[],
        time_from_start=ros.Duration(*_seconds(period_s)),
    )
    return ros.JointTrajectory(header=_header(snapshot, frame), joint_names=list(snapshot.joint_names), points=[point])


def tool_pose_of(snapshot: Snapshot, contract: Contract, frame: str) -> ros.PoseStamped | None:
    """The measured tool; None for a contract that has none."""
    tool = Layout.of(contract).tool
    if tool is None or not snapshot.readings:
        return None
    return _pose_of(snapshot, frame, *tool)


def base_pose_of(snapshot: Snapshot, contract: Contract, frame: str) -> ros.PoseStamped | None:
    """Where odometry has what goals are to bring somewhere, if that is a base; on the ground where it says no more."""
    posed = is_one_pose(contract) and not about_the_tool(contract) and contract.tracked is None
    if not posed or not snapshot.readings:
        return None
    readings = [_numbers(snapshot.readings[part.reading]) for part in contract.goal.parts()]
    (place,) = markers(contract, [value for values in readings for value in values]) or (None,)
    if place is None:
        return None
    turn = place.orientation_wxyz
    if turn is None:
        about = contract.goal.readings(contract)[0].about
        measured = [p for p in Layout.of(contract).of_kind(Kind.ROTATION) if p.about == about]
        turn = _quaternion(_numbers(snapshot.readings[measured[0].name])) if measured else (1.0, 0.0, 0.0, 0.0)
    return ros.PoseStamped(header=_header(snapshot, frame), pose=_pose(place.position, turn))


def _pose_of(snapshot: Snapshot, frame: str, place: Part, turn: Part) -> ros.PoseStamped:
    x, y, z = _numbers(snapshot.readings[place.name])
    turned = _quaternion(_numbers(snapshot.readings[turn.name]))
    return ros.PoseStamped(header=_header(snapshot, frame), pose=_pose((x, y, z), turned))


def _pose(position: Vector3, wxyz: Quaternion) -> ros.Pose:
    w, x, y, z = wxyz
    return ros.Pose(ros.Point(*position), ros.Quaternion(x, y, z, w))


def _quaternion(values: list[float]) -> Quaternion:
    w, x, y, z = values
    return w, x, y, z


def _wxyz(orientation: ros.Quaternion) -> Quaternion:
    return orientation.w, orientation.x, orientation.y, orientation.z


def _header(snapshot: Snapshot, frame: str) -> ros.Header:
    return ros.Header(stamp=ros.Time(*_seconds(snapshot.stamp)), frame_id=frame)


def _seconds(time_s: float) -> tuple[int, int]:
    # Not in whole nanoseconds first: those of Unix time are more than a float can hold.
    seconds, fraction = divmod(time_s, 1.0)
    return int(seconds), min(round(fraction * _NANOSECONDS), _NANOSECONDS - 1)


def _numbers(values: Numbers) -> list[float]:
    return [math.nan if value is None else value for value in values]
