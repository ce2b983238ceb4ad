"""An arm whose drives are told velocities: its task, its contract, and one in which one of two drives is."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import yaml

from sim2real.contract import Contract
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import MJCF, TASK, write_task

_TOOL = ("end_effector_position", "end_effector_orientation")
VELOCITY_MJCF = (
    MJCF.replace("<position", "<velocity").replace('kp="100" kv="8"', 'kv="8"').replace('kp="50" kv="4"', 'kv="4"')
)


def velocity_task(folder: Path) -> Task:
    """Writes arm.xml and task.yaml into `folder`."""
    readings = [*TASK["readings"][:2], "joint_command", *TASK["readings"][3:]]
    return load_task(write_task(folder, mjcf=VELOCITY_MJCF, readings=readings, action="joint_velocity"))


def mixed_task(folder: Path) -> Task:
    """An arm of which one drive is told positions and one velocities; writes arm.xml and task.yaml into `folder`."""
    mjcf = MJCF.replace('<position name="elbow"', '<velocity name="elbow"').replace('kp="50" kv="4"', 'kv="4"')
    readings = [*TASK["readings"][:2], "joint_command", *TASK["readings"][3:]]
    kinds = {"shoulder": "joint_position_increment", "elbow": "joint_velocity"}
    groups = [{"joints": [j], "action": {"kind": kind, "previous": "joint_command"}} for j, kind in kinds.items()]
    action = {"kind": "groups", "groups": groups}
    return load_task(write_task(folder, mjcf=mjcf, readings=readings, action=action))


def mixed(contract: Contract) -> Contract:
    """The contract with a first joint that is told positions."""
    first, *others = contract.robot.joints
    told = first.model_copy(update={"mode": "position", "stiffness": 100.0})
    return contract.model_copy(update={"robot": contract.robot.model_copy(update={"joints": (told, *others)})})


def velocity_franka(folder: Path) -> Task:
    """The Franka of `franka_reach` with drives that are told velocities; writes arm.xml and task.yaml into `folder`."""
    shipped = load_task("franka_reach")
    spec = shipped.spec()
    for actuator in spec.actuators:
        actuator.set_to_velocity(kv=100.0)
        actuator.ctrllimited = mujoco.mjtLimited.mjLIMITED_FALSE
    for key in spec.keys:
        key.ctrl = np.zeros(len(key.ctrl))
    spec.meshdir = str(shipped.mjcf_path.parent / spec.meshdir)
    (folder / "arm.xml").write_text(spec.to_xml())
    fields = {
        "name": "franka_velocity",
        "extends": "franka_reach",
        "robot": {"mjcf": "arm.xml"},
        "readings": ["joint_position", "joint_velocity", "joint_command", *_TOOL],
        "action": "joint_velocity",
    }
    (folder / "task.yaml").write_text(yaml.safe_dump(fields))
    return load_task(folder / "task.yaml")
