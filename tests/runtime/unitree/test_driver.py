"""`--robot unitree` against a peer's robot with types of its own, and against the simulated one with faults."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from runtime.drivers.base import DriverOptions, RecoveringDriver, ServoDriver, open_chosen
from runtime.drivers.conformance import assert_conforms
from runtime.options import RobotOptions
from runtime.robot.readings import Readings
from runtime.ros2.domain import RELIABLE, Participant
from runtime.unitree.config import StandUp
from runtime.unitree.dds.messages import LOW_STATE, LOW_STATE_TOPIC, LowState
from runtime.unitree.dds.packets import Packet
from runtime.unitree.driver import UnitreeDriver
from runtime.unitree.motors import MOTORS, MotorMap
from runtime.unitree.stand_up import folded, way
from runtime.unitree.states import LowStates
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.tasks.task import load_task
from tests.runtime.unitree.conftest import PATIENCE_S, UNHURRIED_S, Running, peer_commander, peer_robot

FAST: dict[str, Any] = {
    "stand_up": {"speed_rad_s": 4.0, "settle_s": 0.2, "max_age_s": UNHURRIED_S},
    "damp_for_s": 0.2,
    "wait_s": 20,
    "motor_watchdog_s": UNHURRIED_S,
}


def config(folder: Path, **fields: Any) -> Path:
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump(FAST | fields))
    return path


@contextmanager
def driving(contract: Contract, path: Path) -> Iterator[tuple[UnitreeDriver, Readings]]:
    driver, readings = UnitreeDriver(contract, DriverOptions(config=path)), Readings.of(contract)
    try:
        yield driver, readings
    finally:
        driver.close()


def home(contract: Contract) -> np.ndarray:
    return np.array([joint.home_position for joint in contract.robot.joints])


def keep(driver: UnitreeDriver, readings: Readings, target: np.ndarray, seconds: float) -> None:
    """Read and write as the loop does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        driver.read(readings)
        driver.write(target)
        for step in range(2, driver.servo_steps + 1):
            time.sleep(driver.period_s / driver.servo_steps)
            driver.servo(step / driver.servo_steps)


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def keep_until(driver: UnitreeDriver, readings: Readings, target: np.ndarray, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        keep(driver, readings, target, driver.period_s)


def test_a_peer_with_types_of_its_own_is_stood_up_commanded_and_damped(
    quadruped: Contract, domain: str, tmp_path: Path
) -> None:
    target = home(quadruped) + np.linspace(-0.1, 0.1, 12)
    with peer_robot() as end:
        with driving(quadruped, config(tmp_path, damping=7.0)) as (driver, readings):
            assert isinstance(driver, ServoDriver)
            assert isinstance(driver, RecoveringDriver)
            driver.read(readings)
            assert readings["joint_position"] == pytest.approx(home(quadruped), abs=0.02)
            assert readings["base_pose"] == pytest.approx([1.0, 2.0, math.pi / 2], abs=1e-5)
            assert readings["base_orientation"] == pytest.approx([math.sqrt(0.5), 0, 0, math.sqrt(0.5)], abs=1e-5)
            assert readings["projected_gravity"] == pytest.approx([0, 0, -1], abs=1e-5)
            keep_until(
                driver, readings, target, lambda: bool(np.allclose(readings["joint_position"], target, atol=1e-3))
            )
        seen = end()
    assert seen["commands"] > 50
    assert seen["damaged"] == 0
    by_slot = {motor.slot: target[quadruped.joint_names.index(motor.joint)] for motor in MOTORS}
    for slot, told in enumerate(seen["stiff"]):
        if slot in by_slot:
            assert told == pytest.approx({"mode": 1, "q": by_slot[slot], "dq": 0, "tau": 0, "kp": 60, "kd": 3})
        else:
            assert (told["mode"], told["kp"], told["kd"], told["tau"]) == (0, 0, 0, 0)
    for told in seen["last"][:12]:
        assert (told["mode"], told["kp"], told["kd"], told["tau"]) == (1, 0, 7, 0), "the end is damping"


def test_the_way_up_is_no_faster_than_it_may_be_and_rests_at_its_ends(quadruped: Contract) -> None:
    motors, settings, period_s = MotorMap.of(quadruped, {}), StandUp(speed_rad_s=0.7, settle_s=0.1), 0.002
    lying = folded(quadruped, motors, settings) + 0.3
    references = np.array([lying, *way(quadruped, motors, settings, lying, period_s)])
    speed = np.abs(np.diff(references, axis=0)) / period_s
    assert 0.5 < speed.max() <= 0.7
    assert speed[0].max() < 0.05
    assert (speed[-50:] == 0).all()
    assert references[-1] == pytest.approx(home(quadruped))
    assert np.abs(references - folded(quadruped, motors, settings)).max(axis=1).min() == pytest.approx(0, abs=1e-9)
    already = home(quadruped) + 0.1
    assert len([*way(quadruped, motors, settings, already, period_s)]) < len(references) / 4


def test_conforms(quadruped: Contract, domain: str, tmp_path: Path) -> None:
    """With a robot that carries nothing: one that stands sinks a little where it is told to stay as measured."""
    with peer_robot() as end:
        with driving(quadruped, config(tmp_path)) as (driver, _):
            assert_conforms(driver, quadruped)
        end()


def test_it_stands_up_from_its_belly_and_sinks_back(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path
) -> None:
    running = start()
    assert running.robot.data.qpos[2] < 0.15
    with driving(quadruped, config(tmp_path)) as (driver, readings):
        assert running.robot.data.qpos[2] > 0.25
        # Nobody commands it: the posture is held until somebody does.
        time.sleep(0.5)
        assert running.robot.driven
        assert running.topics.released == 0
        keep(driver, readings, home(quadruped), 0.3)
        assert driver.restarts == 0
    running.topics.watchdog_s = 0.1
    wait_until(lambda: running.robot.data.qpos[2] < 0.2 and not running.robot.driven)


def test_states_with_wrong_checksums_are_left_out_and_grow_old(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    running = start()
    with driving(quadruped, config(tmp_path)) as (driver, readings):
        keep(driver, readings, home(quadruped), 0.1)
        running.topics.checksums = False
        refused = driver._states.refused
        keep_until(driver, readings, home(quadruped), lambda: driver._states.refused > refused + 8)
        stamp = readings.time_s
        keep(driver, readings, home(quadruped), 0.2)
        assert readings.time_s == stamp
        running.topics.checksums = True
        keep_until(driver, readings, home(quadruped), lambda: readings.time_s > stamp)
    assert "a state with a wrong CRC is left out" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda packet: packet["motor_state"]["q"].__setitem__(3, math.nan), "q of FL_hip_joint is nan"),
        (lambda packet: packet["motor_state"]["dq"].__setitem__(8, math.inf), "dq of RR_calf_joint is inf"),
        (lambda packet: packet["imu_state"]["gyroscope"].__setitem__(1, math.nan), "imu_state is nan"),
        (lambda packet: packet["imu_state"]["quaternion"].__setitem__(0, 3.0), "imu_state.quaternion .* no rotation"),
    ],
)
def test_states_with_numbers_that_are_none_are_left_out_by_name(
    quadruped: Contract, domain: str, spoil: Callable[[Packet], object], problem: str
) -> None:
    said: list[str] = []
    participant = Participant(network=False)
    states = LowStates(participant, MotorMap.of(quadruped, {}), said.append)
    writer = participant.writer(LOW_STATE_TOPIC, LowState, RELIABLE)
    packet = Packet(LOW_STATE)
    packet["imu_state"]["quaternion"][0] = 1.0
    spoil(packet)
    packet.seal()
    deadline = time.monotonic() + PATIENCE_S
    while not said:
        assert time.monotonic() < deadline
        writer.write(LowState(packet.cdr()))
        assert not states.take(time.monotonic())
        time.sleep(0.01)
    assert re.search(problem, said[0]), said
    assert states.measured_s == -math.inf
    participant.close()


