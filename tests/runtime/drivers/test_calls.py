"""Whatever a driver's own code does, the loop hears one sentence with driver, method and cause."""

from __future__ import annotations

import math
import os
import re
import signal
import time
from collections.abc import Callable

import numpy as np
import pytest

from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.diagnostics.chaos.rig import NoExchange
from runtime.drivers import calls
from runtime.drivers.base import DriverFailed, DriverOptions, DriverOverdue, open_driver
from runtime.drivers.calls import CALLS, DriverCalls
from runtime.drivers.conformance import check
from runtime.drivers.mujoco import MujocoDriver
from runtime.goals.resolve import middle_goal
from runtime.inference.policy import Policy
from runtime.process.signals import Patience
from runtime.robot.readings import Float64, Readings
from sim2real.contract import Contract
from sim2real.errors import ShoalError

METHODS = ("read", "write", "now_s", "show_goal", "close", "servo", "restarts")


class OwnDriver(MujocoDriver):
    """One with every method there is, that does at each call what `instead` says."""

    servo_steps = 2

    def __init__(self, contract: Contract, options: DriverOptions) -> None:
        super().__init__(contract, options)
        self.instead: dict[str, Callable[[], object]] = {}

    def read(self, out: Readings) -> None:
        super().read(out)
        self._do("read")

    def write(self, command: Float64) -> None:
        self._do("write")
        super().write(command)

    def now_s(self) -> float:
        return self._do("now_s", super().now_s())

    def show_goal(self, goal: object) -> None:
        self._do("show_goal")

    def servo(self, fraction: float) -> None:
        self._do("servo")

    @property
    def restarts(self) -> int:
        return self._do("restarts", 0)

    def close(self) -> None:
        self._do("close")
        super().close()

    def _do(self, method: str, usual: object = None) -> object:
        return self.instead[method]() if method in self.instead else usual


def fall_over() -> None:
    raise ValueError("the bus\nis gone.")


def leave() -> None:
    raise SystemExit(3)


def interrupt() -> None:
    raise KeyboardInterrupt


def call(driver: DriverCalls, method: str, contract: Contract) -> None:
    arguments: dict[str, object] = {
        "read": Readings.of(contract),
        "write": np.zeros(len(contract.joint_names)),
        "show_goal": middle_goal(contract, "goal"),
        "servo": 1.0,
    }
    if method == "restarts":
        _ = driver.restarts
    else:
        getattr(driver, method)(*([arguments[method]] if method in arguments else []))


@pytest.fixture
def driver(contract: Contract) -> OwnDriver:
    return OwnDriver(contract, DriverOptions(speed=0))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (fall_over, r"raised ValueError: the bus is gone \(test_calls.py:\d+\)"),
        (leave, r"ended the program \(sys.exit\(3\)\) \(test_calls.py:\d+\)"),
        (interrupt, r"raised KeyboardInterrupt \(test_calls.py:\d+\)"),
    ],
)
def test_what_is_raised_is_told_in_one_sentence(
    driver: OwnDriver, contract: Contract, method: str, fault: Callable[[], object], sentence: str
) -> None:
    driver.instead[method] = fault
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # as a server has it
    try:
        with pytest.raises(DriverFailed, match=rf"^driver {__name__}:OwnDriver: {method} {sentence}\.$"):
            call(DriverCalls(driver), method, contract)
    finally:
        signal.signal(signal.SIGINT, before)


class Speechless(Exception):
    def __str__(self) -> str:
        raise ValueError("nothing to say")


def test_an_error_that_cannot_be_told_is_named_all_the_same(driver: OwnDriver, contract: Contract) -> None:
    def fail() -> None:
        raise Speechless

    driver.instead["read"] = fail
    with pytest.raises(DriverFailed, match=r"read raised Speechless \(test_calls.py:\d+\)\.$"):
        call(DriverCalls(driver), "read", contract)


