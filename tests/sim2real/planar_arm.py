"""A two-joint arm and its task, small enough to break in every way that a user can."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

MJCF = """
<mujoco model="planar_arm">
  <compiler angle="radian" autolimits="true"/>
  <worldbody>
    <body name="upper" pos="0 0 0.1">
      <inertial pos="0.15 0 0" mass="1" diaginertia="0.001 0.01 0.01"/>
      <joint name="shoulder" axis="0 0 1" range="-2 2" armature="0.05"/>
      <geom name="upper" type="capsule" size="0.02" fromto="0 0 0 0.3 0 0" mass="0" rgba="0.5 0.5 0.5 1"/>
      <body name="lower" pos="0.3 0 0">
        <inertial pos="0.1 0 0" mass="0.5" diaginertia="0.0005 0.004 0.004"/>
        <joint name="elbow" axis="0 0 1" range="-2.5 2.5" armature="0.02"/>
        <site name="tool" pos="0.2 0 0"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <position name="shoulder" joint="shoulder" kp="100" kv="8" forcerange="-20 20"/>
    <position name="elbow" joint="elbow" kp="50" kv="4" forcerange="-10 10"/>
  </actuator>
  <keyframe><key name="home" qpos="0.2 0.5" ctrl="0.2 0.5"/></keyframe>
</mujoco>
"""

TASK: dict[str, Any] = {
    "name": "planar_reach",
    "robot": {
        "name": "planar_arm",
        "mjcf": "arm.xml",
        "joints": ["shoulder", "elbow"],
        "velocity_max": [3.0, 4.0],
        "end_effector_site": "tool",
    },
    "readings": [
        "joint_position",
        "joint_velocity",
        "joint_position_target",
        "end_effector_position",
        "end_effector_orientation",
    ],
    "goal": {"kind": "tool_position", "position_min_m": [-0.5, -0.5, 0.05], "position_max_m": [0.5, 0.5, 0.15]},
    "timing": {"physics_dt_s": 0.002, "control_dt_s": 0.02, "episode_s": 2.0},
    "resets": [{"kind": "around_home", "half_range": [1.0, 1.0]}],
}


def task_data(**changes: Any) -> dict[str, Any]:
    """The task's YAML with entries replaced; a double underscore goes one level down, `robot__joints=...`, into
    lists by number.
    """
    data = copy.deepcopy(TASK)
    for key, value in changes.items():
        *parents, last = key.split("__")
        place = data
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[last] = value
    return data


def write_task(folder: Path, *, mjcf: str = MJCF, **changes: Any) -> Path:
    """Write MJCF and YAML into `folder` and return the YAML's path."""
    (folder / "arm.xml").write_text(mjcf)
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump(task_data(**changes)))
    return path
