"""`--robot ros2` against a separate process that behaves as ros2_control does, with message types of its own."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml

from runtime.drivers.base import DriverOptions, open_chosen
from runtime.drivers.conformance import assert_conforms
from runtime.goals.messages import GoalPose
from runtime.options import RobotOptions
from runtime.robot.readings import Readings
from runtime.ros2 import messages as ros
from runtime.ros2.base import Base
from runtime.ros2.commands import _Arrays
from runtime.ros2.domain import LOOPBACK_CONFIG
from runtime.ros2.driver import Ros2Driver
from runtime.ros2.joint_states import JointStates
from runtime.ros2.robot_config import ForwardCommand, Ros2RobotConfig, load_config
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.rotations import conjugate, rotate
from sim2real.tasks.task import Task, load_task
from tests.runtime.server.test_server import PATIENCE_S, Server

RENAMED = {f"fr3_joint{i}": f"left_fr3_joint{i}" for i in range(1, 8)}


@contextmanager
def robot(task: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.transport.ros2_controller", task, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"CYCLONEDDS_URI": LOOPBACK_CONFIG},
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait(PATIENCE_S)


def config(folder: Path, **fields: Any) -> Path:
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump({"wait_s": PATIENCE_S} | fields))
    return path


@contextmanager
def driving(contract: Contract, path: Path) -> Iterator[tuple[Ros2Driver, Readings]]:
    driver, readings = Ros2Driver(contract, DriverOptions(config=path)), Readings.of(contract)
    try:
        yield driver, readings
    finally:
        driver.close()


def read_until(driver: Ros2Driver, readings: Readings, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline, readings.vector
        driver.read(readings)
        time.sleep(0.01)


@pytest.mark.parametrize("kind", ["trajectory", pytest.param("forward", marks=pytest.mark.slow)])
def test_a_goal_is_reached_through_topics(kind: str, domain: str, tmp_path: Path) -> None:
    contract = load_task("franka_pose").contract
    command: dict[str, Any] = {"kind": kind}
    if kind == "forward":
        command["joints"] = [RENAMED[name] for name in reversed(contract.joint_names)]
    path = config(tmp_path, joint_names=RENAMED, command=command)
    policy = Path(__file__).parents[3] / "models" / "franka_pose.onnx"
    with robot("franka_pose", "--kind", kind, "--rename", "left_"):
        server = Server(policy, tmp_path, "--quiet", "--robot", "ros2", "--robot-config", str(path))
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not server.socket.exists():
                assert server.process.poll() is None, server.output()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            with server.client() as client:
                client.send_goal(GoalPose(position=(0.5, 0.1, 0.4)))
                status = client.wait_until_reached(PATIENCE_S)
            assert status.reached, status
        finally:
            server.process.terminate()
            said = server.output()
    assert f"ros2_control, {kind} commands on" in said


def test_what_a_tracker_tells_is_read_and_forgotten(domain: str, tmp_path: Path) -> None:
    task = load_task("franka_push")
    with robot("franka_push") as process:
        with driving(task.contract, config(tmp_path)) as (driver, readings):
            read_until(driver, readings, lambda: bool(np.isfinite(readings.object_position).all()))
            wanted = task.scene.simulated([data_at_home(task)]).value(np, task.contract.reading("object_position"))[0]
            assert readings.object_position == pytest.approx(wanted, abs=0.01)
            home = [joint.home_position for joint in task.contract.robot.joints]
            assert readings.joint_position == pytest.approx(home, abs=0.02)
            process.send_signal(signal.SIGSTOP)  # nobody sees it any more
            time.sleep(load_config(None).object_pose.max_age_s + 0.1)
            driver._others.write(driver._kinematics, driver._data, readings)
            assert np.isnan(readings.object_position).all()
            process.send_signal(signal.SIGCONT)
        with driving(task.contract, config(tmp_path, object_pose={"frame": "map"})) as (driver, readings):
            read_until(driver, readings, lambda: "frame 'world' is not taken" in "".join(driver._said))
            assert np.isnan(readings.object_position).all()


def data_at_home(task: Task) -> mujoco.MjData:
    data = mujoco.MjData(task.model)
    data.qpos[:] = task.home.qpos
    return forwarded(task, data)


def forwarded(task: Task, data: mujoco.MjData) -> mujoco.MjData:
    mujoco.mj_forward(task.model, data)
    return data


def test_a_floating_base_is_read_from_odometry_and_an_inertial_unit(domain: str, tmp_path: Path) -> None:
    contract = load_task("ant").contract
    home = np.array([joint.home_position for joint in contract.robot.joints])
    with robot("ant"), driving(contract, config(tmp_path)) as (driver, readings):
        driver.read(readings)
        swing = iter(range(10**9))

        def rocks() -> bool:
            driver.write(home + 0.4 * (-1) ** (next(swing) // 20))
            return bool(np.abs(readings["base_angular_velocity"]).max() > 0.1)

        read_until(driver, readings, rocks)
        assert readings["projected_gravity"][2] < -0.8
        down = rotate(conjugate(readings["base_orientation"]), np.array([0.0, 0.0, -1.0]))
        assert readings["projected_gravity"] == pytest.approx(down, abs=1e-6)
        assert np.abs(readings["base_position"]).max() < 1.0


def test_a_base_stands_in_the_model_as_odometry_and_inertial_unit_say() -> None:
    task = load_task("ant")
    base, data = Base(task.scene, needs_pose=True, needs_imu=True), data_at_home(task)
    assert base.measured_s == -math.inf
    half = math.sqrt(0.5)  # a quarter turn to the left: ahead is y
    pose = ros.PoseWithCovariance(ros.Pose(ros.Point(1.0, 2.0, 0.6), ros.Quaternion(0.0, 0.0, half, half)), [0.0] * 36)
    twist = ros.TwistWithCovariance(ros.Twist(ros.Vector3(0.5, 0.0, 0.0), ros.Vector3(9.0, 9.0, 9.0)), [0.0] * 36)
    head, still = ros.Header(ros.Time(0, 0), "odom"), ros.Vector3(0.0, 0.0, 0.0)
    base.take_odometry(data, ros.Odometry(head, "base", pose, twist), 5.0)
    unknown = ros.Quaternion(0.0, 0.0, 0.0, 0.0)
    spin = ros.Vector3(0.1, 0.2, 0.3)
    base.take_imu(data, ros.Imu(head, unknown, [-1.0] + [0.0] * 8, spin, [0.0] * 9, still, [0.0] * 9), 6.0)
    assert base.measured_s == 5.0
    sim = task.scene.simulated([forwarded(task, data)])
    read = {r.name: sim.value(np, r)[0].tolist() for r in task.teacher_contract.readings}
    assert read["base_position"] == pytest.approx([1.0, 2.0])
    assert read["base_orientation"] == pytest.approx([half, 0, 0, half])
    assert read["base_linear_velocity"] == pytest.approx([0.5, 0, 0], abs=1e-6)
    assert data.qvel[:3] == pytest.approx([0.0, 0.5, 0.0])
    assert read["base_angular_velocity"] == pytest.approx([0.1, 0.2, 0.3])
    nowhere = ros.PoseWithCovariance(ros.Pose(ros.Point(math.nan, 0.0, 0.0), pose.pose.orientation), [0.0] * 36)
    base.take_odometry(data, ros.Odometry(head, "base", nowhere, twist), 7.0)
    assert base.measured_s == 5.0  # as if nothing had come


def test_without_odometry_the_inertial_unit_has_to_know_how_it_is_turned() -> None:
    task = load_task("ant")
    base, data = Base(task.scene, needs_pose=False, needs_imu=True), data_at_home(task)
    head, still, nine = ros.Header(ros.Time(0, 0), ""), ros.Vector3(0.0, 0.0, 0.0), [0.0] * 9
    turned = ros.Quaternion(1.0, 0.0, 0.0, 0.0)
    base.take_imu(data, ros.Imu(head, turned, [-1.0] + [0.0] * 8, still, nine, still, nine), 1.0)
    assert base.measured_s == -math.inf
    base.take_imu(data, ros.Imu(head, turned, nine, still, nine, still, nine), 1.0)
    assert base.measured_s == 1.0
    gravity = task.scene.simulated([forwarded(task, data)]).value(np, task.contract.reading("projected_gravity"))[0]
    assert gravity == pytest.approx([0, 0, 1], abs=1e-6)  # on its back


def test_silence_ages_readings_and_a_return_begins_anew(domain: str, tmp_path: Path) -> None:
    contract = load_task("franka_pose").contract
    with robot("franka_pose", "--silent-after", "1.5"), driving(contract, config(tmp_path)) as (driver, readings):
        driver.read(readings)
        read_until(driver, readings, lambda: driver.now_s() - readings.time_s > 0.5)
        before, vector = readings.time_s, readings.vector.copy()
        driver.read(readings)
        assert readings.time_s == before
        assert (readings.vector == vector).all()
        assert driver.restarts == 0
        read_until(driver, readings, lambda: driver.restarts == 1)
        assert driver.now_s() - readings.time_s < PATIENCE_S
        assert readings.time_s > before + 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["trajectory", "forward"])
def test_conforms(kind: str, domain: str, tmp_path: Path) -> None:
    contract = load_task("franka_pose").contract
    command: dict[str, Any] = {"kind": kind}
    if kind == "forward":
        command["joints"] = list(reversed(contract.joint_names))
    with robot("franka_pose", "--kind", kind), driving(contract, config(tmp_path, command=command)) as (driver, _):
        assert_conforms(driver, contract)


def state(sec: float, **joints: float) -> ros.JointState:
    stamp = ros.Time(int(sec), round(sec % 1 * 1e9))
    values = list(joints.values())
    return ros.JointState(ros.Header(stamp, ""), list(joints), values, [10 * value for value in values], [])


def test_joint_states_come_in_parts_and_in_any_order() -> None:
    states = JointStates(["a", "b"], stamps="arrival")
    assert states.missing() == ["a", "b"]
    states.take(state(5.0, c=9.0, b=2.0), arrived_s=1.0, stamp_s=5.0)
    assert (states.missing(), states.measured_s, states.others) == (["a"], -math.inf, {"c"})
    states.take(state(5.0, a=1.0), arrived_s=1.5, stamp_s=5.0)
    assert (states.position.tolist(), states.velocity.tolist(), states.measured_s) == ([1.0, 2.0], [10.0, 20.0], 1.0)
    assert np.isnan(states.effort).all()


def test_old_stamps_are_no_news_and_a_clock_may_be_set_back() -> None:
    states = JointStates(["a"], stamps="arrival")
    for sec, value, arrived_s in ((5.0, 1.0, 1.0), (5.0, 2.0, 2.0), (4.9, 3.0, 3.0)):
        states.take(state(sec, a=value), arrived_s=arrived_s, stamp_s=5.0)
    assert (states.position[0], states.measured_s) == (1.0, 1.0)
    states.take(state(1.0, a=4.0), arrived_s=4.0, stamp_s=5.0)  # a simulation that began again
    assert (states.position[0], states.measured_s) == (4.0, 4.0)
    states.take(state(0.0, a=5.0), arrived_s=5.0, stamp_s=5.0)  # a publisher without stamps
    assert states.position[0] == 5.0


def test_stamps_of_the_header_say_how_old_a_state_was_when_it_came() -> None:
    states = JointStates(["a"], stamps="header")
    states.take(state(99.75, a=1.0), arrived_s=7.0, stamp_s=100.0)
    assert states.measured_s == pytest.approx(6.75)
    states.take(state(101.0, a=1.0), arrived_s=8.0, stamp_s=100.0)  # from the future
    assert states.measured_s == 8.0


def test_a_message_that_contradicts_itself_is_said_and_left() -> None:
    states = JointStates(["a"], stamps="arrival")
    states.take(ros.JointState(ros.Header(ros.Time(1, 0), ""), ["a", "b"], [1.0], [], []), arrived_s=1.0, stamp_s=1.0)
    assert states.problem == "a JointState with 2 names and 1 positions"
    assert states.missing() == ["a"]


class Written:
    def __init__(self) -> None:
        self.data: list[list[float]] = []

    def write(self, message: ros.Float64MultiArray) -> None:
        self.data.append([round(value, 9) for value in message.data])


def test_a_forward_controller_is_led_to_each_target_in_its_own_order() -> None:
    writer: Any = Written()
    commands = _Arrays(writer, ForwardCommand(kind="forward", joints=("b", "a"), rate_hz=100), ("a", "b"), 0.04)
    assert commands.steps == 4
    commands.begin(np.array([0.0, 1.0]))
    commands.send(np.array([4.0, 5.0]))
    for step in range(2, 5):
        commands.send_between(step / 4)
    commands.send(np.array([8.0, 5.0]))
    assert writer.data == [[2, 1], [3, 2], [4, 3], [5, 4], [5, 5]]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"command": {"kind": "velocity"}}, "command"),
        ({"topics": 3}, "topics"),
        ({"joint_names": {"elbow": "x"}}, "joint_names: 'elbow' in the file"),
        ({"joint_names": {"fr3_joint1": "x", "fr3_joint2": "x"}}, "give one name to two joints"),
        ({"command": {"kind": "forward", "joints": ["a"]}}, r"command\.joints: \['a'\] in the file"),
    ],
)
def test_a_config_that_does_not_fit_is_one_sentence(
    fields: dict[str, Any], said: str, domain: str, contract: Contract, tmp_path: Path
) -> None:
    with pytest.raises((ShoalError, ContractMismatch), match=f"--robot-config: .*{said}"):
        Ros2Driver(contract, DriverOptions(config=config(tmp_path, **fields)))


def test_a_robot_that_is_not_there_is_one_sentence(domain: str, contract: Contract, tmp_path: Path) -> None:
    path = config(tmp_path, wait_s=0.2, namespace="/arm")
    with pytest.raises(ShoalError, match=f"nothing came on arm/joint_states in domain {domain}, loopback only"):
        Ros2Driver(contract, DriverOptions(config=path))


def test_what_is_missing_is_named(domain: str, tmp_path: Path) -> None:
    contract = load_task("franka_pose").contract
    with robot("franka_pose", "--kind", "forward"):
        with pytest.raises(ShoalError, match="no controller listens on joint_trajectory_controller/joint_trajectory"):
            Ros2Driver(contract, DriverOptions(config=config(tmp_path, wait_s=3)))
        with pytest.raises(ShoalError, match=r"tells nothing of left_fr3_joint1, .* but of .*'gripper'"):
            Ros2Driver(contract, DriverOptions(config=config(tmp_path, wait_s=3, joint_names=RENAMED)))


def test_the_option_is_for_this_driver_alone(contract: Contract, tmp_path: Path) -> None:
    with pytest.raises(ShoalError, match="--robot-config is for the drivers ros2 and unitree, not for mujoco"):
        open_chosen(RobotOptions(robot_config=tmp_path / "robot.yaml"), contract)


def test_everything_has_a_default(tmp_path: Path) -> None:
    assert load_config(None) == Ros2RobotConfig()
    (tmp_path / "empty.yaml").write_text("")
    assert load_config(tmp_path / "empty.yaml") == Ros2RobotConfig()
    assert Ros2RobotConfig(namespace="/arm/").topic("joint_states") == "arm/joint_states"
    assert Ros2RobotConfig(namespace="/arm/").topic("/joint_states") == "/joint_states"
