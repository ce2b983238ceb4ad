"""`runtime bench`: how long a tick takes here, back to back and paced as a robot would call it.

Only the paced numbers say anything about a robot: between two calls the caches cool down and the core halts.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from runtime.control.loop import Loop, sleep_until, wait_until, warm_lead_ns
from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import Driver
from runtime.goals.messages import ResolvedGoal
from runtime.goals.resolve import middle_goal
from runtime.inference.policy import Policy
from runtime.ipc.shared_memory import Slot, goal_dtype
from runtime.options import Engine
from runtime.realtime.histogram import summarise
from runtime.robot.layout import Kind, Layout
from runtime.robot.model import find_model
from runtime.robot.mujoco_robot import MujocoRobot
from runtime.robot.readings import Float64, Readings
from runtime.safety import SafetyConfig
from runtime.safety.geometry import geometry_checker_for
from runtime.status import State
from sim2real.contract import Contract
from sim2real.errors import ShoalError

_WARM_UP = 200


def bench(path: Path, *, samples: int, rate_hz: float, engine: Engine = "auto") -> dict[str, Any]:
    """Microseconds of the inference and of the whole tick, from the waking to the command that leaves: goal, readings,
    safety, inference, limits. Hot, paced, and paced with a warm-up just before, as `serve` does it.
    """
    if samples < 1 or not rate_hz > 0:
        raise ShoalError(f"bench: --samples must be at least 1 and --rate-hz positive, got {samples} and {rate_hz:g}.")
    policy = Policy(path, engine=engine)
    tick = WholeTick(policy)
    result = {
        "policy": path.name,
        "contract_sha256": policy.contract.digest,
        "engine": policy.engine,
        "rate_hz": rate_hz,
        "inference_hot": summarise(hot(policy.run, samples)),
        "tick_hot": summarise(hot(tick, samples)),
        "inference_paced": summarise(paced(policy.run, samples, rate_hz)),
        "tick_paced": summarise(paced(tick, samples, rate_hz)),
        "tick_paced_warm": summarise(paced(tick, samples, rate_hz, warm=tick.warm_up)),
        "exporting_machine": {
            "machine": policy.certificate.machine,
            "inference_p50_us": policy.certificate.tick_us_p50,
            "inference_p99_us": policy.certificate.tick_us_p99,
        },
    }
    tick.require_inference()
    return result


class WholeTick:
    """A tick of the served loop, `Loop.tick`, with an arm that does at once what it is told, on its way to the middle
    of the goal box. A new goal lies in shared memory once every hundred ticks.

    Returns the nanoseconds from the waking to the command; what the loop does afterwards is not counted.
    """

    def __init__(self, policy: Policy) -> None:
        self._core = bench_core(policy)
        self._driver = BenchDriver(policy.contract, find_model(policy.contract))
        self._exchange = SlotExchange(policy.contract)
        self._loop = Loop(self._driver, self._core, self._exchange, warm=False)
        self._ticks = 0
        self.warm_up: Callable[[], None] = self._loop.warm_up
        """What the loop does before each tick."""

    def __call__(self) -> int:
        """One tick."""
        if self._ticks % 100 == 0:
            self._exchange.send_goal()
        self._ticks += 1
        started = time.perf_counter_ns()
        self._loop.tick(started)
        return self._driver.written_ns - started

    def require_inference(self) -> None:
        """Raises `ShoalError` when the safety layer had held the arm: such ticks are shorter."""
        safety = self._core.safety
        if safety.state is not State.ACTIVE or safety.holds > _WARM_UP // 2:
            raise ShoalError(f"bench: the policy was not followed ({safety.reason.sentence}); report this.")


def bench_core(policy: Policy, config: SafetyConfig | None = None) -> PolicyController:
    """Policy and safety as `runtime serve` puts them together, with the robot's geometry where its MJCF ships."""
    geometry_checker = geometry_checker_for(find_model(policy.contract), policy.contract, config or SafetyConfig())
    return PolicyController(policy, safety=config, geometry_checker=geometry_checker)


