"""A simulation's time: stamps, control periods, standing still and beginning again."""

from __future__ import annotations

import math
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.drivers.base import DriverOptions
from runtime.goals.messages import GoalPose
from runtime.options import Ros2Options
from runtime.ros2 import messages as ros
from runtime.ros2.bridge import Bridge
from runtime.ros2.clock import Periods, SimulatedClock, is_news
from runtime.ros2.driver import Ros2Driver
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.tasks.task import load_task
from tests.runtime.ros2.test_driver import config, driving, read_until, robot
from tests.runtime.ros2.test_ros2 import pose
from tests.runtime.server.test_server import PATIENCE_S, Server


class Topic:
    """A participant and a reader at once: what `told` holds is what has arrived."""

    def __init__(self) -> None:
        self.told: list[float] = []

    def reader(self, *_: object, **__: object) -> Topic:
        return self

    def take(self, _: int) -> list[ros.Clock]:
        if not self.told:
            return []
        time_s = self.told.pop(0)
        return [ros.Clock(ros.Time(math.floor(time_s), round(time_s % 1 * 1e9)))]


def clock(*times_s: float) -> tuple[SimulatedClock, Any]:
    topic: Any = Topic()
    topic.told = list(times_s)
    return SimulatedClock(topic, lambda _: None), topic


def test_a_simulations_time_is_its_newest() -> None:
    simulated, topic = clock()
    simulated.take()
    assert (simulated.known, simulated.now_s(), simulated.stamp_s()) == (False, 0.0, 0.0)
    topic.told = [5.0, 5.25]
    assert simulated.stamp_s() == 0.0  # nothing was taken
    simulated.take()
    assert (simulated.known, simulated.now_s(), simulated.stamp_s()) == (True, 5.25, 5.25)
    topic.told = [5.2]  # came late
    simulated.take()
    assert (simulated.stamp_s(), simulated.resets) == (5.25, 0)


def test_a_simulation_that_begins_again_goes_on() -> None:
    simulated, topic = clock(100.0)
    simulated.take()
    topic.told = [0.5]
    simulated.take()
    assert (simulated.stamp_s(), simulated.now_s(), simulated.resets) == (0.5, 100.0, 1)
    topic.told = [0.75]
    simulated.take()
    assert (simulated.stamp_s(), simulated.now_s()) == (0.75, 100.25)


def test_stamps_that_are_news() -> None:
    assert is_news(5.0, -math.inf)
    assert is_news(5.1, 5.0)
    assert is_news(0.0, 5.0)  # no stamp
    assert is_news(0.0, 0.0)
    assert is_news(1.0, 5.0)  # a clock that was set back
    assert not is_news(5.0, 5.0)
    assert not is_news(4.5, 5.0)


class Going(SimulatedClock):
    """Goes on by `step_s` whenever somebody looks."""

    def __init__(self, step_s: float) -> None:
        super().__init__(Topic(), lambda _: None)  # type: ignore[arg-type]
        self.step_s, self.looks = step_s, 0
        self.take()

    def take(self) -> None:
        self.looks += 1
        self._time_s = self.looks * self.step_s
        self.shortest_step_s = self.step_s


def test_control_periods_are_the_simulations() -> None:
    going, sent, said = Going(0.01), [], []
    periods = Periods(going, 0.04, 4, sent.append, said.append)
    times = []
    for _ in range(4):
        periods.wait()
        times.append(going.now_s())
    assert times == pytest.approx([0.01, 0.05, 0.09, 0.13])
    # The first reference of each period is the command itself.
    assert sent == [0.5, 0.75, 1.0] * 3
    assert said == []


def test_a_simulation_that_jumps_costs_periods_and_one_that_is_coarse_is_said() -> None:
    going, said = Going(0.1), []
    periods = Periods(going, 0.04, 1, lambda _: None, said.append)
    times = []
    for _ in range(3):
        periods.wait()
        times.append(going.now_s())
    assert times == pytest.approx([0.1, 0.2, 0.3])
    assert {*said} == {
        "/clock goes on in steps of 0.1 s, and the control period is 0.04 s; let the simulation publish it more often"
    }


