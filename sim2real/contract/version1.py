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
    robot, action = data.get("robot"), data.get("action")
    if isinstance(robot, dict) and robot.get("actuator_mode") == "position":
        robot = {key: value for key, value in robot.items() if key != "actuator_mode"}
    if isinstance(robot, dict) and isinstance(robot.get("joints"), list | tuple):
        robot = robot | {"joints": [_renamed(joint, _JOINT_FIELDS) for joint in robot["joints"]]}
    return data | {"schema_version": 2, "robot": robot, "action": _renamed(action, _ACTION_FIELDS)}


def _renamed(data: Any, names: dict[str, str]) -> Any:
    return {names.get(key, key): value for key, value in data.items()} if isinstance(data, dict) else data
