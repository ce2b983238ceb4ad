from __future__ import annotations

import time

import numpy as np
import pytest

from runtime import realtime
from runtime.core import Core
from runtime.drivers.base import Driver, DriverOptions, JointOrder, open_driver
from runtime.goals import GoalPose, ResolvedGoal, validate_goal
from runtime.latency import Histogram
from runtime.loop import Loop
from runtime.policy import Policy
from runtime.safety import Float64, Readings
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError

GOAL = GoalPose(position=(0.45, 0.1, 0.45))


class BackwardsArm:
    """A driver with its joints in reverse order and a clock of its own, that believes every command."""

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        self.joint_names = contract.joint_names[::-1]
        self.owns_clock = options.speed == 0
        self.period_s = 0.005
        self.description = "backwards"
        self.position = np.array([joint.home_rad for joint in contract.robot.joints])[::-1].copy()
        self.commands: list[Float64] = []
        self.slow_ticks: set[int] = set()
        self.time_s = 0.0

    def read(self, out: Readings) -> None:
        self.time_s += 0.04
        if len(self.commands) in self.slow_ticks:
            time.sleep(3.5 * self.period_s)
        out.joint_position[:] = self.position
        out.joint_velocity[:] = 0
        out.end_effector_position[:] = 0.4, 0.0, 0.45
        out.end_effector_orientation[:] = 0, 1, 0, 0
        out.time_s = self.time_s

    def write(self, command: Float64) -> None:
        self.position = command.copy()
        self.commands.append(command.copy())

    def now_s(self) -> float:
        return self.time_s

    def show_goal(self, goal: ResolvedGoal) -> None:
        self.shown = goal

    def close(self) -> None:
        self.closed = True


class NoExchange:
    def __init__(self) -> None:
        self.missed = 0

    def before_tick(self, core: Core, driver: Driver) -> None:
        pass

    def after_tick(self, core: Core, missed_periods: int) -> None:
        self.missed = missed_periods


def test_joints_are_mapped_by_name(policy: Policy) -> None:
    driver = BackwardsArm(policy.contract, DriverOptions(speed=0))
    core = Core(policy)
    core.set_goal(validate_goal(policy.contract, GOAL, 0.0), number=1, now_s=0.0)
    loop = Loop(driver, core, NoExchange())
    loop.run(lambda: loop.statistics.ticks == 5)
    assert len(driver.commands) == 5
    np.testing.assert_array_equal(driver.commands[-1], core.safety.target[::-1])
    assert not np.array_equal(driver.commands[-1], driver.commands[0])
    assert loop.statistics.lateness.summary()["count"] == 0


def test_late_ticks_are_skipped_and_never_made_up_for(policy: Policy) -> None:
    driver = BackwardsArm(policy.contract, DriverOptions())
    driver.slow_ticks = {5}
    exchange = NoExchange()
    loop = Loop(driver, Core(policy), exchange, warm=False)
    started = time.perf_counter()
    loop.run(lambda: loop.statistics.ticks == 20)
    took = time.perf_counter() - started
    statistics = loop.statistics
    assert statistics.overruns >= 1
    assert statistics.missed_periods >= 3
    assert exchange.missed == statistics.missed_periods
    # 20 ticks and the skipped periods all fit on one grid: 19 gaps after the first tick.
    assert took >= (19 + statistics.missed_periods) * driver.period_s - 1e-3
    assert statistics.lateness.summary()["count"] == 20


def test_driver_with_other_joints_is_refused(contract: Contract) -> None:
    with pytest.raises(ContractMismatch, match=r"'fr3_joint7'.* in the policy, .*'joint8'.* in the driver"):
        JointOrder(contract.joint_names, (*contract.joint_names[:-1], "joint8"))


def test_driver_of_ones_own(contract: Contract) -> None:
    driver = open_driver(f"{__name__}:BackwardsArm", contract, DriverOptions())
    assert driver.description == "backwards"


@pytest.mark.parametrize("name", ["panda", "runtime.nothing:Driver", "runtime.loop:Nothing", "", ":x"])
def test_unknown_driver(name: str, contract: Contract) -> None:
    with pytest.raises(ShoalError, match="no driver"):
        open_driver(name, contract, DriverOptions())


def test_core_allocates_next_to_nothing_that_stays(policy: Policy) -> None:
    import tracemalloc

    core, readings, out = Core(policy), Readings(7), np.zeros(7)
    readings.joint_position[:] = [joint.home_rad for joint in policy.contract.robot.joints]
    readings.end_effector_orientation[0] = 1
    core.set_goal(validate_goal(policy.contract, GOAL, 0.0), number=1, now_s=0.0)
    for _ in range(20):
        core.step(readings, 0.0, out)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(200):
        core.step(readings, 0.0, out)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert kept < 2000


def test_histogram() -> None:
    histogram = Histogram()
    for microseconds in range(1, 1001):
        histogram.record(microseconds * 1000 - 500)
    histogram.record(80_000_000)
    summary = histogram.summary()
    assert summary["count"] == 1001
    assert summary["p50_us"] == pytest.approx(501, abs=1)
    assert summary["p99_us"] == pytest.approx(991, abs=1)
    assert summary["max_us"] == 80_000
    assert Histogram().summary()["p99_us"] == 0


def test_realtime_measures_degrade_to_a_line() -> None:
    measures = realtime.apply(
        realtime.RealtimeOptions(fifo_priority=None, cpu=100_000, lock_memory=False, freeze_gc=True)
    )
    realtime.release()
    assert [measure.on for measure in measures] == [False, True]
    assert str(measures[0]).startswith("pinned to core 100000: off (")
