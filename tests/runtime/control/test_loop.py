from __future__ import annotations

import sys
import time
import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest

from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.diagnostics.tick_bench import WholeTick
from runtime.drivers.base import Driver, DriverFailed, DriverOptions, JointOrder, open_driver
from runtime.goals.messages import GoalPose, ResolvedGoal
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.realtime import measures as realtime
from runtime.realtime.histogram import Histogram
from runtime.realtime.os_noise import noise_floor
from runtime.robot.readings import Float64, Readings
from runtime.safety import SafetyConfig
from runtime.status import Reason, State
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
        self.position = np.array([joint.home_position for joint in contract.robot.joints])[::-1].copy()
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

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        pass

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        self.missed = missed_periods


def test_joints_are_mapped_by_name(policy: Policy) -> None:
    driver = BackwardsArm(policy.contract, DriverOptions(speed=0))
    core = PolicyController(policy)
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
    loop = Loop(driver, PolicyController(policy), exchange, warm=False)
    started = time.perf_counter()
    loop.run(lambda: loop.statistics.ticks == 20)
    took = time.perf_counter() - started
    statistics = loop.statistics
    assert statistics.overruns >= 1
    assert statistics.missed_periods >= 3
    assert exchange.missed == statistics.missed_periods == sum(asdict(statistics.missed_by).values())
    # 20 ticks and the skipped periods all fit on one grid: 19 gaps after the first tick.
    assert took >= (19 + statistics.missed_periods) * driver.period_s - 1e-3
    assert statistics.lateness.summary()["count"] == 20


def test_many_overruns_in_a_row_hold_the_robot_until_it_keeps_time_again(policy: Policy) -> None:
    driver = BackwardsArm(policy.contract, DriverOptions())
    core = PolicyController(policy, safety=SafetyConfig(overruns_in_a_row=3))
    core.set_goal(validate_goal(policy.contract, GOAL, 0.0), number=1, now_s=0.0)
    loop = Loop(driver, core, NoExchange(), warm=False)
    reasons = []
    # Deadlines far in the past or in the future, so that no machine can be too slow or too fast for this test.
    for late in [True] * 4 + [False] * 4:
        loop.tick(time.perf_counter_ns())
        reasons.append(core.safety.reason)
        loop._next_deadline(time.perf_counter_ns() + (-(10**9) if late else 10**9))
    following, held = Reason.FOLLOWING, Reason.OVERRUNS
    assert reasons == [following, following, following, held, held, held, held, following]
    assert loop.statistics.holds == 1
    assert loop.statistics.overruns == 4


class HastyArm(BackwardsArm):
    """Owns the clock, the one on the wall, but does not wait for it from its tick `until` on."""

    until = 0

    def read(self, out: Readings) -> None:
        if len(self.commands) < self.until:
            time.sleep(0.04)
        super().read(out)
        out.time_s = self.time_s = time.monotonic()


@pytest.mark.parametrize("until", [0, 10])
def test_a_driver_that_owns_the_clock_and_does_not_wait_moves_no_robot_faster(policy: Policy, until: int) -> None:
    driver = HastyArm(policy.contract, DriverOptions(speed=0))
    driver.until = until
    core = PolicyController(policy)
    core.set_goal(validate_goal(policy.contract, GOAL, 0.0), number=1, now_s=driver.now_s())
    loop = Loop(driver, core, NoExchange(), warm=False)
    with pytest.raises(DriverFailed, match=r"HastyArm: read returned \d+ times while now_s went on by .* must wait"):
        loop.run(lambda: loop.statistics.ticks > 2000)
    assert until <= len(driver.commands) <= until + 20


class StoppedClock(BackwardsArm):
    """Its clock stops with its tenth reading."""

    def now_s(self) -> float:
        return min(self.time_s, 0.4)

    def read(self, out: Readings) -> None:
        super().read(out)
        out.time_s = self.now_s()


def test_a_clock_that_stands_still_holds_the_robot(policy: Policy) -> None:
    core = PolicyController(policy)
    loop = Loop(StoppedClock(policy.contract, DriverOptions()), core, NoExchange(), warm=False)
    loop.run(lambda: loop.statistics.ticks == 40)
    assert (core.safety.state, core.safety.reason) == (State.HOLD, Reason.CLOCK_STANDS_STILL)


