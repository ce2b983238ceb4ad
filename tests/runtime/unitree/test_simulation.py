"""`runtime simulate --protocol unitree`, commanded by a peer with types and a checksum of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mujoco
import numpy as np
import pytest

from runtime.commands.servers import Simulate
from runtime.robot.model import load_model
from runtime.unitree.config import OdometrySource, UnitreeConfig
from runtime.unitree.dds.messages import LOW_CMD, LOW_LEVEL, SERVO_MODE
from runtime.unitree.dds.packets import Packet
from runtime.unitree.motors import MotorMap
from runtime.unitree.simulation import SimulatedRobot, simulated
from sim2real.contract import Contract
from sim2real.errors import ContractMismatch, ShoalError
from sim2real.tasks.task import load_task
from tests.runtime.unitree.conftest import PATIENCE_S, ROOT, peer_commander

MODEL = ROOT / "models" / "quadruped_walk.onnx"
HOME = (0.0, 0.9, -1.8)


@contextmanager
def simulation() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli", "simulate", "--model", str(MODEL), "--protocol", "unitree"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ,
    )
    assert process.stdout is not None
    try:
        assert "behind unitree_go's messages" in process.stdout.readline()
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def commanded(*arguments: str) -> dict:
    """What the peer saw while it commanded."""
    return json.loads(peer_commander(*arguments).communicate(timeout=PATIENCE_S)[0].splitlines()[-1])


def test_a_peer_makes_the_robot_stand_and_it_lets_go_without_commands(domain: str) -> None:
    with simulation():
        first = commanded("0,1.36,-2.65", "0.2", "--spoiled")
        assert first["whole"]
        assert first["mode"][:12] == [0] * 12, "a command with a wrong checksum moved the motors"
        stood = commanded("0,0.9,-1.8", "2")
        assert stood["whole"]
        assert stood["mode"] == [1] * 12 + [0] * 8
        assert stood["position"][2] > 0.25
        assert np.allclose(stood["q"][:12], HOME * 4, atol=0.3)
        let_go = commanded("0,0.9,-1.8", "1.5", "--spoiled")
        assert let_go["mode"][:12] == [0] * 12
        assert let_go["position"][2] < 0.2, "without commands the robot should have sunk to the ground"
        assert let_go["tick"] > stood["tick"] > first["tick"]


def command(robot_joints: int = 12, **fields: float) -> Packet:
    packet = Packet(LOW_CMD)
    packet["head"], packet["level_flag"] = (0xFE, 0xEF), LOW_LEVEL
    slots = packet["motor_cmd"]
    slots["mode"][:robot_joints] = SERVO_MODE
    for name, value in fields.items():
        slots[name][:robot_joints] = value
    packet.seal()
    return packet


@pytest.fixture
def robot(quadruped: Contract) -> SimulatedRobot:
    return SimulatedRobot(load_model(quadruped), quadruped, MotorMap.of(quadruped, {}))


def test_a_motor_does_what_its_numbers_say(robot: SimulatedRobot) -> None:
    """Torque: kp (q* - q) + kd (dq* - dq) + tau, within the drive's limit."""
    q, dq = -1.2, 0.5
    robot.data.qpos[7:], robot.data.qvel[6:] = q, dq
    assert robot.command(command(q=-1.1, dq=0.2, tau=3.0, kp=20.0, kd=2.0))
    mujoco.mj_forward(robot.model, robot.data)
    assert robot.data.actuator_force == pytest.approx(20 * (-1.1 - q) + 2 * (0.2 - dq) + 3.0, abs=1e-5)
    assert robot.command(command(tau=1e3))
    mujoco.mj_forward(robot.model, robot.data)
    assert robot.data.actuator_force == pytest.approx([23.7, 23.7, 45.43] * 4)


def test_what_is_no_command_changes_nothing(robot: SimulatedRobot) -> None:
    before = robot.data.ctrl.copy(), robot.model.actuator_biasprm.copy()
    damaged = command(kp=60.0)
    damaged["crc"] ^= 1
    elsewhere = command(kp=60.0)
    elsewhere["level_flag"] = 0xEE
    elsewhere.seal()
    for packet in (damaged, elsewhere, command(q=float("nan"))):
        assert not robot.command(packet)
    assert not robot.driven
    assert (robot.data.ctrl == before[0]).all()
    assert (robot.model.actuator_biasprm == before[1]).all()


def test_every_motor_is_in_its_own_slot(robot: SimulatedRobot, quadruped: Contract) -> None:
    """As a table of names that this test has for itself: legs FR, FL, RR, RL, each hip, thigh, calf."""
    order = [f"{leg}_{part}" for leg in ("front_right", "front_left", "rear_right", "rear_left")
             for part in ("hip", "thigh", "calf")]  # fmt: skip
    for slot, name in enumerate(order):
        robot.data.qpos[7:] = 0.0
        robot.data.qpos[robot.model.joint(name).qposadr] = 0.25
        told = robot.low_state()["motor_state"]["q"]
        assert np.flatnonzero(told).tolist() == [slot]


def test_policies_of_other_robots_are_refused_by_name(domain: str) -> None:
    with pytest.raises(ContractMismatch, match=r"no motor is called 'fr3_joint1'.*Serve the policy of a quadruped"):
        simulated(load_task("franka_pose").contract, UnitreeConfig())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"protocol": "unitree", "address": "x", "speed": 2.0}, "--address, --speed is not for --protocol unitree"),
        ({"robot_config": Path("x.yaml")}, "--robot-config is not for --protocol shoal"),
    ],
)
def test_options_of_the_other_protocol_are_refused(options: dict, problem: str) -> None:
    with pytest.raises(ShoalError, match=problem):
        Simulate(model=MODEL, **options).run()


def test_only_its_own_odometry_is_simulated(quadruped: Contract, domain: str) -> None:
    with pytest.raises(ShoalError, match="kind: sport_mode_state"):
        simulated(quadruped, UnitreeConfig(odometry=OdometrySource(kind="odometry")))
