"""The Franka driver against franky-sim, a server that speaks libfranka's network protocol."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from runtime.control.loop import Loop
from runtime.control.object_tracker import Tracker
from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import Driver, DriverOptions, RecoveringDriver, open_driver
from runtime.drivers.franka import Reference
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.ipc.shared_memory import SharedSlots
from runtime.robot.readings import Readings
from runtime.status import State
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task, load_task
from tests.runtime.drivers.virtual_puck import VirtualPuck

ROOT = Path(__file__).parents[3]
MODEL = ROOT / "models" / "franka_reach.onnx"
PUSH = ROOT / "models" / "franka_push.onnx"


class Server:
    """franky-sim in a process of its own."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.runtime.drivers.franky_server"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.host = self.process.stdout.readline().strip()
        assert self.host, "franky-sim did not start"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.kill()


class OneGoal:
    """An exchange that gives one goal, then calls `during` after every tick."""

    def __init__(self, position: tuple[float, float, float]) -> None:
        self.goal, self.ticks, self.states = GoalPose(position=position, timeout_s=60), 0, []

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        if self.ticks == 0:
            core.set_goal(validate_goal(core.contract, self.goal, time.time()), number=1, now_s=driver.now_s())
        self.ticks += 1

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        self.states.append(core.safety.state)


def run(driver: Driver, core: PolicyController, exchange: OneGoal, until: object, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    Loop(driver, core, exchange).run(lambda: until() or time.monotonic() > deadline)  # type: ignore[operator]


def test_shipped_student_reaches_goals_over_libfrankas_protocol(server: Server) -> None:
    policy = Policy(MODEL)
    driver = open_driver("franka", policy.contract, DriverOptions(host=server.host))
    try:
        for position in ((0.45, 0.1, 0.4), (0.5, -0.2, 0.35)):
            core = PolicyController(policy)
            # Coarse tolerance is reached on the way; a busy machine takes longer from there to the end.
            run(driver, core, OneGoal(position), lambda core=core: core.reached and core.distance_m < 0.02, 30.0)
            assert core.reached
            assert core.distance_m < 0.02
    finally:
        driver.close()


class Camera(OneGoal):
    """Also reports, before every tick but the first, where a virtual puck is that the measured arm pushes."""

    def __init__(self, position: tuple[float, float, float], task: Task, slots: SharedSlots) -> None:
        super().__init__(position)
        self._puck, self._slots, self._readings = VirtualPuck(task), slots, Readings.of(task.contract)
        self.seen: list[tuple[float, float, float]] = []

    @property
    def lost_control(self) -> bool:
        """Whether the arm no longer does what it is told, having done so."""
        return State.ACTIVE in self.states and self.states[-1] is not State.ACTIVE

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        if self.ticks:
            driver.read(self._readings)
            self._report(self._puck.follow(self._readings.joint_position, driver.now_s()))
        super().before_tick(core, driver)

    def _report(self, place: tuple[float, float, float]) -> None:
        self.seen.append(place)
        record = self._slots.object.value[0]
        record["values"], record["seen_ns"] = place, time.monotonic_ns()
        self._slots.object.write()


def push(host: str) -> tuple[PolicyController, Camera]:
    """The shipped student's push, until the puck is there, or the arm leaves control, or a minute is over."""
    policy, task = Policy(PUSH), load_task("franka_push")
    driver = open_driver("franka", policy.contract, DriverOptions(host=host))
    slots = SharedSlots.create(policy.contract)
    camera = Camera((0.5, 0.12, 0.04), task, SharedSlots(slots.descriptor, policy.contract))
    core = PolicyController(policy)
    loop = Loop(driver, core, camera, tracker=Tracker(policy.contract, slots.object, 0.5))
    deadline = time.monotonic() + 60
    try:
        loop.run(lambda: core.reached or camera.lost_control or time.monotonic() > deadline)
    finally:
        driver.close()
    return core, camera


def test_shipped_student_pushes_a_puck_that_a_camera_sees() -> None:
    """At the first attempt that a busy machine, where libfranka gives up, lets it make."""
    for _ in range(20):
        server = Server()
        try:
            core, camera = push(server.host)
        finally:
            server.kill()
        if not camera.lost_control:
            break
    assert camera.states[0] is State.HOLD
    assert np.linalg.norm(np.subtract(camera.seen[-1], camera.seen[0])) > 0.05
    assert core.reached, (core.distance_m, camera.seen[-1])


def test_lost_connection_holds_and_comes_back(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    policy = Policy(MODEL)
    driver = open_driver("franka", policy.contract, DriverOptions(host=server.host))
    core, exchange = PolicyController(policy), OneGoal((0.5, -0.2, 0.35))
    run(driver, core, exchange, lambda: exchange.ticks >= 10, 10.0)
    assert core.safety.state is State.ACTIVE
    server.kill()
    run(driver, core, exchange, lambda: core.safety.state is State.HOLD, 5.0)
    assert core.safety.state is State.HOLD
    server.start()
    run(driver, core, exchange, lambda: core.reached, 40.0)
    assert isinstance(driver, RecoveringDriver)
    assert driver.restarts == 1
    assert core.reached
    driver.close()
    said = capfd.readouterr().err
    assert "franka: left control: " in said
    assert "franka: recovered" in said


def test_nobody_at_the_address_is_one_sentence() -> None:
    contract = Policy(MODEL).contract
    with pytest.raises(ShoalError, match=r"--host: give the address"):
        open_driver("franka", contract, DriverOptions())
    with pytest.raises(ShoalError, match=r"--host: no Franka robot answers at 127\.0\.0\.9 .* check the cable"):
        open_driver("franka", contract, DriverOptions(host="127.0.0.9"))


def test_reference_moves_as_the_contracts_servo(pose_contract: Contract) -> None:
    joints = pose_contract.robot.joints
    lag = np.array([joint.damping / joint.stiffness for joint in joints])
    period, start = pose_contract.timing.control_dt_s, np.zeros(7)
    targets = [np.full(7, 0.05), np.full(7, 0.02), np.full(7, 0.08)]
    reference, velocity, truth, previous = Reference(pose_contract, start), np.zeros(7), start.copy(), start
    for target in targets:

        def slope(t: float, q: np.ndarray, a: np.ndarray = previous, b: np.ndarray = target) -> np.ndarray:
            return (a + (b - a) * t / period - q) / lag

        truth = solve_ivp(slope, (0, period), truth, rtol=1e-9, atol=1e-12).y[:, -1]
        before = reference.position.copy()
        reference.velocity(target, before, velocity)
        np.testing.assert_allclose(reference.position, truth, atol=1e-7)
        np.testing.assert_allclose(before + period * velocity, truth, atol=1e-7)  # measured where it should be
        previous = target
    reference.velocity(previous, reference.position - 0.01, velocity)
    assert (velocity > 0).all()  # lagging behind is made up for