class BenchDriver:
    """A `runtime.drivers.base.Driver` without a robot: joints are where they were sent, and so is the tool of `model`.

    Reading takes no time; the tool's pose is worked out after a command has been noted.
    """

    def __init__(
        self, contract: Contract, model: mujoco.MjModel | None = None, *, period_s: float | None = None
    ) -> None:
        self.joint_names = contract.joint_names
        self.owns_clock = False
        self.period_s = period_s or contract.timing.control_dt_s
        self.description = "none"
        self.written_ns = 0
        self._control_dt_s = contract.timing.control_dt_s
        self._time_s = 0.0
        self._now = Readings.of(contract)
        for name, value in self._now.named.items():
            value[:] = contract.reading(name).usual(contract)
        self._speeds = [self._now[part.name] for part in Layout.of(contract).of_kind(Kind.JOINT_VELOCITY)]
        self._robot = None if model is None else MujocoRobot(model, contract)
        self._data = None if self._robot is None else self._robot.addresses.home_data(self._robot.model)
        self._place()

    def read(self, out: Readings) -> None:
        """Readings of this moment."""
        self._time_s += self._control_dt_s
        out.vector[:] = self._now.vector
        out.time_s = self._time_s

    def write(self, command: Float64) -> None:
        """The command arrived."""
        self.written_ns = time.perf_counter_ns()
        for speed in self._speeds:
            np.subtract(command, self._now.joints, out=speed)
            speed /= self._control_dt_s
        self._now.joints[:] = command
        self._place()

    def now_s(self) -> float:
        """Contract's control periods, whatever the pace."""
        return self._time_s

    def show_goal(self, goal: ResolvedGoal) -> None:
        """Do nothing: there is no picture."""

    def close(self) -> None:
        """Do nothing: no resources are held."""

    def _place(self) -> None:
        if self._robot is not None and self._data is not None:
            self._robot.addresses.place(self._data.qpos, self._now.joints)
            for speed in self._speeds:
                self._robot.addresses.place_velocity(self._data.qvel, speed)
            self._robot.read(self._data, self._now)


class SlotExchange:
    """`runtime.control.loop.Exchange` over a slot of shared memory, with this process on both of its sides."""

    def __init__(self, contract: Contract) -> None:
        dtype = goal_dtype(contract.goal.layout(contract).size)
        memory = mmap.mmap(-1, Slot.bytes_for(dtype))
        self._sender, self._receiver = (Slot(memory, 0, dtype) for _ in range(2))
        self._goal = middle_goal(contract, "bench")

    def send_goal(self) -> None:
        """Write a goal as the gateway would."""
        self._sender.value["number"] += 1
        self._sender.write()

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        """Latest goal wins."""
        if self._receiver.read():
            core.set_goal(self._goal, number=int(self._receiver.value["number"][0]), now_s=driver.now_s())

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        """Do nothing: it is not part of what is measured."""


def hot(function: Callable[[], object], samples: int) -> NDArray[np.int64]:
    """Nanoseconds `[samples]` of calls back to back, as the function says or as the clock says."""
    times = np.zeros(samples, np.int64)
    for _ in range(_WARM_UP):
        function()
    for index in range(samples):
        times[index] = _timed(function)
    return times


def paced(
    function: Callable[[], object], samples: int, rate_hz: float, *, warm: Callable[[], object] | None = None
) -> NDArray[np.int64]:
    """Nanoseconds `[samples]` of calls once per period, at absolute deadlines. `warm` is called, and its result thrown
    away, just before.
    """
    times = np.zeros(samples, np.int64)
    period_ns = round(1e9 / rate_hz)
    lead_ns = 0 if warm is None else warm_lead_ns(warm)
    deadline = time.perf_counter_ns()
    for index in range(samples):
        deadline = max(deadline + period_ns, time.perf_counter_ns() + lead_ns)
        if warm is not None:
            sleep_until(deadline - lead_ns)
            warm()
            wait_until(deadline)
        else:
            sleep_until(deadline)
        times[index] = _timed(function)
    return times


def _timed(function: Callable[[], object]) -> int:
    started = time.perf_counter_ns()
    said = function()
    return said if isinstance(said, int) else time.perf_counter_ns() - started
