"""Faults of a quadruped's low-level interface: the served driver against a simulated robot behind the same topics.

The robot runs in this process, where its faults are switched on, and `runtime serve --robot unitree` in processes of
its own, as does whoever else commands the robot. Whatever happens, it may not fall.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runtime.diagnostics.chaos.rig import FOLLOWS
from runtime.diagnostics.chaos.scenario import Scenario, Subject
from runtime.diagnostics.chaos.served.server import STATES, Served, Server, goal_within, until
from runtime.protocol.client import Client
from runtime.status import State
from sim2real.child_process import python_program
from sim2real.errors import ShoalError

if TYPE_CHECKING:
    from runtime.unitree.simulation import SimulatedTopics

_FALLEN_M, _FALLEN_DEG = 0.14, 60.0
"""Where the task's episodes are over."""
_A_WHILE_S = 1.5
_LONGER_THAN_HOLD_S = 4.0
"""Than `hold_to_damp_s`, after which a fault would make the joints yield."""
_PAUSE_S = 0.4
"""Longer than the motors' own watchdog, and no fall."""

_OTHER = """
import sys, time
from pathlib import Path
from runtime.inference.policy import Policy
from runtime.ros2.domain import Participant
from runtime.unitree.commands import MotorCommands
from runtime.unitree.dds.messages import LOW_COMMAND_TOPIC
from runtime.unitree.motors import MotorMap
import numpy as np
contract = Policy(Path(sys.argv[1])).contract
participant = Participant(network=False)
motors = MotorMap.of(contract, {})
commands = MotorCommands(participant, LOW_COMMAND_TOPIC, motors, contract, command_hz=500.0)
home = np.array([joint.home_position for joint in contract.robot.joints])
while True:
    commands.send_now(home)
    time.sleep(0.002)
"""


def unitree_scenarios() -> Iterator[Scenario]:
    """Scenarios with a quadruped in processes of its own; some ten seconds each."""
    yield from _SCENARIOS


def _quadruped(subject: Subject) -> str:
    """A robot with the twelve motors of the interface."""
    if find_spec("cyclonedds") is None:
        return "cyclonedds is not installed"
    from runtime.unitree.motors import MotorMap

    try:
        MotorMap.of(subject.contract, {})
    except ShoalError:
        return "it has not the motors of a quadruped of Unitree's"
    return ""


class _Driven(NamedTuple):
    """A robot on its way to a goal."""

    robot: Subject
    topics: SimulatedTopics
    server: Server
    client: Client

    def states_until(self, done: Callable[[], bool], label: str) -> list[str]:
        """A problem where that never came to be."""
        return [] if until(done) else [f"{label}; it said: {self.client.status().reason}"]

    def holds(self) -> bool:
        """Whether the robot stays where it is."""
        return STATES[self.client.status().state] is State.HOLD

    def follows(self) -> bool:
        """Whether it is on its way."""
        return STATES[self.client.status().state] in FOLLOWS


_Fault = Callable[[_Driven], list[str]]


def _served(fault: _Fault) -> Callable[[Subject, Path], Served]:
    def run(robot: Subject, folder: Path) -> Served:
        with (
            _own_domain(),
            _simulated(robot) as topics,
            Server(robot, folder, "--robot", "unitree") as server,
            server.client() as client,
        ):
            driven = _Driven(robot, topics, server, client)
            client.send_goal(goal_within(robot, 0.8))
            problems = driven.states_until(driven.follows, "the robot never moved")
            time.sleep(_A_WHILE_S)
            problems += fault(driven)
            problems += driven.states_until(driven.follows, "the robot never went on")
            time.sleep(_A_WHILE_S)
            return STATES[client.status().state], problems + _fallen(topics)

    return run


@contextmanager
def _own_domain() -> Iterator[None]:
    """A DDS domain that nobody else uses, on the loopback interface."""
    names = ("ROS_DOMAIN_ID", "CYCLONEDDS_URI", "ROS_AUTOMATIC_DISCOVERY_RANGE")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ["ROS_DOMAIN_ID"] = str(random.randrange(100, 230))
    try:
        yield
    finally:
        del os.environ["ROS_DOMAIN_ID"]
        os.environ.update(before)


