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
from typing import Any

from foxglove_schemas_protobuf.JointStates_pb2 import JointStates
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.PoseInFrame_pb2 import PoseInFrame
from mcap_protobuf.schema import register_schema

from sim2real.contract import Contract

VIEWS: dict[str, Any] = {
    "/tool_pose": PoseInFrame,
    "/goal_pose": PoseInFrame,
    "/object_pose": PoseInFrame,
    "/joint_states": JointStates,
    "/joint_commands": JointStates,
    "/log": Log,
}
"""Topic to protobuf message."""
_HELD = ("hold", "damp", "estop")


class Views:
    """These channels of one recording."""

    def __init__(self, writer: Any, contract: Contract) -> None:
        self._writer, self._contract = writer, contract
        self._channels = {
            topic: writer.register_channel(topic, "protobuf", register_schema(writer, message))
            for topic, message in VIEWS.items()
        }
        self._said = ""

    def tick(self, wall_ns: int, tick: dict[str, Any], sentence: str) -> None:
        """A message of `/tick`, and its reason in words."""
        frame, names = self._contract.goal.frame, self._contract.joint_names
        tool, orientation = tick["end_effector_position"], tick["end_effector_orientation"]
        self._add("/tool_pose", wall_ns, pose(wall_ns, frame, tool, orientation))
        if tick["object_position"]:
            self._add("/object_pose", wall_ns, pose(wall_ns, frame, tick["object_position"]))
        measured = {what: tick[f"joint_{what}"] for what in ("position", "velocity", "effort")}
        self._add("/joint_states", wall_ns, joints(wall_ns, names, **measured))
        if tick["commanding"]:
            self._add("/joint_commands", wall_ns, joints(wall_ns, names, position=tick["command"]))
        said = f"{tick['state']}: {sentence}"
        if said != self._said:
            level = Log.WARNING if tick["state"] in _HELD else Log.INFO
            message = Log(level=level, message=said, name="safety")
            message.timestamp.FromNanoseconds(wall_ns)
            self._add("/log", wall_ns, message)
            self._said = said

    def goal(self, wall_ns: int, position: Sequence[float], wxyz: Sequence[float]) -> None:
        """A goal as it was given."""
        self._add("/goal_pose", wall_ns, pose(wall_ns, self._contract.goal.frame, position, wxyz))

    def _add(self, topic: str, wall_ns: int, message: Any) -> None:
        """None, for what is not known, is left out."""
        if message is not None:
            self._writer.add_message(self._channels[topic], wall_ns, message.SerializeToString(), wall_ns)


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