class StoppedSimulation(StoppedClock):
    """Owns the clock and waits for it, in vain from its tenth reading on, until its fiftieth."""

    def now_s(self) -> float:
        return self.time_s if self.time_s > 50 * 0.04 else super().now_s()

    def read(self, out: Readings) -> None:
        time.sleep(self.period_s)
        super().read(out)


def test_a_driver_that_waits_for_a_clock_that_stands_still_has_not_failed(policy: Policy) -> None:
    driver, core = StoppedSimulation(policy.contract, DriverOptions(speed=0)), PolicyController(policy)
    loop, reasons = Loop(driver, core, NoExchange(), warm=False), []
    for _ in range(60):
        loop.tick(0)
        reasons.append(core.safety.reason)
    assert reasons[45] is Reason.CLOCK_STANDS_STILL
    assert reasons[-1] is not Reason.CLOCK_STANDS_STILL


class ServoArm(BackwardsArm):
    """Its servo wants five references per control period."""

    servo_steps = 5

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        super().__init__(contract, options)
        self.fractions: list[float] = []

    def servo(self, fraction: float) -> None:
        self.fractions.append(fraction)


class FakeClock:
    """Stands in for the module `time` of the loop; sleeping takes no time."""

    def __init__(self) -> None:
        self.now_ns = 10**9
        self.slept_until_ns: list[int] = []

    def perf_counter_ns(self) -> int:
        self.now_ns += 100
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        self.slept_until_ns.append(self.now_ns)


