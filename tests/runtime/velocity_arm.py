"""An arm whose drives are told velocities: its task, its contract, and one in which one of two drives is."""

from __future__ import annotations

from pathlib import Path

from sim2real.contract import Contract
from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import MJCF, TASK, write_task

VELOCITY_MJCF = (
    MJCF.replace("<position", "<velocity").replace('kp="100" kv="8"', 'kv="8"').replace('kp="50" kv="4"', 'kv="4"')
)


def velocity_task(folder: Path) -> Task:
    """Writes arm.xml and task.yaml into `folder`."""
    readings = [*TASK["readings"][:2], "joint_command", *TASK["readings"][3:]]
    return load_task(write_task(folder, mjcf=VELOCITY_MJCF, readings=readings, action="joint_velocity"))


def mixed(contract: Contract) -> Contract:
    """The contract with a first joint that is told positions."""
    first, *others = contract.robot.joints
    told = first.model_copy(update={"mode": "position", "stiffness": 100.0})
    return contract.model_copy(update={"robot": contract.robot.model_copy(update={"joints": (told, *others)})})