def test_every_second_lost_state_is_no_matter(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path
) -> None:
    running = start()
    with driving(quadruped, config(tmp_path)) as (driver, readings):
        running.topics.lost_share = 0.5
        for _ in range(20):
            stamp = readings.time_s
            keep_until(driver, readings, home(quadruped), lambda before=stamp: readings.time_s > before)
        assert driver.restarts == 0


def test_lost_odometry_is_no_number_and_everything_else_stays(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    running = start()
    with driving(quadruped, config(tmp_path)) as (driver, readings):
        keep_until(driver, readings, home(quadruped), lambda: bool(np.isfinite(readings.vector).all()))
        running.topics.odometry = False
        keep_until(driver, readings, home(quadruped), lambda: bool(np.isnan(readings["base_pose"]).all()))
        assert np.isnan(readings["base_orientation"]).all()
        for name in ("joint_position", "projected_gravity", "base_angular_velocity"):
            assert np.isfinite(readings[name]).all()
        running.topics.odometry = True
        keep_until(driver, readings, home(quadruped), lambda: bool(np.isfinite(readings.vector).all()))
    assert "nothing comes on rt/sportmodestate, which tells where the base is" in capfd.readouterr().err


def test_nobody_else_may_command_the_robot(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    start()
    other = peer_commander("0,0.9,-1.8", "100")
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "commanding\n"
        with pytest.raises(ShoalError, match="somebody else commands the robot on rt/lowcmd"):
            UnitreeDriver(quadruped, DriverOptions(config=config(tmp_path)))
    finally:
        other.kill()
        other.wait()
    with driving(quadruped, config(tmp_path)) as (driver, readings):
        keep(driver, readings, home(quadruped), 0.2)
        assert driver.restarts == 0
        other = peer_commander("0,0.9,-1.8", "2")
        try:
            said = ""

            def silent() -> bool:
                nonlocal said
                said += capfd.readouterr().err
                return "somebody else commands the robot; nothing is sent" in said

            keep_until(driver, readings, home(quadruped), silent)
            stamp, sent_s = readings.time_s, driver._commands.sent_s
            keep(driver, readings, home(quadruped), 0.3)
            assert (readings.time_s, driver._commands.sent_s) == (stamp, sent_s)
            keep_until(driver, readings, home(quadruped), lambda: driver.restarts > 0)
            keep(driver, readings, home(quadruped), 0.1)
            assert readings.time_s > stamp
            assert driver.restarts == 1
        finally:
            other.kill()
            other.wait()


def test_after_a_pause_in_which_the_motors_let_go_it_begins_anew(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    running = start()
    with driving(quadruped, config(tmp_path, motor_watchdog_s=1.0)) as (driver, readings):
        keep(driver, readings, home(quadruped), 0.2)
        running.topics.watchdog_s = 0.1
        time.sleep(1.1)
        wait_until(lambda: running.topics.released == 1)
        driver.read(readings)
        assert driver.restarts == 1
        assert readings["joint_position"] == pytest.approx(driver._states.position)
        sent = driver._commands._target.copy()
        assert sent == pytest.approx(driver._states.position), "the old target would be a jerk"
        # The posture is held until the loop commands again.
        wait_until(lambda: running.robot.driven)
    assert "after which motors let go; going on from where the robot stands" in capfd.readouterr().err


def test_a_robot_on_its_side_is_not_stood_up(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path
) -> None:
    running = start()
    running.robot.data.qpos[3:7] = math.cos(math.pi / 4), math.sin(math.pi / 4), 0, 0
    with pytest.raises(ShoalError, match=r"the base leans by \d+ deg, and may by 40 to stand up; lay the robot"):
        UnitreeDriver(quadruped, DriverOptions(config=config(tmp_path)))
    assert not running.robot.driven


def test_a_leg_that_is_caught_ends_in_damping(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path
) -> None:
    running = start()
    running.robot.model.dof_damping[running.robot.model.joint("rear_left_calf").dofadr] = 1e3
    with pytest.raises(ShoalError, match=r"RL_calf_joint was .* rad from where it was sent; the motors damp"):
        UnitreeDriver(quadruped, DriverOptions(config=config(tmp_path)))
    wait_until(lambda: running.robot.data.qpos[2] < 0.25)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (
            {"odometry": {"kind": "odometry"}},
            "nothing usable came on rt/utlidar/robot_odom, which tells where the base",
        ),
        ({"joint_names": {"elbow": "FR_hip_joint"}}, "joint_names: the policy has no joint 'elbow'"),
        (
            {"joint_names": {"front_left_hip": "FR_hip_joint"}},
            "FR_hip_joint is two joints' motor; no joint is FL_",
        ),
        ({"joint_names": {"front_left_hip": "FL_hip"}}, "no motor is called 'FL_hip'; no joint is FL_hip_joint"),
        ({"reversed": ["tail"]}, "reversed: the policy has no joint 'tail'"),
        ({"command_hz": 5}, "command_hz"),
        ({"interface": "<x/>"}, "interface"),
        ({"interfaces": "lo"}, "did you mean 'interface'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path, fields: dict, problem: str
) -> None:
    start()
    with pytest.raises(ShoalError, match=problem):
        UnitreeDriver(quadruped, DriverOptions(config=config(tmp_path, wait_s=1.0, **fields)))


def test_no_robot_at_all(quadruped: Contract, domain: str, tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match=r"no usable state came on rt/lowstate; is the robot on.*network interface"):
        UnitreeDriver(quadruped, DriverOptions(config=config(tmp_path, wait_s=0.2)))


def test_an_interface_that_is_none(
    quadruped: Contract, domain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CYCLONEDDS_URI")
    with pytest.raises(ShoalError, match="over the network interface 'nope0', which must be one that is up"):
        UnitreeDriver(quadruped, DriverOptions(config=config(tmp_path, interface="nope0")))


def test_two_robots_on_one_topic_are_refused(
    start: Callable[..., Running], quadruped: Contract, tmp_path: Path
) -> None:
    first = start()
    first.robot.data.time = 100.0
    start()
    with pytest.raises(ShoalError, match="time on rt/lowstate goes back and forth; do two robots"):
        UnitreeDriver(quadruped, DriverOptions(config=config(tmp_path)))
    assert not first.robot.driven


def test_policies_of_arms_are_refused() -> None:
    with pytest.raises(ContractMismatch, match=r"no motor is called 'fr3_joint1', .*; no joint is FR_hip_joint, FR_th"):
        open_chosen(RobotOptions(robot="unitree"), load_task("franka_pose").contract)


def test_signs_turn_readings_and_commands(quadruped: Contract) -> None:
    motors = MotorMap.of(quadruped, {}, ("front_left_hip",))
    assert motors.signs.tolist() == [-1.0] + [1.0] * 11
    assert motors.slots.tolist() == [3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8]
