"""A policy closed loop in native MuJoCo with a log's own start and goals, and how goals went on either side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.contract.interface import achieved, goal_errors, goal_vector
from sim2real.errors import ShoalError
from sim2real.evaluation.onnx_policy import OnnxPolicy
from sim2real.logs.log import Log, LoggedGoal
from sim2real.logs.openloop import tool_poses
from sim2real.robots.kinematics import Addresses


class Body(Protocol):
    """A simulated robot that closed loops are run on."""

    def readings(self) -> tuple[np.ndarray, np.ndarray]:
        """Joint positions and velocities `[J]` each, policy order."""

    def advance(self, previous: np.ndarray, target: np.ndarray) -> None:
        """One control period, the servo's targets `[J]` moving linearly."""


class NativeBody:
    """The robot in C MuJoCo."""

    def __init__(self, model: mujoco.MjModel, contract: Contract, start: np.ndarray) -> None:
        self._model, self._at = model, Addresses.of(model, contract)
        self._data = self._at.home_data(model)
        self._substeps = contract.timing.substeps
        self._at.place(self._data.qpos, start)
        self._data.ctrl[self._at.actuator] = self._at.control(start)
        mujoco.mj_forward(model, self._data)

    def readings(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Body`."""
        return self._at.joint_position(self._data.qpos).copy(), self._at.joint_velocity(self._data.qvel).copy()

    def advance(self, previous: np.ndarray, target: np.ndarray) -> None:
        """See `Body`."""
        for step in range(1, self._substeps + 1):
            moved = previous + (target - previous) * step / self._substeps
            self._data.ctrl[self._at.actuator] = self._at.control(moved)
            mujoco.mj_step(self._model, self._data)


def run_policy(
    policy: OnnxPolicy,
    body: Body,
    kinematics: mujoco.MjModel,
    goals: Sequence[LoggedGoal],
    duration_s: float,
    *,
    source: str,
    begin_s: float = 0.0,
    progress: Callable[[float], None] = lambda share: None,
) -> Log:
    """The log of a policy that is given `goals` at their times on a simulated robot.

    Before the first goal the robot holds where it stands.
    """
    contract, period = policy.contract, policy.contract.timing.control_dt_s
    strange = [reading.name for reading in contract.readings if reading.source == "tracker"]
    if strange:
        raise ShoalError(
            f"gap: the policy of {contract.task} reads {', '.join(strange)}, and bodies here have no object; "
            "compare the arm alone (an open-loop gap needs no goals)."
        )
    ticks = round(duration_s / period)
    position, velocity = body.readings()
    target = position.copy()
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("position", "velocity", "tool", "turn", "command")}
    policy.forget()
    for tick in range(ticks):
        position, velocity = body.readings()
        tool, turn = tool_poses(kinematics, contract, position[None])
        goal = _goal_at(goals, begin_s + tick * period)
        previous = target
        if goal is not None:
            readings = {
                "joint_position": position,
                "joint_velocity": velocity,
                "joint_position_target": target,
                "end_effector_position": tool[0],
                "end_effector_orientation": turn[0],
            }
            batch = {name: value[None] for name, value in readings.items()}
            command, _ = policy(batch, np.array([goal.request]))
            target = command[0].astype(np.float64)
        for name, value in zip(rows, (position, velocity, tool[0], turn[0], target), strict=True):
            rows[name].append(value)
        body.advance(previous, target)
        progress((tick + 1) / ticks)
    time_s = begin_s + period * np.arange(ticks)
    position, velocity, tools, turns, commands = (np.array(column) for column in rows.values())
    return Log(contract, source, time_s, time_s, position, velocity, tools, turns, commands, tuple(goals))


@dataclass(frozen=True)
class GoalOutcome:
    """How one goal went."""

    time_s: float
    """When it was given."""
    reached: bool
    """Within its tolerance for the contract's hold time, at some point."""
    reached_after_s: float | None
    time_at_goal: float
    """Share of its time within the tolerance."""
    final_distance_m: float


def outcomes(log: Log) -> list[GoalOutcome]:
    """The outcome of every goal of a log, up to the next one or the end."""
    return [
        outcome
        for goal, end in zip(log.goals, [*(goal.time_s for goal in log.goals[1:]), np.inf], strict=True)
        if (outcome := _outcome(log, goal, end)) is not None
    ]


def _outcome(log: Log, goal: LoggedGoal, end_s: float) -> GoalOutcome | None:
    period = log.contract.timing.control_dt_s
    during = (log.time_s >= goal.time_s - period / 2) & (log.time_s < end_s - period / 2)
    if during.sum() < 2:
        return None
    distance, angle = goal_course(log, goal, during)
    within = (distance <= goal.position_tolerance_m) & (angle <= goal.angle_tolerance_deg)
    hold = max(1, round(log.contract.goal.hold_s / period))
    held = np.convolve(within, np.ones(hold), "valid") >= hold - 1e-9
    reached = bool(held.any())
    after = float((np.argmax(held) + hold) * period) if reached else None
    return GoalOutcome(goal.time_s, reached, after, float(within.mean()), float(distance[-1]))


def goal_course(log: Log, goal: LoggedGoal, during: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in m and angle in degrees to a goal over some ticks of a log, `[T]` bool to `[t]` each."""
    contract = log.contract
    readings = {part.reading: getattr(log, part.reading)[during] for part in contract.goal.parts()}
    wanted = goal_vector(np, contract, np.array(goal.request, np.float32)[None])
    return goal_errors(contract, achieved(np, contract, readings), wanted)


def _goal_at(goals: Sequence[LoggedGoal], time_s: float) -> LoggedGoal | None:
    given = [goal for goal in goals if goal.time_s <= time_s + 1e-9]
    return given[-1] if given else None
