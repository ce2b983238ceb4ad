"""Starts and goals that are reachable by construction.

Joint positions are drawn around home; those whose arm touches itself or the floor, or whose tool leaves the
goal box, are dropped. What is left serves as start (its joint positions) and as goal (its tool pose). Where goals are
about an object, every configuration also has a place of the object that nothing touches, and those are the goals.
Training and evaluation draw from pools of different seeds, so no evaluation goal was ever commanded before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.robots.contacts import HomeContacts
from sim2real.robots.kinematics import Addresses
from sim2real.robots.objects import ObjectAddresses
from sim2real.tasks.task import Task

TRAINING_SEED_OFFSET = 0
EVALUATION_SEED_OFFSET = 1_000_003
_MIN_ACCEPTED = 0.02
_LIMIT_MARGIN, _LIMIT_MARGIN_SHARE = 0.05, 0.05
"""rad (m for slides), and at most this share of the range."""


class GoalPool(NamedTuple):
    """P reachable configurations of the arm, and of the object where there is one."""

    joint_position: np.ndarray
    """`[P, J]` rad, policy order."""
    tool_position: np.ndarray
    """`[P, 3]` m, world frame."""
    tool_orientation: np.ndarray
    """`[P, 4]` wxyz, world frame."""
    object_position: np.ndarray
    """`[P, 3]` m, world frame; `[P, 0]` where goals are about the tool."""

    @property
    def start(self) -> np.ndarray:
        """`[P, S]`: joint positions in rad, then the object's x and y in m where there is one."""
        return np.concatenate([self.joint_position, self.object_position[:, :2]], axis=1)

    @property
    def goal_position(self) -> np.ndarray:
        """`[P, 3]` m, what to ask for: where the object is, or where the tool is."""
        return self.object_position if self.object_position.shape[1] else self.tool_position


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
    joints = task.contract.robot.joints
    spread = np.array(task.config.reset.half_range)
    if spread.shape != (len(joints),):
        raise ShoalError(f"reset.half_range has {spread.size} entries for {len(joints)} joints.")
    home = np.array([joint.home_position for joint in joints])
    limit_low, limit_high = _joint_range(task.contract)
    low, high = np.maximum(home - spread, limit_low), np.minimum(home + spread, limit_high)
    return _sample(task, low, high, in_box=True, size=size, seed=seed)


def mix_in_wide_starts(task: Task, pool: GoalPool, *, share: float, seed: int) -> np.ndarray:
    """Starts as of `GoalPool.start`, `[P, S]`: the pool's, a `share` of them replaced by wide ones.

    Wide starts lie anywhere in the joint ranges, each joint at one of its limits with probability 1/6, free of
    collisions, with the tool anywhere: the postures in which a missed goal can leave an arm.
    """
    start: np.ndarray = pool.start.copy()
    count = round(share * len(start))
    if count:
        low, high = _joint_range(task.contract)
        beyond = 0.1 * (high - low)
        wide = _sample(task, low - beyond, high + beyond, in_box=False, size=count, seed=seed)
        start[:count] = wide.start
    return start


def _joint_range(contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """Where starts may be: inside what a joint may be told, and clear of the limits."""
    ranges = np.array([(joint.position_min, joint.position_max) for joint in contract.robot.joints])
    commands = np.array([joint.command_range for joint in contract.robot.joints])
    low, high = np.maximum(ranges[:, 0], commands[:, 0]), np.minimum(ranges[:, 1], commands[:, 1])
    margin = np.minimum(_LIMIT_MARGIN, _LIMIT_MARGIN_SHARE * (high - low))
    return low + margin, high - margin


def _sample(task: Task, low: np.ndarray, high: np.ndarray, *, in_box: bool, size: int, seed: int) -> GoalPool:
    """`size` collision-free configurations, uniform between joint positions `low` and `high`, `[J]` rad; draws beyond
    a joint's limits are put on the limit.
    """
    model, contract = task.model, task.contract
    box_low, box_high = tool_box(task)
    limits, addresses = _joint_range(contract), Addresses.of(model, contract)
    data, rng = addresses.home_data(model), np.random.default_rng(seed)
    put_object, known = _object_placer(task, addresses, rng), HomeContacts.of(model, addresses.rest_qpos)
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    tried = 0
    while len(kept) < size:
        tried += 1
        if tried > 1000 and len(kept) < _MIN_ACCEPTED * tried:
            box = "goal.position_min_m/max_m" if task.config.reset.object is None else "reset.object.tool_min_m/max_m"
            raise ShoalError(
                f"reset: only {len(kept)} of {tried} random starts are free of collisions and inside the box of "
                f"{box}; widen {box} or narrow reset.half_range."
            )
        q = np.clip(rng.uniform(low, high), *limits)
        addresses.place(data.qpos, q)
        mujoco.mj_kinematics(model, data)
        position = data.site_xpos[addresses.site].copy()
        if in_box and ((position < box_low).any() or (position > box_high).any()):
            continue
        thing = put_object(data, position)
        mujoco.mj_collision(model, data)
        if data.ncon and _arm_touches(model, known.others(data), addresses.object):
            continue
        kept.append((q, position, data.xquat.copy(), thing))
    joint_position, tool_position, xquat, things = (np.stack(column) for column in zip(*kept, strict=True))
    columns = joint_position, tool_position, addresses.tool_orientation(np, xquat), things
    return GoalPool(*(column.astype(np.float32) for column in columns))


def _arm_touches(model: mujoco.MjModel, pairs: set[tuple[int, int]], thing: ObjectAddresses | None) -> bool:
    """Whether anything touches but the object what it stands on."""
    ground = None if thing is None else {0, thing.body}
    return any({int(model.geom_bodyid[geom]) for geom in pair} != ground for pair in pairs)


def tool_box(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner, `[3]` m each, of where the tool may be at a start."""
    goal, thing = task.contract.goal, task.config.reset.object
    corners = (goal.position_min_m, goal.position_max_m) if thing is None else (thing.tool_min_m, thing.tool_max_m)
    return np.array(corners[0]), np.array(corners[1])


def _object_placer(
    task: Task, addresses: Addresses, rng: np.random.Generator
) -> Callable[[mujoco.MjData, np.ndarray], np.ndarray]:
    """A function that puts the object somewhere, given where the tool is, and says where: `[3]` m, or `[0]`."""
    reset, where, goal = task.config.reset.object, addresses.object, task.contract.goal
    if reset is None or where is None:
        return lambda data, tool: np.zeros(0)
    low, high = np.array(goal.position_min_m)[:2], np.array(goal.position_max_m)[:2]

    def put(data: mujoco.MjData, tool: np.ndarray) -> np.ndarray:
        position = rng.uniform(low, high)
        if rng.random() < reset.near_tool_share:
            distance, angle = reset.near_tool_m * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
            near = tool[:2] + distance * np.array([math.cos(angle), math.sin(angle)])
            position = near if (near >= low).all() and (near <= high).all() else position
        data.qpos[where.qpos] = position - where.origin
        mujoco.mj_kinematics(task.model, data)
        return np.array(data.xpos[where.body])

    return put
