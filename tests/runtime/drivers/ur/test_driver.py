"""The driver `ur` against a server of its own: RTDE, dashboard and script port; not against the vendor's simulator."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import DriverOptions, open_driver
from runtime.drivers.conformance import assert_conforms
from runtime.drivers.ur.driver import UrDriver, controller_order, lookahead_s
from runtime.inference.policy import Policy
from runtime.robot.readings import Readings
from runtime.status import State
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.tasks.task import Task
from tests.runtime.drivers.test_franka import OneGoal, run
from tests.runtime.drivers.ur.arm import HOME, JOINTS, ur_task
from tests.runtime.server.test_server import PATIENCE_S
from tests.runtime.small_policy import write_policy

pytest.importorskip("rtde_control", reason="ur_rtde has wheels for Python 3.11 and 3.12 on x86-64 only")


class Server:
    """A controller in a process of its own, on an address of its own."""

    def __init__(self) -> None:
        self.host = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.runtime.drivers.ur.server", self.host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def end(self) -> str:
        return self.process.communicate(timeout=PATIENCE_S)[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("runtime.drivers.ur.driver._RECOVER_EVERY_S", 0.2)
    running = Server()
    yield running
    running.kill()


@contextmanager
def driving(server: Server, task: Task, folder: Path, **options: object) -> Iterator[UrDriver]:
    chosen = DriverOptions(host=server.host, mjcf=folder / "arm.xml", **options)  # type: ignore[arg-type]
    driver = open_driver("ur", task.contract, chosen)
    assert isinstance(driver, UrDriver)
    try:
        yield driver
    finally:
        driver.close()


def read_until(driver: UrDriver, readings: Readings, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, readings.vector
        driver.read(readings)
        driver.servo(1.0)
        time.sleep(0.005)


def age_s(driver: UrDriver, readings: Readings) -> float:
    return driver.now_s() - readings.time_s


def test_a_goal_is_reached_by_joints_in_another_order(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ur_task(tmp_path, "left_", JOINTS[::-1])
    monkeypatch.setattr("tests.runtime.small_policy.load_task", lambda _: task)
    policy = Policy(write_policy(tmp_path / "p.onnx", task.contract))
    with driving(server, task, tmp_path) as driver:
        assert driver.servo_steps == 5
        readings = Readings.of(task.contract)
        driver.read(readings)
        assert readings.joint_position == pytest.approx(HOME[::-1], abs=1e-6)
        goal = readings.end_effector_position + np.array([0.05, 0.08, -0.06])
        core = PolicyController(policy)
        run(driver, core, OneGoal(tuple(goal.tolist())), lambda: core.reached, PATIENCE_S)
        assert core.reached
        assert driver.restarts == 0
    # A watchdog of 4 Hz, then the end of the servo's motion.
    said = server.end().splitlines()
    assert said[0] == "command 35 4"
    assert len(said) == 2


@pytest.mark.slow
def test_conforms(server: Server, tmp_path: Path) -> None:
    task = ur_task(tmp_path)
    with driving(server, task, tmp_path) as driver:
        assert_conforms(driver, task.contract, mjcf=tmp_path / "arm.xml")


def test_the_watchdog_ends_the_program_of_a_server_that_is_gone(server: Server, tmp_path: Path) -> None:
    task = ur_task(tmp_path)
    with driving(server, task, tmp_path) as driver:
        readings = Readings.of(task.contract)
        read_until(driver, readings, lambda: readings.time_s > 0)
        assert driver._runs()
        deadline = time.monotonic() + PATIENCE_S
        while driver._runs():  # nothing is sent any more
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize(("word", "cause"), [("protective", "a protective stop"), ("stop", "the program was stopped")])
def test_a_stopped_robot_holds_until_somebody_has_looked_at_it(
    word: str, cause: str, server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = ur_task(tmp_path)
    with driving(server, task, tmp_path) as driver:
        readings = Readings.of(task.contract)
        read_until(driver, readings, lambda: readings.time_s > 0)
        server.tell(word)
        read_until(driver, readings, lambda: age_s(driver, readings) > 0.3)
        server.tell("unlock")
        read_until(driver, readings, lambda: age_s(driver, readings) > 1.0)
        assert driver.restarts == 0
    said = capfd.readouterr().err
    assert f"ur: {cause}; look at the robot, then start again (--recover-reflexes goes on unasked)" in said


def test_a_stopped_robot_goes_on_where_that_was_asked_for(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = ur_task(tmp_path)
    with driving(server, task, tmp_path, recover_reflexes=True) as driver:
        readings = Readings.of(task.contract)
        read_until(driver, readings, lambda: readings.time_s > 0)
        server.tell("protective")
        read_until(driver, readings, lambda: age_s(driver, readings) > 0.3)
        server.tell("unlock")
        read_until(driver, readings, lambda: driver.restarts == 1)
        read_until(driver, readings, lambda: age_s(driver, readings) < 0.3)
    assert "ur: in control again, going on from where the arm stands" in capfd.readouterr().err


def test_a_lost_connection_holds_and_comes_back(server: Server, tmp_path: Path) -> None:
    task = ur_task(tmp_path)
    with driving(server, task, tmp_path) as driver:
        readings = Readings.of(task.contract)
        read_until(driver, readings, lambda: readings.time_s > 0)
        server.kill()
        read_until(driver, readings, lambda: age_s(driver, readings) > 0.5)
        server.start()
        read_until(driver, readings, lambda: driver.restarts == 1)
        read_until(driver, readings, lambda: age_s(driver, readings) < 0.3)


def test_states_that_stop_coming_grow_old(server: Server, tmp_path: Path) -> None:
    task = ur_task(tmp_path)
    with driving(server, task, tmp_path) as driver:
        readings = Readings.of(task.contract)
        read_until(driver, readings, lambda: readings.time_s > 0)
        server.tell("freeze")
        time.sleep(0.1)
        driver.read(readings)
        time.sleep(0.3)
        driver.read(readings)
        assert age_s(driver, readings) > 0.2
        server.tell("thaw")


def test_a_robot_that_cannot_be_had_is_one_sentence(server: Server, tmp_path: Path) -> None:
    task = ur_task(tmp_path)
    chosen = {"mjcf": tmp_path / "arm.xml"}
    with pytest.raises(ShoalError, match="--host: give the address"):
        open_driver("ur", task.contract, DriverOptions(**chosen))
    with pytest.raises(ShoalError, match=r"--host: no robot of Universal Robots can be taken over at 127\.0\.0\.9"):
        open_driver("ur", task.contract, DriverOptions(host="127.0.0.9", **chosen))
    server.tell("protective")
    time.sleep(0.2)
    with pytest.raises(ShoalError, match="is in a protective stop; look at the robot, and release it"):
        open_driver("ur", task.contract, DriverOptions(host=server.host, **chosen))


def test_joints_are_found_by_their_names(tmp_path: Path) -> None:
    names = ("wrist_2", "elbow", "shoulder_pan", "wrist_3", "shoulder_lift", "wrist_1")
    contract = ur_task(tmp_path, "arm/", names).contract
    assert [names[place] for place in controller_order(contract)] == list(JOINTS)
    joints = contract.robot.joints
    renamed = (joints[0].model_copy(update={"name": "flange_joint"}), *joints[1:])
    for wrong in (renamed, joints[1:]):
        robot = contract.robot.model_copy(update={"joints": wrong})
        with pytest.raises(ContractMismatch, match=r"robot\.joints: .* on an arm of Universal Robots"):
            controller_order(contract.model_copy(update={"robot": robot}))


def test_the_look_ahead_is_the_contracts_lag_within_what_servoj_takes(tmp_path: Path) -> None:
    contract = ur_task(tmp_path).contract
    assert lookahead_s(contract) == pytest.approx(0.1)
    for damping, wanted in ((1.0, 0.03), (2000.0, 0.2)):
        joints = tuple(joint.model_copy(update={"damping": damping}) for joint in contract.robot.joints)
        robot = contract.robot.model_copy(update={"joints": joints})
        assert lookahead_s(contract.model_copy(update={"robot": robot})) == wanted


def test_states_are_in_the_policys_hold_after_a_stop(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ur_task(tmp_path)
    monkeypatch.setattr("tests.runtime.small_policy.load_task", lambda _: task)
    core = PolicyController(Policy(write_policy(tmp_path / "p.onnx", task.contract)))
    with driving(server, task, tmp_path) as driver:
        readings = Readings.of(task.contract)
        driver.read(readings)
        goal = OneGoal(tuple((readings.end_effector_position + np.array([0.2, 0.0, 0.0])).tolist()))
        run(driver, core, goal, lambda: goal.ticks > 10, PATIENCE_S)
        assert core.safety.state is State.ACTIVE
        server.tell("protective")
        run(driver, core, goal, lambda: core.safety.state is State.HOLD, PATIENCE_S)
        assert core.safety.state is State.HOLD
