"""Processors kept awake: by whom, and when not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.native.build import Unsupported
from runtime.realtime import idle_states

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


def idle_threads() -> list[set[int]]:
    """Cores of this process's threads of class SCHED_IDLE."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended since
            if os.sched_getscheduler(int(task.name)) == os.SCHED_IDLE:
                found.append(os.sched_getaffinity(int(task.name)))
    return found


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Whether it becomes true in this time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


@pytest.fixture
def halting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose kernel knows no sleep states; gives the file in which it says so."""
    write(tmp_path, {"driver": "none\n"})
    monkeypatch.setattr(idle_states, "_IDLE_DRIVER", tmp_path / "driver")
    monkeypatch.setattr(idle_states, "processor_quota", lambda: "")
    return tmp_path / "driver"


def test_an_idle_thread_keeps_each_processor_awake_until_told_otherwise(halting: Path) -> None:
    cores = os.sched_getaffinity(0)
    try:
        words = idle_states.stay_awake()
    except OSError as error:
        pytest.skip(f"cannot be had on this machine: {error}")
    assert words == f"idle threads on {len(cores)} core{'s' if len(cores) > 1 else ''}"
    assert sorted(idle_threads(), key=min) == [{core} for core in sorted(cores)]
    idle_states.let_sleep()
    assert idle_threads() == []


def test_a_thread_rests_while_its_processor_is_busy(halting: Path) -> None:
    try:
        idle_states.stay_awake()
    except OSError as error:
        pytest.skip(f"cannot be had on this machine: {error}")
    core = min(os.sched_getaffinity(0))
    hog = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile os.getppid() == {os.getpid()}: pass"
    try:
        with subprocess.Popen([sys.executable, "-c", hog]) as busy:
            assert within(5.0, lambda: {core} not in idle_threads())
            busy.kill()
        assert within(20.0, lambda: {core} in idle_threads())
    finally:
        idle_states.let_sleep()
    assert idle_threads() == []


def test_no_threads_where_processor_time_is_limited_or_nothing_compiles_them(
    halting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise Unsupported("this machine has no C compiler")

    with monkeypatch.context() as patched:
        patched.setattr(idle_states, "_library", refuse)
        with pytest.raises(OSError, match="no C compiler"):
            idle_states.stay_awake()
    monkeypatch.setattr(idle_states, "processor_quota", lambda: "/some/cpu.max")
    with pytest.raises(OSError, match=r"use up the processor time that /some/cpu\.max leaves"):
        idle_states.stay_awake()
    assert idle_threads() == []


def test_a_kernel_with_sleep_states_is_asked_instead(
    halting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halting.write_text("acpi_idle\n")
    monkeypatch.setattr(idle_states, "CPU_LATENCY", tmp_path / "latency")
    with pytest.raises(OSError, match="needs root"):
        idle_states.stay_awake()
    write(tmp_path, {"latency": ""})
    assert idle_states.stay_awake() == ""
    assert (tmp_path / "latency").read_bytes() == bytes(4)
    assert idle_threads() == []
    held = list(idle_states._held_files)
    idle_states.let_sleep()
    for descriptor in held:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


@pytest.mark.parametrize(
    ("groups", "files", "found"),
    [
        ("0::/robot/loop\n", {"robot/cpu.max": "max 100000\n"}, ""),
        ("0::/robot/loop\n", {"robot/cpu.max": "150000 100000\n"}, "robot/cpu.max"),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, "cpu.max"),
        ("3:cpu,cpuacct:/a\n2:memory:/b\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n"}, ""),
        ("3:cpu,cpuacct:/a\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "20000\n"}, "cpu,cpuacct/a/cpu.cfs_quota_us"),
        ("2:memory:/b\n", {"memory/b/cpu.cfs_quota_us": "20000\n"}, ""),
    ],
)
def test_quotas_of_control_groups_are_found(
    groups: str, files: dict[str, str], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, files | {"groups": groups})
    monkeypatch.setattr(idle_states, "_CONTROL_GROUPS", tmp_path)
    monkeypatch.setattr(idle_states, "_OWN_GROUPS", tmp_path / "groups")
    assert idle_states.processor_quota() == (str(tmp_path / found) if found else "")
