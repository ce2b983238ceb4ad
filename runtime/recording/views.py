"""Channels of a recording for people to look at: Foxglove's messages in protobuf, which Foxglove and Rerun both draw.

    /tool_pose       foxglove.PoseInFrame  the measured tool
    /goal_pose       foxglove.PoseInFrame  the goal, when it was given
    /object_pose     foxglove.PoseInFrame  where the object was, for a policy that moves one; it has no orientation
    /joint_states    foxglove.JointStates  measured positions, velocities and, where there are any, efforts
    /joint_commands  foxglove.JointStates  commanded positions
    /log             foxglove.Log          changes of the safety state, in words

Units are rad, rad/s, Nm and m; frames are the contract's. What is not known is left out. Nothing here is read again:
what a replay needs is in `runtime.recording.schemas`, in JSON, which Rerun shows as bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from foxglove_schemas_protobuf.JointStates_pb2 import JointStates
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame

VIEWS: dict[str, Any] = {
    "/tool_pose": PoseInFrame,
    "/goal_pose": PoseInFrame,
    "/object_pose": PoseInFrame,
    "/joint_states": JointStates,
    "/joint_commands": JointStates,
    "/log": Log,
}
"""Topic to protobuf message."""
_LEVELS = {"info": Log.INFO, "warning": Log.WARNING}


def pose(wall_ns: int, frame: str, position: Sequence[float], wxyz: Sequence[float] = (1.0, 0.0, 0.0, 0.0)) -> Any:
    """PoseInFrame, m and a unit quaternion; None when a number is not known."""
    if not all(map(math.isfinite, (*position, *wxyz))):
        return None
    message = PoseInFrame(frame_id=frame)
    message.timestamp.FromNanoseconds(wall_ns)
    where, turn = message.pose.position, message.pose.orientation
    where.x, where.y, where.z = position
    turn.w, turn.x, turn.y, turn.z = wxyz
    return message


def joints(wall_ns: int, names: Sequence[str], **quantities: Sequence[float]) -> Any:
    """JointStates of `position`, `velocity` and `effort`, `[J]` each, in the order of `names`."""
    message = JointStates()
    message.timestamp.FromNanoseconds(wall_ns)
    for index, name in enumerate(names):
        known = {what: values[index] for what, values in quantities.items() if math.isfinite(values[index])}
        message.joints.add(name=name, **known)
    return message


def said(wall_ns: int, level: Literal["info", "warning"], text: str) -> Any:
    """Log, of the safety layer."""
    message = Log(level=_LEVELS[level], message=text, name="safety")
    message.timestamp.FromNanoseconds(wall_ns)
    return message
