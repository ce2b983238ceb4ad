"""Between ROS 2 messages and the runtime's own: frames checked, stamps handled, quaternions reordered."""

from __future__ import annotations

import math

from runtime.goals.markers import markers
from runtime.goals.messages import GoalPose, GoalRefused, parse_goal
from runtime.goals.resolve import about_the_tool, is_one_pose
from runtime.protocol.snapshot import Numbers, Snapshot
from runtime.robot.layout import Kind, Layout, Part
from runtime.ros2 import messages as ros
from sim2real.contract import Contract, Quaternion, Vector3
from sim2real.errors import shown

_NANOSECONDS = 1_000_000_000


def goal_of(
    message: ros.PoseStamped, contract: Contract, *, frame: str, now: float, max_age_s: float, timeout_s: float | None
) -> GoalPose:
    """The goal that a pose asks for; raises `GoalRefused` naming what is wrong with it.

    `frame` is the ROS name of the contract's goal frame; no other is taken, because nothing here knows transforms.
    A stamp of zero means now; a stamp more than `max_age_s` before `now` (Unix time) is refused, 0 takes any.
    """
    _require_frame(message, frame)
    stamp = _stamp(message)
    if stamp and max_age_s and now - stamp > max_age_s:
        raise GoalRefused(
            f"header.stamp is {now - stamp:.3g} s old, more than --max-age-s {max_age_s:g}; set the clocks right, or "
            "leave the stamp zero."
        )
    position, orientation = message.pose.position, message.pose.orientation
    fields: dict[str, object] = {
        "position": (position.x, position.y, position.z),
        "frame": contract.goal.frame,
        "stamp": stamp if stamp and max_age_s else None,
        "timeout_s": timeout_s,
    }
    if contract.turns:
        fields["orientation_wxyz"] = _wxyz(orientation)
    goal = parse_goal({name: value for name, value in fields.items() if value is not None})
    assert isinstance(goal, GoalPose)
    return goal


def sighting_of(message: ros.PoseStamped, *, frame: str, stamped: bool) -> tuple[Vector3, Quaternion, float | None]:
    """Where a tracker sees the object, m, how it is turned, wxyz, and when, in Unix time (None for now); raises
    `GoalRefused`.
    """
    _require_frame(message, frame)
    at, stamp = message.pose.position, _stamp(message)
    if not all(map(math.isfinite, (at.x, at.y, at.z))):
        raise GoalRefused(f"pose.position ({at.x}, {at.y}, {at.z}) of the object is not finite.")
    return (at.x, at.y, at.z), _wxyz(message.pose.orientation), stamp if stamp and stamped else None


def _require_frame(message: ros.PoseStamped, frame: str) -> None:
    if message.header.frame_id != frame:
        raise GoalRefused(
            f"header.frame_id is {shown(message.header.frame_id)}, but goals are taken in {frame!r}; transform the "
            "pose, or say with --frame what your tree calls that frame."
        )


def _stamp(message: ros.PoseStamped) -> float:
    return message.header.stamp.sec + message.header.stamp.nanosec / _NANOSECONDS


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
