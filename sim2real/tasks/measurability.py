"""Which readings a robot can have: no policy may be trained on what no sensor measures.

Simulation knows everything. A policy that reads what only simulation knows learns well and cannot be deployed, and
nobody notices before the robot. A task may declare an estimator for such a reading; then somebody has thought of it.
"""

from __future__ import annotations

from typing import Any

import mujoco

from sim2real.errors import ShoalError

_UNMEASURABLE = {
    "base_linear_velocity": "no sensor on a floating base measures it; it needs a state estimator",
    "object_velocity": "no sensor measures it; use object poses of a tracker",
    "contact_force": "simulation only; use joint torques",
}


def require_measurable(readings: Any, estimators: Any) -> None:
    """Refuse readings that no sensor measures and that no estimator is declared for."""
    estimated = estimators if isinstance(estimators, dict) else {}
    for reading in readings if isinstance(readings, list) else []:
        if isinstance(reading, str) and reading in _UNMEASURABLE and reading not in estimated:
            raise ShoalError(
                f"readings: {reading!r} cannot be measured on a robot: {_UNMEASURABLE[reading]}. If your robot has an "
                f"estimator for it, say which under `estimators: {{{reading}: ...}}`."
            )


def require_tool_from_joints(joints: list[str], estimators: dict[str, str], model: mujoco.MjModel, site: int) -> None:
    """Refuse a tool pose that does not follow from the task's joints, unless something else measures it."""
    body, tool = int(model.site_bodyid[site]), ("end_effector_position", "end_effector_orientation")
    if all(name in estimators for name in tool):
        return
    while body:
        first = int(model.body_jntadr[body])
        for joint in range(first, first + int(model.body_jntnum[body])):
            name = model.joint(joint).name
            if name not in joints:
                raise ShoalError(
                    f"robot.joints: joint {name!r} lies between the base and the tool but is no joint of the task, so "
                    "no encoder tells where the tool is; add the joint, weld it, or say under `estimators` what "
                    f"measures {tool[0]} and {tool[1]}."
                )
        body = int(model.body_parentid[body])
