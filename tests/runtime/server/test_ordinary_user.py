"""The runtime's start, a goal and a stop by a user without privileges and without an entry in /etc/passwd."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.runtime.server import ordinary_user

PATIENCE_S = 120


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not in pytest's folder, which is closed to others."""
    with TemporaryDirectory(prefix="shoal-") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@contextmanager
def started(folder: Path, policy: Path, command: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        ordinary_user.command("runtime.cli", command, "--model", str(policy), *arguments),
        env=ordinary_user.environment(folder),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def runtime(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return ordinary_user.run("runtime.cli", *arguments, folder=folder, timeout_s=PATIENCE_S)


def test_start_goal_and_stop(policy_path: Path, folder: Path) -> None:
    safety = folder / "safety.yaml"
    safety.write_text("{overruns_in_a_row: null, stale_after_periods: 1000, clock_jump_s: null}\n")
    with started(folder, policy_path, "serve", "--speed", "4", "--safety", str(safety)) as server:
        assert server.stdout is not None
        assert any(line.startswith("ready") for line in iter(server.stdout.readline, ""))
        goal = runtime(folder, "goal", "--position", "0.45", "0.1", "0.45", "--wait", "--wait-s", "60")
        assert (goal.returncode, "reached" in goal.stdout) == (0, True), goal.stderr
        assert runtime(folder, "estop").returncode == 0
        assert runtime(folder, "release").returncode == 0
        stopped = runtime(folder, "stop")
        assert stopped.returncode == 0, stopped.stderr
        output = server.communicate(timeout=PATIENCE_S)[0]
    assert server.returncode == 0, output
    assert "Traceback" not in output
    assert "ended by stop request" in output


def test_the_policy_server_starts_and_ends(policy_path: Path, folder: Path) -> None:
    with started(folder, policy_path, "policy-server") as server:
        assert server.stdout is not None
        assert any(line.startswith("listening") for line in iter(server.stdout.readline, ""))
        server.send_signal(signal.SIGTERM)
        output = server.communicate(timeout=PATIENCE_S)[0]
    assert server.returncode == 0, output
    assert "ended by SIGTERM" in output
