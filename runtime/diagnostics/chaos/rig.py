"""A simulated robot under the real loop, with a place to inject faults and a witness of every command."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import Driver, DriverOptions
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.messages import ResolvedGoal
from runtime.goals.resolve import middle_goal
from runtime.inference.policy import Policy
from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Float64, Readings
from runtime.safety import Safety, SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.status import State
from sim2real.contract import Contract

_ROUNDING = 1e-9
_NEAR, _FAR = 0.2, 0.8
"""Where the goals lie between the corners of the contract's goal box."""

_LONGEST_RECOVERY = 200
FOLLOWS = frozenset({State.ACTIVE, State.RAMP_IN})

Fault = Callable[[Readings], object]


class Witness:
    """Checks every command against the bounds that must hold whatever happens; J joints, policy order.

    All are finite and within the limits of what the drives may be told. A position makes no step above the velocity
    limit, and changes its step no faster than the acceleration limit allows, as a velocity changes itself. An effort
    grows by no more than the policy's own largest step. Where nothing is followed, no velocity grows, and no motor
    pushes.
    """

    def __init__(self, safety: Safety) -> None:
        self._safety = safety
        modes = np.array([joint.mode for joint in safety.layer.contract.robot.joints])
        self._positions, self._velocities, self._efforts = (modes == m for m in ("position", "velocity", "effort"))
        self._largest = np.where(self._efforts, np.maximum(-safety.low, safety.high), safety.max_step)
        self._last: Float64 | None = None
        self._last_step: Float64 | None = None
        self.commands = 0
        self.speed_share = 0.0
        """The largest step of a position, velocity or effort of any joint, as a share of its limit."""
        self.problems: list[str] = []

    def see(self, command: Float64) -> None:
        """One command `[J]`, in the unit of each joint's drive."""
        safety = self._safety
        self.commands += 1
        if not np.isfinite(command).all():
            self._note(f"command {self.commands} is not finite")
            return
        if ((command < safety.low - _ROUNDING) | (command > safety.high + _ROUNDING)).any():
            self._note(f"command {self.commands} is outside the joint limits")
        if safety.state not in FOLLOWS and (command[self._efforts] != 0).any():
            self._note(f"command {self.commands} pushes while nothing is followed")
        if self._last is not None:
            self._compare(command, self._last)
        elif not self._positions.all():
            self._share(np.where(self._positions, 0.0, command))
        self._last = command.copy()

    def _compare(self, command: Float64, last: Float64) -> None:
        step, change = command - last, self._safety.max_step_change * (1 + _ROUNDING) + _ROUNDING
        share = self._share(np.where(self._positions, step, command))
        if share > 1 + _ROUNDING:
            self._note(f"command {self.commands} jumps by {share:.2f} times the velocity limit")
        if self._last_step is not None and (np.abs(step - self._last_step) > change)[self._positions].any():
            self._note(f"command {self.commands} changes its speed faster than the acceleration limit")
        if (np.abs(step) > change)[self._velocities].any():
            self._note(f"command {self.commands} changes its speed faster than the acceleration limit")
        grown = np.abs(command) - np.abs(last)
        if self._safety.state not in FOLLOWS and (grown > _ROUNDING)[self._velocities].any():
            self._note(f"command {self.commands} speeds up while nothing is followed")
        fades = (grown <= 0) & (command * last >= 0)
        if ((np.abs(step) > change) & ~fades)[self._efforts].any():
            self._note(f"command {self.commands} changes an effort by more than the policy's largest step")
        self._last_step = step

    def _share(self, told: Float64) -> float:
        """Of their limits, the largest of steps or commands `[J]`."""
        share = float(np.max(np.abs(told) / self._largest))
        self.speed_share = max(self.speed_share, share)
        return share

    def restart(self) -> None:
        """The next command begins anew."""
        self._last = self._last_step = None

    def _note(self, problem: str) -> None:
        if len(self.problems) < 5:
            self.problems.append(problem)


