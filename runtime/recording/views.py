"""Channels of a recording for people to look at: Foxglove's messages in protobuf, which Foxglove and Rerun both draw.

    /tool_pose       foxglove.PoseInFrame  the measured tool
    /goal_pose       foxglove.PoseInFrame  the goal, when it was given
    /object_pose     foxglove.PoseInFrame  where the object was, for a policy that moves one
    /..._pose        foxglove.PoseInFrame  whatever else a contract has a place of, by the name of its site or body
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

from runtime.goals.markers import markers
from runtime.robot.layout import Kind, Layout, Part
from sim2real.contract import Contract

VIEWS: dict[str, Any] = {
    "/goal_pose": PoseInFrame,
    "/joint_states": JointStates,
    "/joint_commands": JointStates,
    "/log": Log,
}
"""Topic to protobuf message, of every recording; beside them are the poses that a contract has readings of."""
_NOT_TURNED = (1.0, 0.0, 0.0, 0.0)
_HELD = ("hold", "damp", "estop")


class Views:
    """These channels of one recording."""

    def __init__(self, writer: Any, contract: Contract) -> None:
        self._writer, self._contract = writer, contract
        self._poses = _poses(contract)
        topics = VIEWS | dict.fromkeys(self._poses, PoseInFrame)
        self._channels = {
            topic: writer.register_channel(topic, "protobuf", register_schema(writer, message))
            for topic, message in topics.items()
        }
        speeds = Layout.of(contract).of_kind(Kind.JOINT_VELOCITY)
        names = {"position": contract.action.measured, "effort": "joint_effort"}
        self._joints = names | ({"velocity": speeds[0].name} if speeds else {})
        self._said = ""

    def tick(self, wall_ns: int, tick: dict[str, Any], readings: Sequence[float], sentence: str) -> None:
        """A message of `/tick`, the readings in it as one vector, and its reason in words."""
        frame, names = self._contract.goal.frame, self._contract.joint_names
        for topic, (place, turn) in self._poses.items():
            position = [*readings[place.entries], 0.0][:3]
            wxyz = _NOT_TURNED if turn is None else readings[turn.entries]
            self._add(topic, wall_ns, pose(wall_ns, frame, position, wxyz))
        measured = {what: tick[name] for what, name in self._joints.items()}
        self._add("/joint_states", wall_ns, joints(wall_ns, names, **measured))
        if tick["commanding"]:
            self._add("/joint_commands", wall_ns, joints(wall_ns, names, **self._told(tick["command"])))
        said = f"{tick['state']}: {sentence}"
        if said != self._said:
            level = Log.WARNING if tick["state"] in _HELD else Log.INFO
            message = Log(level=level, message=said, name="safety")
            message.timestamp.FromNanoseconds(wall_ns)
            self._add("/log", wall_ns, message)
            self._said = said

    def _told(self, command: Sequence[float]) -> dict[str, Sequence[float]]:
        """What each drive is told under the quantity that it is."""
        rows, modes = [joint.mode for joint in self._contract.robot.joints], ("position", "velocity", "effort")
        return {
            mode: [value if its == mode else math.nan for value, its in zip(command, rows, strict=True)]
            for mode in modes
            if mode in rows
        }

    def goal(self, wall_ns: int, request: Sequence[float]) -> None:
        """The places of a goal as it was given, `[K]`."""
        for place in markers(self._contract, request):
            wxyz = place.orientation_wxyz or self._contract.default_orientation_wxyz
            self._add("/goal_pose", wall_ns, pose(wall_ns, self._contract.goal.frame, place.position, wxyz))

    def _add(self, topic: str, wall_ns: int, message: Any) -> None:
        """None, for what is not known, is left out."""
        if message is not None:
            self._writer.add_message(self._channels[topic], wall_ns, message.SerializeToString(), wall_ns)


def _poses(contract: Contract) -> dict[str, tuple[Part, Part | None]]:
    """Topic to place and orientation, of everything whose place is measured."""
    layout, found = Layout.of(contract), {}
    for place in layout.parts:
        if place.kind is Kind.POSITION:
            turns = [part for part in layout.parts if part.kind is Kind.ROTATION and part.about == place.about]
            own = "tool" if place.about == contract.robot.end_effector_frame else place.about
            topic = "/object_pose" if place.name == contract.tracked else f"/{own}_pose"
            found[topic] = place, turns[0] if turns else None
    return found


def pose(wall_ns: int, frame: str, position: Sequence[float], wxyz: Sequence[float] = _NOT_TURNED) -> Any:
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
