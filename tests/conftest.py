"""Shared by all tests: small goal pools, a compile cache, and one tiny teacher and student for the session."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from sim2real.contract import Contract
from sim2real.tasks.task import Task, load_task

POOL_SIZE = 512

# Shared machines pause for seconds at a time, so a slow example says nothing about the code.
settings.register_profile("shoal", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shoal")


# Where tests are started so that they outlive a terminal or a shell's job, servers would inherit deaf ears.
for _number, _usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)


def pytest_configure(config: pytest.Config) -> None:
    """Compile XLA programs without LLVM's optimisations, six times faster, and with the emitters that compile twice as
    fast, where jaxlib has both; keep them for subprocesses and for the next session, until `pytest --cache-clear`.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    fast = ["--xla_backend_optimization_level=0"]
    if metadata.version("jaxlib").startswith("0.10."):
        fast.append("--xla_cpu_use_fusion_emitters=false")
    missing = [flag for flag in fast if flag.partition("=")[0] not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *missing]).strip()
    assert config.cache is not None
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("xla")))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: "test_pipeline.py" not in item.nodeid)


@pytest.fixture(scope="session")
def pose_task() -> Task:
    """The shipped task with pose goals."""
    return load_task("franka_pose")


@pytest.fixture(scope="session")
def pose_contract(pose_task: Task) -> Contract:
    """Its contract."""
    return pose_task.contract


@pytest.fixture(scope="session")
def reach_contract() -> Contract:
    """The contract of the shipped task with position goals."""
    return load_task("franka_reach").contract


@pytest.fixture(scope="session")
def push_contract() -> Contract:
    """The contract of the shipped task whose goals are places of an object."""
    return load_task("franka_push").contract


@pytest.fixture(scope="session", autouse=True)
def _small_goal_pools() -> Iterator[None]:
    """Environments made by tests draw from a few hundred starts and goals, which takes milliseconds."""
    from sim2real.tasks import goal_pool

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(goal_pool, "POOL_SIZE", POOL_SIZE)
        yield


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A path that `make` fills for all workers of this session; they wait for the one that came first."""
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            make(path)
            done.touch()
    return path


@pytest.fixture(scope="session")
def teacher_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished, tiny teacher for pose goals."""
    return made_once(tmp_path_factory, "teacher", _train_teacher)


def _train_teacher(path: Path) -> None:
    from teacher.run.folder import RunFolder
    from teacher.train import Trainer
    from tests.teacher.tiny import tiny_config

    Trainer(tiny_config(), RunFolder(path)).train()


@pytest.fixture(scope="session")
def student_run(teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished, tiny student of `teacher_run`."""
    return made_once(tmp_path_factory, "student", lambda path: _distil_student(teacher_run, path))


def _distil_student(teacher_run: Path, path: Path) -> None:
    from student.distillation.distill import Distiller
    from student.run import save_student
    from teacher.run.folder import RunFolder
    from teacher.trained import load_teacher
    from tests.student.tiny import tiny_distill_config

    teacher = load_teacher(teacher_run)
    folder = RunFolder(path)
    folder.start(tiny_distill_config(), teacher.contract)
    distiller = Distiller(teacher, tiny_distill_config(), folder)
    params, _ = distiller.run()
    save_student(folder, distiller.contract, teacher.config.task, params)
