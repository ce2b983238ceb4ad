"""What must be the same in simulation and on the robot: contract, robots, tasks and simulation backends.

    from sim2real import load_task

    task = load_task("franka_pose")          # or "my_robot/pick.yaml"
    task.contract.joint_names                # what every policy for this task is held to
    task.contract.digest                     # equal digests: same robot, readings, action, goal and rates
    task.model                               # the compiled MJCF, a mujoco.MjModel

Nothing here imports JAX; only `sim2real.backends.mjx` does. MuJoCo is loaded when a task first is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim2real.contract import Contract, differences, require_same_interface
from sim2real.errors import ContractMismatch, ShoalError

if TYPE_CHECKING:
    from sim2real.tasks.shipped import task_names
    from sim2real.tasks.task import Task, load_task

__all__ = [
    "Contract",
    "ContractMismatch",
    "ShoalError",
    "Task",
    "differences",
    "load_task",
    "require_same_interface",
    "task_names",
]


def __getattr__(name: str) -> Any:
    # A contract can be read without MuJoCo, so a robot-side tool need not wait for it to load.
    if name not in __all__:
        raise AttributeError(f"module 'sim2real' has no attribute {name!r}")
    from sim2real.tasks import shipped, task

    return getattr(shipped if name == "task_names" else task, name)