@pytest.mark.parametrize("told", [None, "late", "1", np.zeros(2)])
def test_readings_without_a_time_leave_what_can_be_braked_by(
    driver: OwnDriver, contract: Contract, told: object
) -> None:
    calls, out = DriverCalls(driver), Readings.of(contract)
    calls.read(out)
    read = MujocoDriver.read

    class Untimed(OwnDriver):
        def read(self, out: Readings) -> None:
            read(self, out)
            out.time_s = told  # type: ignore[assignment]

    driver.__class__ = Untimed
    with pytest.raises(DriverFailed, match=r"read raised (TypeError|ValueError)"):
        calls.read(out)
    assert isinstance(out.time_s, float)


@pytest.mark.parametrize("ending", [lambda: None, leave, fall_over])
@pytest.mark.parametrize("method", ["read", "write", "now_s", "show_goal", "close"])
def test_a_copy_of_the_server_that_a_driver_makes_ends_at_once(
    driver: OwnDriver, contract: Contract, method: str, ending: Callable[[], object]
) -> None:
    ours, copies, own_time_s = os.getpid(), [], driver.now_s()

    def fork() -> float:
        if copy := os.fork():
            copies.append(copy)
        else:
            ending()
        return own_time_s

    driver.instead[method] = fork
    try:
        call(DriverCalls(driver), method, contract)
    finally:
        if os.getpid() != ours:
            os._exit(1)  # or it would run the tests that follow
    _, status = os.waitpid(copies[0], 0)
    assert os.waitstatus_to_exitcode(status) == os.EX_SOFTWARE


def test_a_driver_cannot_change_the_command_that_is_recorded(contract: Contract) -> None:
    class InDegrees(MujocoDriver):
        def write(self, command: Float64) -> None:
            command *= 180 / np.pi

    command = np.ones(len(contract.joint_names))
    with pytest.raises(DriverFailed, match=r"write raised ValueError: output array is read-only"):
        DriverCalls(InDegrees(contract, DriverOptions(speed=0))).write(command)
    assert (command == 1).all()


def test_ctrl_c_stays_ctrl_c_where_it_ends_programs(driver: OwnDriver, contract: Contract) -> None:
    driver.instead["read"] = interrupt
    # A shell starts what it does not wait for with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            call(DriverCalls(driver), "read", contract)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("method", ["read", "write", "now_s", "show_goal", "close", "servo"])
def test_others_can_see_which_call_is_under_way(driver: OwnDriver, contract: Contract, method: str) -> None:
    told, seen = DriverCalls(driver), []

    def look() -> float:
        seen.append(CALLS[told.call[0]])
        return 0.0

    driver.instead[method] = look
    call(told, method, contract)
    assert (seen, told.call[0]) == ([method], 0)


@pytest.mark.parametrize("method", ["read", "write", "now_s", "close"])
def test_a_call_that_never_returns_is_interrupted(driver: OwnDriver, contract: Contract, method: str) -> None:
    driver.instead[method] = lambda: time.sleep(60)
    with Patience(DriverOverdue, within=(calls.__file__,)) as patience:
        patience.allow(0.1)
        with pytest.raises(DriverFailed, match=rf"{method} did not return within 0.1 s \(test_calls.py:\d+\)\.$"):
            call(DriverCalls(driver), method, contract)


def test_only_calls_of_a_driver_are_interrupted() -> None:
    """A server that a busy machine lets wait for seconds ends as it should."""
    with Patience(DriverOverdue, within=(calls.__file__,)) as patience:
        patience.allow(0.05)
        end_s = time.monotonic() + 0.3
        while time.monotonic() < end_s:
            pass


@pytest.mark.parametrize("told", [None, math.nan, math.inf, "noon", "1", np.zeros(2)])
def test_a_clock_that_tells_no_time_is_named(driver: OwnDriver, told: object) -> None:
    driver.instead["now_s"] = lambda: told
    with pytest.raises(DriverFailed, match=r"OwnDriver: now_s returned .*, which is no time"):
        DriverCalls(driver).now_s()


