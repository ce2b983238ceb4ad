"""What runs on the robot: policy session, controller, safety, goals, server and client.

    from runtime import Controller, GoalPose

    controller = Controller("student.onnx")
    controller.set_goal(GoalPose(position=(0.5, 0.1, 0.4)))
    while True:
        data.ctrl[:] = controller.step(data)
        mujoco.mj_step(model, data)

Nothing here imports JAX, `onnx` or the training side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.control.mujoco_controller import Controller
    from runtime.goals.messages import GoalJoints, GoalObject, GoalPlanar, GoalPose, GoalRefused, GoalValues
    from runtime.inference.policy import Policy
    from runtime.protocol.client import Client
    from runtime.status import GoalStatus

__all__ = [
    "Client",
    "Controller",
    "GoalJoints",
    "GoalObject",
    "GoalPlanar",
    "GoalPose",
    "GoalRefused",
    "GoalStatus",
    "GoalValues",
    "Policy",
]

_HOME = {
    "Client": "runtime.protocol.client",
    "Controller": "runtime.control.mujoco_controller",
    "GoalJoints": "runtime.goals.messages",
    "GoalObject": "runtime.goals.messages",
    "GoalPlanar": "runtime.goals.messages",
    "GoalPose": "runtime.goals.messages",
    "GoalRefused": "runtime.goals.messages",
    "GoalStatus": "runtime.status",
    "GoalValues": "runtime.goals.messages",
    "Policy": "runtime.inference.policy",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use, so that a client does not pay for onnxruntime and MuJoCo.
    if name not in _HOME:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
