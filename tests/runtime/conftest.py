"""The policy file and the robot that most tests use."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mujoco
import pytest

from runtime.inference.policy import Policy
from runtime.safety import clearance
from sim2real.contract import Contract
from sim2real.tasks.task import Task, load_task
from tests.runtime.small_policy import write_policy


@contextmanager
def killed_at_the_end() -> Iterator[None]:
    """No process that is started within the block outlasts it."""
    started: list[subprocess.Popen[Any]] = []
    start = subprocess.Popen.__init__

    def note(self: subprocess.Popen[Any], *arguments: Any, **options: Any) -> None:
        start(self, *arguments, **options)
        started.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", note)
        try:
            yield
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                    process.wait()


@pytest.fixture(autouse=True)
def _no_process_outlasts_its_test() -> Iterator[None]:
    """A server of a test that has failed in the middle would take the processor from those that follow."""
    with killed_at_the_end():
        yield


@pytest.fixture(scope="session")
def task() -> Task:
    return load_task("franka_pose")


@pytest.fixture(scope="session")
def contract(task: Task) -> Contract:
    return task.contract


@pytest.fixture(scope="session")
def policy_path(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("policy") / "student.onnx", contract)


@pytest.fixture
def policy(policy_path: Path) -> Policy:
    return Policy(policy_path)


@pytest.fixture
def model(task: Task) -> mujoco.MjModel:
    model = mujoco.MjModel.from_xml_path(str(task.mjcf_path))
    model.opt.timestep = task.contract.timing.physics_dt_s
    return model


@pytest.fixture
def data(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    return data


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without a C compiler."""
    monkeypatch.setenv("CC", "/nonexistent/cc")
    clearance.load.cache_clear()
    yield
    clearance.load.cache_clear()