class FaultyDriver:
    """A driver between the loop and a simulated robot that does to readings what `fault` says."""

    def __init__(self, inner: MujocoDriver, contract: Contract, witness: Witness) -> None:
        self._inner, self._contract, self._witness = inner, contract, witness
        self.joint_names, self.owns_clock = inner.joint_names, inner.owns_clock
        self.period_s, self.description = inner.period_s, inner.description
        self.fault: Fault | None = None
        self.clock_offset_s = 0.0
        self.stopped_s: float | None = None
        """Where the robot's clock stands still."""

    def read(self, out: Readings) -> None:
        """The robot's readings, or what a fault makes of them."""
        self._inner.read(out)
        out.time_s += self.clock_offset_s
        if self.fault is not None:
            self.fault(out)

    def newest(self) -> Readings:
        """The robot's readings of this moment, without letting time pass."""
        kept, robot = Readings.of(self._contract), MujocoRobot(self._inner.model, self._contract)
        robot.read(self._inner.data, kept)
        robot.read_simulated(self._inner.data, kept)
        return kept

    def write(self, command: Float64) -> None:
        """Pass the command on, after the witness has seen it."""
        self._witness.see(command)
        self._inner.write(command)

    def now_s(self) -> float:
        """The robot's clock, with its jumps."""
        if self.stopped_s is not None:
            return self.stopped_s
        return self._inner.now_s() + self.clock_offset_s

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Do nothing: nobody watches."""

    def close(self) -> None:
        """Release the robot."""
        self._inner.close()


class NoExchange:
    """Goals are given to the core directly."""

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        """Do nothing."""

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        """Do nothing."""


def goal_at(contract: Contract, share: float, *, valid_for_s: float = math.inf) -> ResolvedGoal:
    """A goal in the middle of what may be asked for, but at this share of the way along y; usual tolerances."""
    middle, box = middle_goal(contract, "chaos"), contract.goal.box()
    request = list(middle.request)
    if box is not None:
        request[1] = box[0][1] + share * (box[1][1] - box[0][1])
    limits = contract.goal
    return ResolvedGoal("chaos", tuple(request), limits.coarse_position_m, limits.coarse_angle_deg, valid_for_s)


class Rig:
    """One robot for one scenario. `speed` is simulated seconds per second, 0 for a tick at once after the other."""

    def __init__(
        self,
        policy: Policy,
        *,
        config: SafetyConfig | None = None,
        speed: float = 0.0,
        mjcf: Path | None = None,
    ) -> None:
        settings = config or SafetyConfig()
        self.contract: Contract = policy.contract
        self.mjcf = mjcf
        self.robot = MujocoDriver(policy.contract, DriverOptions(speed=speed, mjcf=mjcf))
        geometry_checker = geometry_checker_for(self.robot.model, policy.contract, settings)
        self.core = PolicyController(policy, safety=settings, geometry_checker=geometry_checker)
        self.witness = Witness(self.core.safety)
        self.driver = FaultyDriver(self.robot, self.contract, self.witness)
        self.loop = Loop(self.driver, self.core, NoExchange())
        self.states: list[State] = []
        """Of every tick since the last `watch`."""
        self.problems: list[str] = []
        self._goals = 0

    def move(self, *, timeout_s: float | None = None) -> None:
        """A new goal, far from the last one."""
        share = _NEAR if self._goals % 2 else _FAR
        self._goals += 1
        resolved = goal_at(self.contract, share, valid_for_s=math.inf if timeout_s is None else timeout_s)
        self.core.set_goal(resolved, number=self._goals, now_s=self.driver.now_s())

    def tick(self, ticks: int) -> None:
        """Run that many control periods, one after the other without waiting."""
        for _ in range(ticks):
            self.loop.tick(time.perf_counter_ns())
            self.states.append(self.core.safety.state)

    def recover(self) -> None:
        """40 ticks, and more as long as the robot follows no goal yet: legs take longer than arms."""
        self.tick(40)
        for _ in range(_LONGEST_RECOVERY // 10):
            if self.state not in FOLLOWS:
                self.tick(10)

    def run(self, ticks: int) -> None:
        """Run that many ticks of the paced loop."""
        end = self.loop.statistics.ticks + ticks

        def ended() -> bool:
            self.states.append(self.core.safety.state)
            return self.loop.statistics.ticks >= end

        self.loop.run(ended)

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """Pass readings through `fault` while this lasts; `states` then holds those of its ticks."""
        self.states.clear()
        self.driver.fault = fault
        yield
        self.driver.fault = None

    def require(self, holds: bool, problem: str) -> None:
        """Note a problem unless something holds."""
        if not holds:
            self.problems.append(problem)

    @property
    def state(self) -> State:
        """The state in the last tick."""
        return self.core.safety.state


def copied(readings: Readings) -> Readings:
    """A copy that no later reading changes."""
    kept = Readings.of(readings.contract)
    copy_readings(readings, kept)
    return kept


def copy_readings(source: Readings, target: Readings) -> None:
    """Values and stamp."""
    np.copyto(target.vector, source.vector)
    np.copyto(target.joint_effort, source.joint_effort)
    target.time_s = source.time_s
