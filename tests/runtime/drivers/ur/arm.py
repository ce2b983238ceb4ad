"""A UR5e by its published Denavit-Hartenberg parameters, with servos, and a task for its tool."""

from __future__ import annotations

import copy
import math
from pathlib import Path

from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import TASK, write_task

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
HOME = (0.0, -1.57, 1.57, -1.57, -1.57, 0.0)
_AHEAD_M = (0.0, -0.425, -0.3922, 0.0, 0.0, 0.0)
_UP_M = (0.1625, 0.0, 0.0, 0.1333, 0.0997, 0.0996)
_TWIST = (math.pi / 2, 0.0, 0.0, math.pi / 2, -math.pi / 2, 0.0)


def mjcf(prefix: str = "") -> str:
    """Each link's frame follows from the one before: a turn about z, then along z, along x, and about x."""
    links, place, twist = "", "0 0 0", 0.0
    for joint, ahead, up, next_twist in zip(JOINTS, _AHEAD_M, _UP_M, _TWIST, strict=True):
        links += (
            f'<body name="{joint}" pos="{place}" euler="{twist} 0 0" gravcomp="1">'
            '<inertial pos="0 0 0" mass="2" diaginertia="0.02 0.02 0.02"/>'
            f'<joint name="{prefix}{joint}_joint" axis="0 0 1" range="-6.2831 6.2831" armature="0.1"/>'
        )
        place, twist = f"{ahead} 0 {up}", next_twist
    drives = "".join(
        f'<position name="{joint}" joint="{prefix}{joint}_joint" kp="2000" kv="200" forcerange="-150 150"/>'
        for joint in JOINTS
    )
    home = " ".join(map(str, HOME))
    return (
        '<mujoco model="ur5e"><compiler angle="radian" autolimits="true"/><worldbody>'
        f'{links}<site name="tool" pos="{place}"/>{"</body>" * len(JOINTS)}</worldbody>'
        f'<actuator>{drives}</actuator><keyframe><key name="home" qpos="{home}" ctrl="{home}"/></keyframe></mujoco>'
    )


def ur_task(folder: Path, prefix: str = "", names: tuple[str, ...] = JOINTS) -> Task:
    """Writes arm.xml and task.yaml; `names` are the policy's joints in its own order."""
    robot = copy.deepcopy(TASK["robot"])
    robot |= {"name": "ur5e", "joints": [f"{prefix}{name}_joint" for name in names], "velocity_max": [3.1] * 6}
    goal = {"kind": "tool_position", "position_min_m": [-0.9, -0.9, 0.0], "position_max_m": [0.9, 0.9, 1.2]}
    timing = {"physics_dt_s": 0.002, "control_dt_s": 0.04, "episode_s": 4.0}
    resets = [{"kind": "around_home", "half_range": [0.3] * 6}]
    return load_task(write_task(folder, mjcf=mjcf(prefix), robot=robot, goal=goal, timing=timing, resets=resets))
