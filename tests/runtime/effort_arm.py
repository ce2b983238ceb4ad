"""An arm whose drives are motors: its task."""

from __future__ import annotations

from pathlib import Path

from sim2real.tasks.task import Task, load_task
from tests.sim2real.planar_arm import MJCF, TASK, write_task

EFFORT_MJCF = (
    MJCF.replace("<position", "<motor")
    .replace(' kp="100" kv="8"', "")
    .replace(' kp="50" kv="4"', "")
    .replace("armature", 'damping="1" armature')
    .replace(' ctrl="0.2 0.5"', "")
)
READINGS = [*TASK["readings"][:2], "joint_command", *TASK["readings"][3:]]


def effort_task(folder: Path) -> Task:
    """Writes arm.xml and task.yaml into `folder`."""
    return load_task(write_task(folder, mjcf=EFFORT_MJCF, readings=READINGS, action="joint_effort"))