def test_servo_gets_references_between_ticks_and_none_in_a_burst(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = ServoArm(policy.contract, DriverOptions())
    loop = Loop(driver, PolicyController(policy), NoExchange(), warm=False)
    clock = FakeClock()
    monkeypatch.setattr("runtime.control.loop.time", clock)
    started = clock.now_ns
    loop._wait(started + loop._period_ns)
    assert driver.fractions == [0.4, 0.6, 0.8, 1.0]
    wanted = [started + part * loop._period_ns // 5 for part in (1, 2, 3, 4, 5)]
    np.testing.assert_allclose(clock.slept_until_ns, wanted, atol=1000, rtol=0)
    # A tick that ended when three of the five were over.
    driver.fractions.clear()
    loop._wait(clock.now_ns + loop._period_ns * 3 // 10)
    assert driver.fractions == [0.8, 1.0]
    assert loop.statistics.servo_skipped == 2


def test_warm_up_and_spinning_come_before_the_deadline(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(BackwardsArm(policy.contract, DriverOptions()), PolicyController(policy), NoExchange(), spin_s=100e-6)
    loop._warm_lead_ns = 200_000
    clock, warmed_up = FakeClock(), []
    monkeypatch.setattr("runtime.control.loop.time", clock)
    loop.warm_up = lambda: warmed_up.append(clock.now_ns)
    deadline = clock.now_ns + loop._period_ns
    loop._wait(deadline)
    assert len(warmed_up) == 1
    assert warmed_up[0] == pytest.approx(deadline - 300_000, abs=1000)
    assert clock.slept_until_ns == [pytest.approx(deadline - 300_000, abs=1000)]
    assert deadline <= clock.now_ns < deadline + 1000


def test_a_warm_up_that_ends_too_late_begins_earlier(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(BackwardsArm(policy.contract, DriverOptions()), PolicyController(policy), NoExchange())
    clock, needs_ns = FakeClock(), 900_000
    loop._warm_lead_ns, loop._longest_lead_ns = 200_000, 2_000_000

    def warm_up() -> None:
        clock.now_ns += needs_ns

    monkeypatch.setattr("runtime.control.loop.time", clock)
    loop.warm_up = warm_up
    late = []
    for _ in range(400):
        deadline = clock.now_ns + loop._period_ns
        loop._wait(deadline)
        late.append(clock.now_ns - deadline > 1000)
    assert late[0]
    assert sum(late[20:]) < 0.06 * len(late[20:])
    assert needs_ns <= loop._warm_lead_ns < 1.3 * needs_ns


def test_no_warm_up_when_it_is_too_late_for_one(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(BackwardsArm(policy.contract, DriverOptions()), PolicyController(policy), NoExchange())
    clock, warmed_up = FakeClock(), []
    monkeypatch.setattr("runtime.control.loop.time", clock)
    loop.warm_up = lambda: warmed_up.append(clock.now_ns)
    loop._warm_lead_ns = lead = 200_000
    loop._wait(clock.now_ns - 1)
    assert warmed_up == []
    assert loop._warm_lead_ns == lead


def test_a_warm_up_changes_nothing(policy: Policy) -> None:
    def commands(warm: bool) -> Float64:
        driver = BackwardsArm(policy.contract, DriverOptions())
        core = PolicyController(policy)
        core.set_goal(validate_goal(policy.contract, GOAL, 0.0), number=1, now_s=0.0)
        loop = Loop(driver, core, NoExchange(), warm=warm)
        for _ in range(30):
            if warm:
                loop.warm_up()
            loop.tick(time.perf_counter_ns())
        assert core.safety.ticks == 30
        assert not warm or loop.warm_up.state is State.ACTIVE
        return np.array(driver.commands)

    np.testing.assert_array_equal(commands(warm=True), commands(warm=False))


def test_driver_with_other_joints_is_refused(contract: Contract) -> None:
    with pytest.raises(ContractMismatch, match=r"'fr3_joint7'.* in the policy, .*'joint8'.* in the driver"):
        JointOrder(contract.joint_names, (*contract.joint_names[:-1], "joint8"))


def test_driver_of_ones_own(contract: Contract) -> None:
    driver = open_driver(f"{__name__}:BackwardsArm", contract, DriverOptions())
    assert driver.description == "backwards"


@pytest.mark.parametrize("name", ["panda", "runtime.nothing:Driver", "runtime.control.loop:Nothing", "", ":x"])
def test_unknown_driver(name: str, contract: Contract) -> None:
    with pytest.raises(ShoalError, match="no driver"):
        open_driver(name, contract, DriverOptions())


@pytest.mark.parametrize("name", ["os:getcwd", "os:environ", "os:name", "runtime.drivers.base:DRIVERS"])
def test_what_cannot_make_a_driver_is_refused(name: str, contract: Contract) -> None:
    with pytest.raises(ShoalError, match=f"robot: {name} cannot be called with a contract and DriverOptions"):
        open_driver(name, contract, DriverOptions())


def no_driver(*arguments: object) -> object:
    return arguments


def test_what_is_no_driver_is_refused(contract: Contract) -> None:
    with pytest.raises(ShoalError, match="returned tuple, which is no driver"):
        open_driver(f"{__name__}:no_driver", contract, DriverOptions())


def test_a_tick_keeps_nothing_that_it_allocates(policy: Policy) -> None:
    tick = WholeTick(policy)
    for _ in range(250):
        tick()
        tick.warm_up()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(1000):
        tick()
        tick.warm_up()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    tick.require_inference()
    # Counters that outgrow Python's small integers, and the rules' windows; ten bytes a tick would be a leak.
    assert kept < 8000


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
        realtime.RealtimeOptions(fifo_priority=None, cpu=100_000, lock_memory=False, slice_s=None, no_deep_sleep=False)
    )
    realtime.release()
    assert not realtime.has_fifo(measures)
    found = {measure.name: measure.on for measure in measures}
    assert found.pop("timer slack 1 ns") is sys.platform.startswith("linux")
    assert found == {"pinned to core 100000": False, "garbage collector frozen": True}
    assert any(str(measure).startswith("pinned to core 100000: off (") for measure in measures)


def test_a_short_slice_is_taken_where_fifo_is_not() -> None:
    measures = realtime.apply(realtime.RealtimeOptions(fifo_priority=None, lock_memory=False, no_deep_sleep=False))
    realtime.release()
    slices = [measure for measure in measures if measure.name == "slice of 0.7 ms"]
    assert len(slices) == 1
    assert slices[0].on or "needs Linux 6.12" in slices[0].note


def test_noise_floor_is_a_share_of_the_time() -> None:
    noise = noise_floor(0.02)
    assert 0 <= noise.lost_share < 1
    assert noise.p50_us <= noise.p99_us <= noise.max_us
    assert "noise floor" in noise.line


def test_noise_floor_rests_before_linux_makes_real_time_processes_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    rests: list[float] = []
    monkeypatch.setattr("runtime.realtime.os_noise._BURST_S", 0.004)
    monkeypatch.setattr("runtime.realtime.os_noise.time", clock)
    monkeypatch.setattr(clock, "sleep", rests.append)
    noise_floor(0.04)
    assert len(rests) == 9
    assert min(rests) > 0.05, "the share that the system reserves for others, of a second"
