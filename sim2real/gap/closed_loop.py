"""A policy closed loop in native MuJoCo with a log's own start and goals, and how goals went on either side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np

from sim2real.contract import Contract
from sim2real.contract.interface import achieved, goal_errors, goal_vector
from sim2real.errors import ShoalError
from sim2real.evaluation.onnx_policy import OnnxPolicy
from sim2real.logs.log import Log, LoggedGoal
from sim2real.robots.kinematics import Addresses
from sim2real.terms import Scene
from sim2real.world.objects import ObjectAddresses

_NOTHING: Mapping[str, np.ndarray] = {}


class Body(Protocol):
    """A simulated robot that closed loops are run on."""

    def readings(self) -> tuple[np.ndarray, np.ndarray]:
        """Joint positions and velocities `[J]` each, policy order."""

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """`qpos` `[nq]` and `qvel` `[nv]` of its model."""

    def advance(self, previous: np.ndarray, target: np.ndarray) -> None:
        """One control period, the servo's targets `[J]` moving linearly."""


class NativeBody:
    """The robot in C MuJoCo."""

    def __init__(
        self, model: mujoco.MjModel, contract: Contract, start: np.ndarray, seen: Mapping[str, np.ndarray] = _NOTHING
    ) -> None:
        """`seen` are readings at the start, `[size]` by name, by which objects are put where a tracker saw them."""
        self._model, self._at = model, Addresses.of(model, contract.robot)
        self._data = self._at.home_data(model)
        for name, value in seen.items():
            reading = contract.reading(name)
            if reading.source == "tracker" and reading.axes == 3 and np.isfinite(value).all():
                ObjectAddresses.of(model, reading.about).put(self._data.qpos, value)
        self._substeps = contract.timing.substeps
        self._at.place(self._data.qpos, start)
        self._data.ctrl[self._at.actuator] = self._at.control(start)
        mujoco.mj_forward(model, self._data)

    def readings(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Body`."""
        return self._at.joint_position(self._data.qpos).copy(), self._at.joint_velocity(self._data.qvel).copy()

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Body`."""
        return self._data.qpos, self._data.qvel

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
    told = [contract.reading(name) for name in contract.measured.sizes]
    if unknown := [reading.name for reading in told if reading.stage != "position"]:
        raise ShoalError(f"gap: the policy reads {', '.join(unknown)}, which bodies here do not tell.")
    ticks = round(duration_s / period)
    sense = _Senses(kinematics, contract)
    target = sense.of(body, None)["joint_position"]
    rows: list[dict[str, np.ndarray]] = []
    commands: list[np.ndarray] = []
    policy.forget()
    for tick in range(ticks):
        readings = sense.of(body, target)
        goal = _goal_at(goals, begin_s + tick * period)
        previous = target
        if goal is not None:
            batch = {name: value[None] for name, value in (readings | {contract.action.previous: target}).items()}
            command, _ = policy(batch, np.array([goal.request]))
            target = command[0].astype(np.float64)
        rows.append(readings)
        commands.append(target)
        body.advance(previous, target)
        progress((tick + 1) / ticks)
    time_s = begin_s + period * np.arange(ticks)
    columns = {name: np.array([row[name] for row in rows]) for name in contract.measured.sizes}
    position, velocity = columns.pop("joint_position"), columns.pop("joint_velocity")
    return Log(contract, source, time_s, time_s, position, velocity, np.array(commands), columns, tuple(goals))


class _Senses:
    """All readings of a body, by what the contract's terms say of themselves."""

    def __init__(self, model: mujoco.MjModel, contract: Contract) -> None:
        self._at = at = Addresses.of(model, contract.robot)
        self._model, self._data = model, at.home_data(model)
        self._readings = [contract.reading(name) for name in contract.measured.sizes]
        scene = Scene(model, contract.robot, at.rest_qpos, contract.timing.control_dt_s)
        self._simulated = scene.simulated([self._data])

    def of(self, body: Body, target: np.ndarray | None) -> dict[str, np.ndarray]:
        """`[size]` by name; `target` `[J]` is what the joints were commanded last."""
        qpos, qvel = body.state()
        if qpos.shape == self._data.qpos.shape and qvel.shape == self._data.qvel.shape:
            self._data.qpos[:], self._data.qvel[:] = qpos, qvel
        else:  # another model, which has more or less around the robot
            joints, speeds = body.readings()
            self._at.place(self._data.qpos, joints)
            self._at.place_velocity(self._data.qvel, speeds)
        mujoco.mj_kinematics(self._model, self._data)
        if target is not None:
            self._simulated.target = target[None]
        return {r.name: np.array(r.sense(np, self._simulated)[0], np.float64) for r in self._readings}


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
    readings = {part.reading: log.measured(part.reading)[during] for part in contract.goal.parts()}
    wanted = goal_vector(np, contract, np.array(goal.request, np.float32)[None])
    return goal_errors(contract, achieved(np, contract, readings), wanted)


def _goal_at(goals: Sequence[LoggedGoal], time_s: float) -> LoggedGoal | None:
    given = [goal for goal in goals if goal.time_s <= time_s + 1e-9]
    return given[-1] if given else None
