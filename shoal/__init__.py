"""Shoal under its own name: what people use most, from the rooms where it lives.

    from shoal import Controller, GoalPose, load_task

    controller = Controller("student.onnx")

Every name is loaded on first use, so importing `shoal` loads neither MuJoCo nor ONNX Runtime, and never JAX.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime import (
        Client,
        Controller,
        GoalJoints,
        GoalObject,
        GoalPlanar,
        GoalPose,
        GoalRefused,
        GoalStatus,
        GoalValues,
        Policy,
    )
    from sim2real import Contract, ContractMismatch, ShoalError, Task, load_task, task_names

__all__ = [
    "Client",
    "Contract",
    "ContractMismatch",
    "Controller",
    "GoalJoints",
    "GoalObject",
    "GoalPlanar",
    "GoalPose",
    "GoalRefused",
    "GoalStatus",
    "GoalValues",
    "Policy",
    "ShoalError",
    "Task",
    "load_task",
    "task_names",
]

_FROM_SIM2REAL = {"Contract", "ContractMismatch", "ShoalError", "Task", "load_task", "task_names"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'shoal' has no attribute {name!r}")
    return getattr(import_module("sim2real" if name in _FROM_SIM2REAL else "runtime"), name)


def __dir__() -> list[str]:
    return __all__
