"""Starts and goals that are reachable by construction.

Joint positions are drawn around home; those whose arm touches itself or the floor, or whose tool leaves the
goal box, are dropped. What is left serves as start (its joint positions) and as goal (its tool pose).
Training and evaluation draw from pools of different seeds, so no evaluation goal was ever commanded before.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.kinematics import Addresses
from sim2real.task import Task

TRAINING_SEED_OFFSET = 0
EVALUATION_SEED_OFFSET = 1_000_003
_MIN_ACCEPTED = 0.02


class GoalPool(NamedTuple):
    """P reachable arm configurations."""

    joint_position: np.ndarray
    """`[P, J]` rad, policy order."""
    tool_position: np.ndarray
    """`[P, 3]` m, world frame."""
    tool_orientation: np.ndarray
    """`[P, 4]` wxyz, world frame."""


def wild_goals(xp: ModuleType, contract: Contract, uniform: Any, normal: Any) -> tuple[Any, Any]:
    """Goals that nobody checked: positions `[n, 3]` in a box 1.4 times the goal box, any orientation `[n, 4]`.

    Many are out of reach; a reachability estimate learns from both kinds. The draws come from the caller:
    `uniform` `[n, 3]` in [0, 1) and `normal` `[n, 4]`.
    """
    low, high = np.array(contract.goal.position_min_m), np.array(contract.goal.position_max_m)
    centre, half = (low + high) / 2, 0.7 * (high - low)
    position = (centre - half) + 2 * half * uniform
    orientation = normal / xp.sqrt(xp.sum(normal * normal, axis=1, keepdims=True))
    return position.astype(np.float32), orientation.astype(np.float32)


def sample_goal_pool(task: Task, *, size: int, seed: int) -> GoalPool:
    """Draw `size` collision-free configurations whose tool lies in the goal box."""
    model, contract = task.model, task.contract
    joints = contract.robot.joints
    spread = np.array(task.config.reset.half_range_rad)
    if spread.shape != (len(joints),):
        raise ShoalError(f"reset.half_range_rad has {spread.size} entries for {len(joints)} joints.")
    home = np.array([joint.home_rad for joint in joints])
    margin = 0.05
    low = np.maximum(home - spread, [joint.position_min_rad + margin for joint in joints])
    high = np.minimum(home + spread, [joint.position_max_rad - margin for joint in joints])
    box_low, box_high = np.array(contract.goal.position_min_m), np.array(contract.goal.position_max_m)
    addresses = Addresses.of(model, contract)
    data, rng = mujoco.MjData(model), np.random.default_rng(seed)
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    tried = 0
    while len(kept) < size:
        tried += 1
        if tried > 1000 and len(kept) < _MIN_ACCEPTED * tried:
            raise ShoalError(
                f"reset: only {len(kept)} of {tried} random starts are free of collisions and inside the goal box; "
                "widen goal.position_min_m/max_m or narrow reset.half_range_rad."
            )
        q = rng.uniform(low, high)
        data.qpos[addresses.qpos] = q
        mujoco.mj_kinematics(model, data)
        position = data.site_xpos[addresses.site].copy()
        if (position < box_low).any() or (position > box_high).any():
            continue
        mujoco.mj_collision(model, data)
        if data.ncon:
            continue
        kept.append((q, position, data.xquat.copy()))
    joint_position, tool_position, xquat = (np.stack(column) for column in zip(*kept, strict=True))
    columns = joint_position, tool_position, addresses.tool_orientation(np, xquat)
    return GoalPool(*(column.astype(np.float32) for column in columns))
