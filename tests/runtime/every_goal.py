"""A contract for every kind of goal that ships, for one of another package and for every robot that ships."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from sim2real.contract import Contract, Goal, Reading
from sim2real.tasks.task import load_task
from sim2real.terms import read_term

OUTSIDE = "tests.sim2real.terms.outside"
_BOX = {"position_min_m": [0.3, -0.2, 0.1], "position_max_m": [0.6, 0.2, 0.5]}
_FLAT = {"position_min_m": [-2.0, -2.0], "position_max_m": [2.0, 2.0]}
_TOGETHER = [{"kind": "tool_position", **_BOX}, {"kind": "joint_configuration"}]
_MADE: dict[str, tuple[str, list[object], dict[str, object]]] = {
    "object_pose": (
        "franka_push",
        [{"kind": "orientation", "name": "object_orientation", "of": "puck", "source": "tracker"}],
        {"kind": "object_pose", "orientation_weight_m": 0.1, **_BOX},
    ),
    "planar_pose": (
        "ant",
        [{"kind": "planar_pose", "name": "base_pose", "of": "torso", "source": "odometry"}],
        {"kind": "planar_pose", **_FLAT},
    ),
    "base_pose": (
        "ant",
        [{"kind": "position", "name": "base_place", "of": "torso", "source": "odometry"}],
        {
            "kind": "tool_pose",
            "position": "base_place",
            "orientation": "base_orientation",
            "position_min_m": [-2.0, -2.0, 0.0],
            "position_max_m": [2.0, 2.0, 1.0],
            "orientation_weight_m": 0.3,
        },
    ),
    "joint_configuration": ("franka_pose", [], {"kind": "joint_configuration"}),
    "together": ("franka_pose", [], {"kind": "together", "goals": _TOGETHER}),
    "outside": ("franka_pose", [f"{OUTSIDE}:Fold"], {"kind": f"{OUTSIDE}:FoldGoal"}),
}
SHIPPED = ("gripper_pick", "mobile_base", "quadruped_walk", "two_arms")
NAMES = ("tool_position", "tool_pose", "object_position", "planar_position", *_MADE, *SHIPPED)


@functools.cache
def contract_with(name: str) -> Contract:
    """The contract of one of `NAMES`."""
    shipped = {"tool_position": "reach", "tool_pose": "pose", "object_position": "push"}
    if name in shipped:
        return load_task(f"franka_{shipped[name]}").contract
    if name in SHIPPED:
        return load_task(name).contract
    if name == "planar_position":
        return load_task("ant").contract
    task, readings, goal = _MADE[name]
    return _changed(task, readings, goal)


def _changed(task: str, readings: Sequence[object], goal: object) -> Contract:
    loaded = load_task(task)
    told = [*loaded.contract.readings, *(read_term(Reading, data).completed(loaded.scene) for data in readings)]
    wanted = read_term(Goal, goal).completed(loaded.scene, told)
    plain = loaded.contract.model_dump(mode="json")
    terms = {"readings": [reading.model_dump(mode="json") for reading in told], "goal": wanted.model_dump(mode="json")}
    return Contract.model_validate(plain | terms)