@pytest.mark.parametrize("name", ["joint_position", "joint_effort", "vector", "joints"])
def test_readings_are_filled_and_never_replaced(contract: Contract, name: str) -> None:
    readings = Readings.of(contract)
    with pytest.raises(ShoalError, match=rf"{name} would be replaced .* out\.{name}\[:\] = "):
        setattr(readings, name, np.zeros(2))
    readings.joint_position += 1.0
    assert readings.vector.any()


def test_a_wrong_shape_and_a_stamp_that_is_no_time_are_failures_of_read(driver: OwnDriver, contract: Contract) -> None:
    class Wide(OwnDriver):
        def read(self, out: Readings) -> None:
            out.joint_position[:] = np.zeros(3)

    class Late(OwnDriver):
        def read(self, out: Readings) -> None:
            out.time_s = None  # type: ignore[assignment]

    for wrong, sentence in ((Wide, "read raised ValueError: could not broadcast"), (Late, "read raised TypeError")):
        with pytest.raises(DriverFailed, match=sentence):
            DriverCalls(wrong(contract, DriverOptions(speed=0))).read(Readings.of(contract))


def test_members_that_are_not_a_drivers_are_named_at_once(driver: OwnDriver) -> None:
    driver.joint_names, driver.period_s, driver.owns_clock = None, math.nan, 1  # type: ignore[assignment]
    with pytest.raises(DriverFailed) as told:
        DriverCalls(driver)
    for member in ("joint_names is None", "period_s is nan", "owns_clock is 1"):
        assert member in str(told.value)


def test_members_of_megabytes_are_told_in_a_line(driver: OwnDriver) -> None:
    driver.description = "x" * 3_000_000
    driver.__class__ = type("N" * 3_000_000, (OwnDriver,), {})
    with pytest.raises(DriverFailed, match=r"description is 'xxx.* not one line of at most 200") as told:
        DriverCalls(driver)
    assert len(str(told.value)) < 400


def test_a_start_that_raises_is_named(contract: Contract) -> None:
    with pytest.raises(DriverFailed, match=r"driver .*:no_start: its start raised ValueError: .* \(test_calls"):
        open_driver(f"{__name__}:no_start", contract, DriverOptions())


def no_start(contract: Contract, options: DriverOptions) -> object:
    return fall_over()


@pytest.mark.parametrize("method", ["read", "now_s", "write"])
def test_after_a_failure_the_robot_is_braked_by_what_is_known(policy: Policy, method: str) -> None:
    """Limits hold to the end, and the target comes to rest, without another reading; write fails once."""
    driver = OwnDriver(policy.contract, DriverOptions(speed=0))
    core = PolicyController(policy)
    loop = Loop(driver, core, NoExchange(), warm=False)
    core.set_goal(middle_goal(policy.contract, "goal"), number=1, now_s=driver.now_s())
    loop.run(lambda: loop.statistics.ticks == 20)
    driver.instead[method] = fall_over
    with pytest.raises(DriverFailed):
        loop.run(lambda: False)
    del driver.instead[method]
    moving, asked = core.safety.target.copy(), []
    driver.instead["read"] = lambda: asked.append("read")
    core.stop()
    targets = [moving]

    def at_rest() -> bool:
        targets.append(core.safety.target.copy())
        return bool(np.abs(targets[-1] - targets[-2]).max() < 1e-5)

    loop.run(lambda: at_rest() or len(targets) > 200)
    steps = np.diff(targets, axis=0)
    assert np.isfinite(targets).all()
    assert (np.abs(steps) <= core.safety.max_step * (1 + 1e-9)).all()
    assert np.abs(steps[-1]).max() < 1e-5
    assert not asked


def test_the_drivers_check_names_the_method_that_raises(driver: OwnDriver, contract: Contract) -> None:
    driver.instead["write"] = fall_over
    problems = [finding.problem for finding in check(driver, contract) if not finding.kept]
    assert len(problems) == 1
    assert re.search(r"OwnDriver: write raised ValueError: the bus is gone", problems[0])
