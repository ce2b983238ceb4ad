"""MuJoCo over the wire: the same loop as with any robot, a lost connection, and robots that do not fit."""

from __future__ import annotations

import math
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mujoco
import numpy as np
import pytest

from runtime.control.loop import Loop
from runtime.control.policy_controller import PolicyController
from runtime.drivers.base import Driver, DriverOptions, RecoveringDriver, open_driver
from runtime.drivers.conformance import assert_conforms
from runtime.drivers.wire import (
    COMMAND_MAGIC,
    STATE_MAGIC,
    Records,
    SimulationHello,
    WireDriver,
    command_dtype,
    simulation_address,
    state_dtype,
)
from runtime.drivers.wire_simulation import Simulation, SimulationServer
from runtime.goals.messages import GoalPose
from runtime.goals.resolve import validate_goal
from runtime.inference.policy import Policy
from runtime.robot.readings import Readings
from runtime.status import State
from sim2real.child_process import free_port
from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.tasks.task import Task

WIRE = "runtime.drivers.wire:WireDriver"


class Running:
    """A simulation in a thread."""

    def __init__(self, task: Task, path: Path, **changes: object) -> None:
        contract = task.contract
        self.simulation = Simulation(mujoco.MjModel.from_xml_path(str(task.mjcf_path)), contract)
        hello = SimulationHello(
            joint_names=contract.joint_names,
            mjcf_sha256=contract.robot.mjcf_sha256,
            end_effector_frame=contract.robot.end_effector_frame,
            speed=4.0,
            description="a test's",
        ).model_copy(update=changes)
        self.server = SimulationServer(self.simulation, hello, simulation_address(str(path)))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.server.run, args=(self._ended.is_set,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.server.close()


@pytest.fixture
def start(task: Task, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts simulations on `tmp_path / "s"`, and ends what is left of them."""
    running: list[Running] = []

    def begin(**changes: object) -> Running:
        running.append(Running(task, tmp_path / "s", **changes))
        return running[-1]

    yield begin
    for one in running:
        one.end()


class OneGoal:
    """An exchange that gives one goal and notes the states."""

    def __init__(self, goal: GoalPose) -> None:
        self.goal, self.states = goal, set[State]()
        self.during: Callable[[PolicyController], None] = lambda core: None

    def before_tick(self, core: PolicyController, driver: Driver) -> None:
        if core.goal is None:
            goal = validate_goal(core.contract, self.goal, time.time())
            core.set_goal(goal, number=1, now_s=driver.now_s())
            driver.show_goal(goal)

    def after_tick(self, core: PolicyController, missed_periods: int) -> None:
        self.states.add(core.safety.state)
        self.during(core)


def run_until(loop: Loop, condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    loop.run(lambda: condition() or time.monotonic() > deadline)
    assert condition()


def test_conforms(start: Callable[..., Running], contract: Contract, tmp_path: Path) -> None:
    start()
    driver = open_driver(WIRE, contract, DriverOptions(host=str(tmp_path / "s")))
    assert isinstance(driver, RecoveringDriver)
    assert_conforms(driver, contract, move_rad=0.02)
    driver.close()


def test_a_goal_is_reached_and_a_lost_connection_survived(
    start: Callable[..., Running],
    policy: Policy,
    contract: Contract,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = start()
    driver = WireDriver(contract, DriverOptions(host=str(tmp_path / "s")))
    core, exchange = PolicyController(policy), OneGoal(GoalPose(position=(0.45, 0.1, 0.45)))
    loop = Loop(driver, core, exchange)
    run_until(loop, lambda: core.distance_m < 0.1)
    assert first.simulation.data.mocap_pos[0] == pytest.approx((0.45, 0.1, 0.45))
    first.end()
    targets: list[np.ndarray] = []
    exchange.during = lambda core: targets.append(core.safety.target.copy())
    run_until(loop, lambda: core.safety.state is State.HOLD)
    second = start()
    run_until(loop, lambda: driver.restarts == 1 and core.safety.state not in (State.HOLD, State.IDLE))
    # It went on from where the robot stands now, which is home again, and not from where it was lost.
    home = [joint.home_position for joint in contract.robot.joints]
    assert min(float(np.abs(target - home).max()) for target in targets[-5:]) < 0.2
    run_until(loop, lambda: core.reached)
    driver.close()
    assert np.isfinite(second.simulation.data.qpos).all()
    said = capsys.readouterr().err
    assert "connection lost" in said
    assert "connected again" in said


def test_another_robot_is_refused(start: Callable[..., Running], contract: Contract, tmp_path: Path) -> None:
    options = DriverOptions(host=str(tmp_path / "s"))
    for changes, sentence in (
        ({"joint_names": ("a", "b", "c", "d", "e", "f", "g")}, "robot.joints"),
        ({"mjcf_sha256": "0" * 64}, "robot.mjcf_sha256"),
        ({"version": 2}, "speaks version 2"),
    ):
        running = start(**changes)
        with pytest.raises(ShoalError, match=sentence):
            WireDriver(contract, options)
        running.end()


def test_joints_are_matched_by_name(start: Callable[..., Running], contract: Contract, tmp_path: Path) -> None:
    names = tuple(reversed(contract.joint_names))
    start(joint_names=names)
    driver = WireDriver(contract, DriverOptions(host=str(tmp_path / "s")))
    assert driver.joint_names == names
    driver.close()


def test_a_second_driver_is_turned_away(start: Callable[..., Running], contract: Contract, tmp_path: Path) -> None:
    start()
    options = DriverOptions(host=str(tmp_path / "s"))
    first = WireDriver(contract, options)
    with pytest.raises(ShoalError, match="driven by someone else"):
        WireDriver(contract, options)
    readings = Readings.of(contract)
    first.read(readings)
    assert np.isfinite(readings.vector).all()
    first.close()


def test_a_silent_simulation_makes_the_readings_old(contract: Contract, tmp_path: Path) -> None:
    hello = SimulationHello(
        joint_names=contract.joint_names,
        mjcf_sha256=contract.robot.mjcf_sha256,
        end_effector_frame=contract.robot.end_effector_frame,
        speed=1.0,
        description="silent",
    )
    state = np.zeros(1, state_dtype(contract))
    state["magic"] = STATE_MAGIC
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        def answer() -> None:
            listening.accept()[0].sendall(hello.model_dump_json().encode() + b"\n" + state.tobytes())

        thread = threading.Thread(target=answer)
        thread.start()
        driver = WireDriver(contract, DriverOptions(host=str(tmp_path / "s")))
        thread.join()
        readings = Readings.of(contract)
        driver.read(readings)
        measured = readings.time_s
        time.sleep(0.05)
        driver.read(readings)
        assert readings.time_s == measured
        assert driver.now_s() - measured > 0.04
        driver.close()


def test_nonsense_instead_of_a_simulation(contract: Contract, tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match=r"no simulation answers at unix://.*is `runtime simulate` running"):
        WireDriver(contract, DriverOptions(host=str(tmp_path / "none")))
    with pytest.raises(ShoalError, match="not the loopback interface"):
        WireDriver(contract, DriverOptions(host="10.0.0.1:7400"))
    with pytest.raises(ShoalError, match="give the simulation's address"):
        WireDriver(contract, DriverOptions())
    with pytest.raises(ValueError, match="another kind"):
        Records(state_dtype(contract), STATE_MAGIC).take(b"\0" * state_dtype(contract).itemsize)


def test_a_speed_that_no_machine_reaches_neither_deafens_nor_hangs(
    start: Callable[..., Running], contract: Contract, tmp_path: Path
) -> None:
    running = start(speed=1e9)
    open_driver(WIRE, contract, DriverOptions(host=str(tmp_path / "s"))).close()
    running.end()


def test_a_simulation_that_hardly_moves_ends_at_once(start: Callable[..., Running]) -> None:
    running = start(speed=1e-9)
    while running.simulation.data.time == 0:
        time.sleep(0.01)
    running.end()


def test_records_are_found_in_any_pieces() -> None:
    dtype = command_dtype(2)
    sent = np.zeros(5, dtype)
    sent["magic"] = COMMAND_MAGIC
    sent["target"] = np.arange(10).reshape(5, 2)
    data, records, count = sent.tobytes(), Records(dtype, COMMAND_MAGIC), 0
    for start in range(0, len(data), 37):
        count += records.take(data[start : start + 37])
    assert count == 5
    np.testing.assert_array_equal(records.newest["target"][0], [8, 9])


def test_targets_are_approached_as_in_training(task: Task, contract: Contract) -> None:
    simulation = Simulation(mujoco.MjModel.from_xml_path(str(task.mjcf_path)), contract)
    command = np.zeros(1, command_dtype(7))
    home = np.array([joint.home_position for joint in contract.robot.joints])
    command["target"] = home + 0.02
    command["goal_position"] = math.nan
    simulation.command(command[0])
    substeps = contract.timing.substeps
    for step in range(substeps + 3):
        simulation.advance()
        wanted = home + 0.02 * min(1.0, (step + 1) / substeps)
        np.testing.assert_allclose(simulation.data.ctrl[:7], wanted, atol=1e-12)
    command["target"][0, 3] = math.nan
    simulation.command(command[0])
    simulation.advance()
    np.testing.assert_allclose(simulation.data.ctrl[:7], home + 0.02, atol=1e-12)


def test_as_two_processes(policy_path: Path, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    runtime = (sys.executable, "-m", "runtime.cli")
    simulation = subprocess.Popen(
        [*runtime, "simulate", "--model", str(policy_path), "--address", address, "--speed", "4"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert simulation.stdout is not None
        assert "simulating" in simulation.stdout.readline()
        assert address in simulation.stdout.readline()
        goals = tmp_path / "goals.yaml"
        goals.write_text("- {position: [0.45, 0.1, 0.45], id: near, timeout_s: 60}\n")
        served = subprocess.run(
            [
                *runtime,
                "serve",
                "--model",
                str(policy_path),
                "--robot",
                "wire",
                "--host",
                address,
                "--no-realtime",
                "--socket",
                str(tmp_path / "s"),
                "--goals",
                str(goals),
                "--exit-after-goals",
                "--quiet",
            ],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert served.returncode == 0, served.stderr
        assert "goal near  reached" in served.stdout
    finally:
        simulation.send_signal(signal.SIGTERM)
        assert simulation.wait(20) == 0
        simulation.communicate()
