"""Contracts of schema version 1, as the present version says them."""

from __future__ import annotations

from typing import Any

_JOINT_FIELDS = {
    "position_min_rad": "position_min",
    "position_max_rad": "position_max",
    "velocity_max_rad_s": "velocity_max",
    "effort_max_nm": "effort_max",
    "stiffness_nm_rad": "stiffness",
    "damping_nms_rad": "damping",
    "home_rad": "home_position",
}
_ACTION_FIELDS = {"scale_rad": "step_max", "window_rad": "window"}


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """The plain data of a version 1 contract as plain data of the present version.

    What is not where version 1 has it is left as it is, for validation to name it.
    """
    robot, goal, readings = data.get("robot"), data.get("goal"), data.get("readings")
    if isinstance(robot, dict) and robot.get("actuator_mode") == "position":
        robot = {key: value for key, value in robot.items() if key != "actuator_mode"}
    if isinstance(robot, dict) and isinstance(robot.get("joints"), list | tuple):
        robot = robot | {"joints": [_renamed(joint, _JOINT_FIELDS) for joint in robot["joints"]]}
    known: dict[str, Any] = {}
    if isinstance(readings, list | tuple):
        known["readings"] = [_reading(reading) for reading in readings]
    if isinstance(goal, dict):
        known["goal"] = _goal(goal)
        known["features"] = [] if goal.get("object_body") is None else [_FROM_TOOL]
    action = _renamed(data.get("action"), _ACTION_FIELDS)
    return data | {"schema_version": 2, "robot": robot, "action": action} | known


_FROM_TOOL = {"kind": "difference", "of": "object_position", "minus": "end_effector_position"}
"""Version 1 observed objects from the tool without saying so."""


def _reading(reading: Any) -> Any:
    """Version 1 named readings as their kinds are named, and put both ends of a pose into its frame."""
    if not isinstance(reading, dict):
        return reading
    frame, arrow, place = str(reading.get("frame")).partition("->")
    return reading | {"kind": reading.get("name")} | ({"frame": frame, "of": place} if arrow else {})


def _goal(goal: dict[str, Any]) -> dict[str, Any]:
    space, tracked = goal.get("space"), goal.get("object_body")
    rest = {key: value for key, value in goal.items() if key not in ("space", "object_body")}
    if space == "position":
        # Version 1 stated an orientation that no such goal ever had.
        rest = {key: value for key, value in rest.items() if key != "default_orientation_wxyz"}
    kinds = {"position": "tool_position" if tracked is None else "object_position", "pose": "tool_pose"}
    return {"kind": kinds.get(str(space), space)} | rest


def _renamed(data: Any, names: dict[str, str]) -> Any:
    return {names.get(key, key): value for key, value in data.items()} if isinstance(data, dict) else data
