from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.ros2.domain import LOOPBACK_CONFIG
from runtime.unitree.config import UnitreeConfig
from runtime.unitree.simulation import SimulatedTopics, simulated
from sim2real.contract import Contract
from sim2real.tasks.task import load_task

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60
UNHURRIED_S = 5.0
"""For what a busy machine must not bring about: that motors let go, or that a state is too old to stand up by."""


@pytest.fixture(scope="session")
def quadruped() -> Contract:
    return load_task("quadruped_walk").contract


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> str:
    """A DDS domain of this test's own, for all processes that it starts and any number of participants in this one."""
    number = str(random.randrange(100, 200))
    monkeypatch.setenv("ROS_DOMAIN_ID", number)
    monkeypatch.setenv("CYCLONEDDS_URI", LOOPBACK_CONFIG)
    return number


class Running:
    """A simulated robot in a thread."""

    def __init__(self, contract: Contract, config: UnitreeConfig) -> None:
        self.topics: SimulatedTopics = simulated(contract, config)
        self.robot = self.topics.robot
        self.topics.watchdog_s = UNHURRIED_S
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.topics.run, args=(self._ended.is_set,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self.topics.close()


@pytest.fixture
def start(quadruped: Contract, domain: str) -> Iterator[Callable[..., Running]]:
    """Starts simulated robots, and ends them."""
    running: list[Running] = []

    def begin(config: UnitreeConfig | None = None) -> Running:
        running.append(Running(quadruped, config or UnitreeConfig()))
        return running[-1]

    yield begin
    for one in running:
        one.end()


@contextmanager
def peer_robot() -> Iterator[Callable[[], dict]]:
    """The peer's wooden robot; what is yielded ends it and tells what it saw."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.unitree.peer", "robot"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"CYCLONEDDS_URI": LOOPBACK_CONFIG},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield lambda: json.loads(process.communicate(timeout=PATIENCE_S)[0])
    finally:
        process.kill()
        process.wait()


def peer_commander(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.unitree.peer", "commander", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"CYCLONEDDS_URI": LOOPBACK_CONFIG},
    )