def test_a_wait_for_a_simulation_that_stands_still_ends() -> None:
    still = Going(0.0)
    periods = Periods(still, 0.04, 1, lambda _: None, lambda _: None)
    periods.wait()  # due at once
    began = time.monotonic()
    periods.wait()
    assert 0.1 <= time.monotonic() - began < PATIENCE_S
    assert still.now_s() == 0.0


def test_the_loop_goes_as_fast_as_the_simulation(domain: str, tmp_path: Path) -> None:
    contract = load_task("franka_pose").contract
    period_s = contract.timing.control_dt_s
    with (
        robot("franka_pose", "--sim-time-at", "0.5") as process,
        driving(contract, config(tmp_path, use_sim_time=True)) as (driver, readings),
    ):
        assert driver.owns_clock
        driver.read(readings)
        first_s, began = driver.now_s(), time.monotonic()
        for _ in range(10):
            driver.read(readings)
        # Half as fast as real time, whatever else this machine does.
        assert driver.now_s() - first_s >= 9 * period_s
        assert time.monotonic() - began >= 0.8 * 9 * period_s / 0.5
        process.send_signal(signal.SIGSTOP)
        read_until(driver, readings, lambda: stands_still(driver, readings))
        process.send_signal(signal.SIGCONT)
        stood_s = driver.now_s()
        read_until(driver, readings, lambda: driver.now_s() > stood_s + period_s and readings.time_s > stood_s)
        assert driver.restarts == 0


def stands_still(driver: Ros2Driver, readings: Any) -> bool:
    before_s = driver.now_s()
    driver.read(readings)
    return driver.now_s() == before_s


@pytest.mark.parametrize("kind", ["trajectory", pytest.param("forward", marks=pytest.mark.slow)])
def test_a_goal_is_reached_in_simulated_time(kind: str, domain: str, tmp_path: Path) -> None:
    contract = load_task("franka_pose").contract
    command: dict[str, Any] = {"kind": kind}
    if kind == "forward":
        command["joints"] = list(reversed(contract.joint_names))
    path = config(tmp_path, command=command, use_sim_time=True, stamps="header")
    policy = Path(__file__).parents[3] / "models" / "franka_pose.onnx"
    with robot("franka_pose", "--kind", kind, "--sim-time-at", "0.7"):
        server = Server(policy, tmp_path, "--quiet", "--robot", "ros2", "--robot-config", str(path))
        try:
            with server.client() as client:
                client.send_goal(GoalPose(position=(0.5, 0.1, 0.4)))
                assert client.wait_until_reached(PATIENCE_S).reached
        finally:
            server.process.terminate()
            said = server.output()
    assert server.process.returncode == 0, said


def test_without_a_clock_it_is_said(domain: str, contract: Contract, tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match=r"nothing came on /clock in domain .*, and use_sim_time is true"):
        Ros2Driver(contract, DriverOptions(config=config(tmp_path, wait_s=0.2, use_sim_time=True)))


class Client:
    """Takes goals."""

    def __init__(self) -> None:
        self.goals: list[GoalPose] = []

    def send_goal(self, goal: GoalPose) -> None:
        self.goals.append(goal)


def test_the_bridge_judges_stamps_by_the_simulations_clock(domain: str, contract: Contract) -> None:
    client: Any = Client()
    bridge = Bridge(client, Ros2Options(use_sim_time=True))
    bridge._frame = "world"
    simulated, _ = clock(50.0)
    bridge._clock = simulated
    bridge._forward(pose(stamp_s=49.5), contract)
    assert bridge._refusal == "header.stamp says nothing while nothing comes on /clock; does the simulation run?"
    bridge._forward(pose(), contract)
    assert [goal.stamp for goal in client.goals] == [None]
    simulated.take()
    bridge._forward(pose(stamp_s=40.0), contract)
    assert "10 s old" in bridge._refusal
    bridge._forward(pose(stamp_s=49.5), contract)
    # The server's clock is Unix time.
    assert time.time() - client.goals[-1].stamp == pytest.approx(0.5, abs=PATIENCE_S)
    assert client.goals[-1].stamp <= time.time() - 0.5
    assert bridge._refusal == ""
    bridge.close()