@contextmanager
def _simulated(robot: Subject) -> Iterator[SimulatedTopics]:
    from runtime.unitree.config import UnitreeConfig
    from runtime.unitree.simulation import simulated

    ended, topics = threading.Event(), simulated(robot.contract, UnitreeConfig(), robot.mjcf)
    thread = threading.Thread(target=topics.run, args=(ended.is_set,), daemon=True)
    thread.start()
    try:
        yield topics
    finally:
        ended.set()
        thread.join()
        topics.close()


def _fallen(topics: SimulatedTopics) -> list[str]:
    from runtime.unitree.body import tilt_deg

    height_m, turn = topics.robot.base
    leans = tilt_deg(turn)
    down = height_m < _FALLEN_M or leans > _FALLEN_DEG
    return [f"the robot has fallen: its base is at {height_m:.2f} m and leans by {leans:.0f} deg"] if down else []


def _half_lost(driven: _Driven) -> list[str]:
    driven.topics.lost_share = 0.5
    time.sleep(2 * _A_WHILE_S)
    followed = driven.follows()
    driven.topics.lost_share = 0.0
    return [] if followed else [f"the robot stood still: {driven.client.status().reason}"]


def _silent(driven: _Driven) -> list[str]:
    driven.topics.states = False
    problems = driven.states_until(driven.holds, "the robot was not held")
    time.sleep(_A_WHILE_S)
    driven.topics.states = True
    return problems


def _wrong_checksums(driven: _Driven) -> list[str]:
    driven.topics.checksums = False
    problems = driven.states_until(driven.holds, "the robot was not held")
    driven.topics.checksums = True
    return problems


def _no_odometry(driven: _Driven) -> list[str]:
    driven.topics.odometry = False
    problems = driven.states_until(driven.holds, "the robot was not held")
    time.sleep(_LONGER_THAN_HOLD_S)
    if not driven.holds():
        problems.append(f"it did not hold its stance: {driven.client.status().reason}")
    problems += _fallen(driven.topics)
    driven.topics.odometry = True
    return problems


def _another_commander(driven: _Driven) -> list[str]:
    other = subprocess.Popen(python_program(_OTHER, str(driven.robot.model.absolute())))
    try:
        problems = driven.states_until(driven.holds, "the robot was not held")
        time.sleep(_A_WHILE_S)
        if not driven.holds():
            problems.append("it moved on while somebody else commanded the robot")
    finally:
        other.kill()
        other.wait()
    return problems


def _paused(driven: _Driven) -> list[str]:
    released = driven.topics.released
    driven.server.process.send_signal(signal.SIGSTOP)
    time.sleep(_PAUSE_S)
    driven.server.process.send_signal(signal.SIGCONT)
    return [] if driven.topics.released > released else ["the motors held on without commands"]


def _scenario(name: str, fault: str, response: str, inject: _Fault) -> Scenario:
    return Scenario(name, fault, response, FOLLOWS, run_served=_served(inject), needs=_quadruped)


_SCENARIOS = (
    _scenario("quadruped: packets lost", "half of the robot's states are lost", "followed", _half_lost),
    _scenario(
        "quadruped: silent",
        "the robot sends no state for a second and more",
        "hold; begun anew from the measured joints when states come again",
        _silent,
    ),
    _scenario(
        "quadruped: wrong CRC",
        "every state has a wrong CRC",
        "none is believed: hold, until right ones come",
        _wrong_checksums,
    ),
    _scenario(
        "quadruped: no odometry",
        "nothing tells where the base is for four seconds, on the way",
        "hold as long as it lasts, without yielding; then followed",
        _no_odometry,
    ),
    _scenario(
        "quadruped: another commander",
        "somebody else commands the motors, too",
        "nothing more is sent, hold; begun anew when they have been silent for a second",
        _another_commander,
    ),
    _scenario(
        "quadruped: pause",
        "the control process is suspended until the motors' own watchdog lets go of them",
        "begun anew from where the joints are then, not from the old target",
        _paused,
    ),
)
